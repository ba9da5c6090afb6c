"""The graph of an artifact with sums in single precision and the same weights, so that no effect of coarse sums hides a
wrong one; and what the processor can compute of one whose numbers are bf16, for which it has no kernels. It lives in
memory; the weights stay in their file."""

import os
from collections.abc import Iterator
from typing import Any

from reconciler.conversion.worker.artifact_graph import graph_name

SINGLE_SUMS = 1  # the accuracy level of MatMulNBits


def exact_graph(folder: str) -> bytes:
    import onnx

    model = onnx.load(os.path.join(folder, graph_name(folder)), load_external_data=False)
    _widen_weights(model.graph)
    for graph in graphs(model.graph):
        _widen(graph)
    return bytes(model.SerializeToString())


def _widen_weights(graph: Any) -> None:
    """Half weights are cast when they are needed."""
    from onnx import TensorProto, helper

    casts, halves = [], _halves()
    for tensor in graph.initializer:
        if tensor.data_type in halves:
            name, tensor.name = tensor.name, f"{tensor.name}/half"
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _widen(graph: Any) -> None:
    """What else is half: values between nodes, constants, and casts to half."""
    from onnx import TensorProto, numpy_helper

    halves = _halves()
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type in halves:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.t.data_type in halves:
                wide = numpy_helper.to_array(attribute.t).astype("float32")
                attribute.t.CopyFrom(numpy_helper.from_array(wide, attribute.t.name))
            elif attribute.name == "to" and attribute.i in halves:
                attribute.i = TensorProto.FLOAT
            elif attribute.name == "accuracy_level":
                attribute.i = SINGLE_SUMS


def _halves() -> tuple[int, ...]:
    from onnx import TensorProto

    return TensorProto.FLOAT16, TensorProto.BFLOAT16


def graphs(graph: Any) -> Iterator[Any]:
    """It, and those within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)
