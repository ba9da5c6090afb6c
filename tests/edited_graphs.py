"""Artifacts that read a whole text rightly and go wrong token by token: made of right ones by editing their graphs."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

Edit = Callable[[Any], None]


def edited(artifact: Path, edit: Edit) -> None:
    import onnx

    model = onnx.load(artifact / "model.onnx", load_external_data=False)
    edit(model.graph)
    onnx.save(model, artifact / "model.onnx")


def windows(decode: int) -> Edit:
    """A token that is read by itself sees `decode` tokens; the model's own window is 64."""

    def edit(graph: Any) -> None:
        from onnx import TensorProto, helper

        graph.initializer.append(helper.make_tensor("one", TensorProto.INT64, [], [1]))
        nodes = [
            helper.make_node("Shape", ["input_ids"], ["ids/shape"]),
            helper.make_node("Gather", ["ids/shape", "one"], ["ids/count"]),
            helper.make_node("Equal", ["ids/count", "one"], ["ids/single"]),
        ]
        kind = _kind(graph)
        nodes += [_chosen(one, decode, kind) if one.op_type == "GroupQueryAttention" else one for one in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)

    return edit


def _kind(graph: Any) -> int:
    """The type of what the cache holds."""
    return next(int(one.type.tensor_type.elem_type) for one in graph.output if one.name.startswith("present"))


def _chosen(node: Any, decode: int, kind: int) -> Any:
    from onnx import helper

    branches = []
    for window in (decode, 64):
        inner = copy.deepcopy(node)
        names = [f"{name}/{window}" for name in node.output]
        inner.output[:] = names
        next(one for one in inner.attribute if one.name == "local_window_size").i = window
        values = [helper.make_tensor_value_info(name, kind, None) for name in names]
        branches.append(helper.make_graph([inner], f"window/{window}", [], values))
    return helper.make_node(
        "If", ["ids/single"], list(node.output), name=node.name, then_branch=branches[0], else_branch=branches[1]
    )


def swapped(graph: Any) -> None:
    """Two layers of LFM2 find the state of their convolution each in the other's place."""
    names = {"present_conv.0": "present_conv.2", "present_conv.2": "present_conv.0"}
    for node in graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]


def rounded(graph: Any) -> None:
    """The cache is kept in steps of 1/32, about as in eight bits."""
    from onnx import helper

    graph.initializer.append(helper.make_tensor("step", _kind(graph), [], [1 / 32]))
    for node in [one for one in graph.node if one.op_type == "GroupQueryAttention"]:
        for place, name in list(enumerate(node.output))[1:]:
            node.output[place] = f"{name}/whole"
            graph.node.extend(
                [
                    helper.make_node("Div", [f"{name}/whole", "step"], [f"{name}/steps"]),
                    helper.make_node("Round", [f"{name}/steps"], [f"{name}/rounded"]),
                    helper.make_node("Mul", [f"{name}/rounded", "step"], [name]),
                ]
            )
