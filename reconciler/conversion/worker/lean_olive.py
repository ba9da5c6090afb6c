"""Olive and the builder of ONNX Runtime GenAI, with one piece of one matrix in single precision at a time.

As they are, the builder keeps every weight that it widened and rounds in a copy of the whole widened model: six times a
source in half precision. Olive's Rtn makes some copies of the head. Here three of their methods are replaced while
Olive runs. Each calls what it replaces, so how they round, what the graph looks like and all names stay their own, and
so do the bytes of model.onnx and its data. See docs/decisions/0021-lean-olive.md.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from reconciler.domain.targets.precisions import DEQUANTIZE, NBITS

AT_ONCE = 1 << 22  # numbers of a matrix

ToInt4 = Callable[[Any], Any]  # the builder's own: of its `model` and `quant_attrs` makes another model


@contextmanager
def lean() -> Iterator[None]:
    """For one conversion at a time: the methods are those of the classes."""
    from olive.common.quant.utils import WeightQuantizer
    from onnxruntime_genai.models.builder import Model

    usual = Model.make_initializer, Model.to_int4, WeightQuantizer.quantize
    Model.make_initializer = _lazily(Model.make_initializer)
    Model.to_int4 = lambda builder, own=Model.to_int4: round_in_pieces(builder, own)
    WeightQuantizer.quantize = _by_rows(WeightQuantizer.quantize)
    try:
        yield
    finally:
        Model.make_initializer, Model.to_int4, WeightQuantizer.quantize = usual


def _lazily(make_initializer: Callable[..., None]) -> Callable[..., None]:
    """Widens when it is written, and keeps nothing of it."""
    import onnx_ir

    class Written(onnx_ir.LazyTensor):
        def tofile(self, file: Any) -> None:
            widened: Any = self.raw
            for rows in widened.pieces():
                rows.tofile(file)

    def make(builder: Any, tensor: Any, /, name: str, to: Any = None) -> None:
        if to is not None:
            tensor = Written(Widened(tensor, to, name), dtype=to, shape=onnx_ir.Shape(tensor.shape), name=name)
        make_initializer(builder, tensor, name)

    return make


def _by_rows(quantize: Callable[..., Any]) -> Callable[..., Any]:
    """One byte a number, which is packed next, instead of four."""
    import torch

    def quantize_rows(quantizer: Any, tensor: Any, scales: Any, zero_points: Any) -> Any:
        step = max(1, AT_ONCE // tensor.shape[1])
        pieces = zip(*(one.split(step) for one in (tensor, scales, zero_points)), strict=True)
        return torch.cat([quantize(quantizer, *piece).to(torch.uint8) for piece in pieces])

    return quantize_rows


class Widened:
    """A weight as the model holds it, that is given in the type to write."""

    def __init__(self, tensor: Any, to: Any, name: str) -> None:
        self._tensor, self._to, self._name = tensor, to, name

    def __call__(self) -> Any:
        return self._cast(self._tensor)

    def columns(self, span: slice) -> Any:
        return self._cast(self._tensor[:, span])

    def pieces(self) -> Iterator[Any]:
        """One after the other, the whole."""
        for rows in self._tensor.split(max(1, AT_ONCE * len(self._tensor) // self._tensor.numel())):
            yield self._cast(rows)

    def _cast(self, tensor: Any) -> Any:
        from onnx_ir.tensor_adapters import TorchTensor, to_torch_dtype

        return TorchTensor(tensor.to(to_torch_dtype(self._to)), name=self._name)


def round_in_pieces(builder: Any, to_int4: ToInt4) -> Any:
    """What `to_int4` makes of `builder`. It sees the graph with one column of each matrix and nothing of other weights;
    then each matrix, some columns at a time, in a graph of its own."""
    import numpy
    import onnx_ir

    graph = builder.model.graph
    weights = {name: value.const_value for name, value in graph.initializers.items()}
    matrices = {node.outputs[0].name: node for node in graph if _multiplies_widened(node)}
    for value in graph.initializers.values():
        value.const_value = onnx_ir.tensor(numpy.zeros(0, numpy.float32))
    for node in matrices.values():
        weight = node.inputs[1]
        weight.const_value = weights[weight.name].raw.columns(slice(1))
    rounded = to_int4(builder)
    for name, value in rounded.graph.initializers.items():
        value.const_value = weights.get(name, value.const_value)
    for node in rounded.graph:
        if _multiplies_rounded(node) and (wide := matrices.get(node.outputs[0].name)):
            _fill_in(rounded.graph, node, wide, weights.pop(wide.inputs[1].name), builder, to_int4)
    return rounded


def _multiplies_widened(node: Any) -> bool:
    if node.op_type != "MatMul" or node.inputs[1].const_value is None:
        return False
    weight = node.inputs[1].const_value
    return isinstance(getattr(weight, "raw", None), Widened) and len(weight.shape) == 2


def _multiplies_rounded(node: Any) -> bool:
    made = node.inputs[1].producer() if node.op_type == "MatMul" else None
    return node.op_type == NBITS or (made is not None and made.op_type == DEQUANTIZE)


def _fill_in(graph: Any, node: Any, wide: Any, weight: Any, builder: Any, to_int4: ToInt4) -> None:
    """The weights of `node`, in place of those of one column. All that rounding leaves of a column is a row; what is
    taken apart for a product (DequantizeLinear) stays a column."""
    import numpy
    import onnx_ir

    length, count = weight.shape
    step = max(1, AT_ONCE // length)
    spans = (slice(begin, begin + step) for begin in range(0, count, step))
    pieces = [_rounded(wide, weight.raw.columns(span), builder, to_int4) for span in spans]
    side_by_side = int(node.op_type != NBITS)
    for name in pieces[0]:
        numbers = numpy.concatenate([piece[name] for piece in pieces], axis=side_by_side)
        whole = onnx_ir.tensor(numbers, name=name)
        graph.initializers[name].const_value, graph.initializers[name].shape = whole, whole.shape
    if not side_by_side:
        node.attributes["N"] = onnx_ir.AttrInt64("N", count)


def _rounded(wide: Any, columns: Any, builder: Any, to_int4: ToInt4) -> dict[str, Any]:
    """By name, what `to_int4` makes of a graph of this one product."""
    import onnx_ir

    states, weight = (onnx_ir.Value(name=value.name) for value in wide.inputs)
    weight.const_value = columns
    product = onnx_ir.Node("", "MatMul", [states, weight], name=wide.name)
    product.outputs[0].name = wide.outputs[0].name
    opsets = dict(builder.model.graph.opset_imports)
    graph = onnx_ir.Graph([states], product.outputs, nodes=[product], initializers=[weight], opset_imports=opsets)
    model = onnx_ir.Model(graph, ir_version=builder.model.ir_version)
    rounded = to_int4(SimpleNamespace(model=model, quant_attrs=builder.quant_attrs)).graph.initializers
    found = {name: value.const_value.numpy().copy() for name, value in rounded.items()}
    for value in (weight, *rounded.values()):  # graphs are circles, which the garbage collector would find late
        value.const_value = None
    return found
