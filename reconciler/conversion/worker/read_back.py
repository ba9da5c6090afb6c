"""The rounded weights of an artifact, turned back into numbers and compared with the source's: those of its MatMulNBits
nodes, and those that a DequantizeLinear takes apart for a product.

No model of how the tools round is needed to compute with them. How far they lie from the source is measured apart, in
units of plain rounding to the nearest step: about 1 for the tools' own rounding, less for the k-quant family, and far
more for weights that are damaged, mixed up, or another model's.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from reconciler.conversion.worker.artifact_graph import graph_name
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.measured import WORST
from reconciler.domain.targets.precisions import DEQUANTIZE, NBITS

AT_ONCE = 1 << 18  # numbers: what one step of the work below holds, so that it stays in the processor's cache

_OTHERS = "the rounded matrices of the result are not those of the source"
_LAYER = re.compile(r"layers\.(\d+)\b")


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundedMatrix:
    """One matrix. `codes` are rows of packed bytes; `zeros` is None where zero lies at half the codes. Views into the
    data file."""

    name: str
    columns: int
    bits: int
    block: int
    codes: Any
    scales: Any
    zeros: Any

    def numbers(self, begin: int, end: int) -> Any:
        """Rows `begin` to `end` in single precision."""

        blocks = self.scales.shape[1]
        numbers = _centred(self.codes[begin:end], self.bits).reshape(end - begin, blocks, self.block)
        if self.zeros is not None:
            numbers.sub_(_centred(self.zeros[begin:end], self.bits)[:, :blocks, None])
        numbers.mul_(self.scales[begin:end, :, None])
        return numbers.reshape(end - begin, -1)[:, : self.columns]

    @property
    def rows(self) -> int:
        return int(self.codes.shape[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class DequantizedMatrix:
    """One matrix as DequantizeLinear has it: a row for each column of the source's. `codes` and `zeros` are two of four
    bits in a byte, from the first row to the last without a gap; `signed` ones lie around zero."""

    name: str
    columns: int
    rows: int
    block: int
    codes: Any
    scales: Any
    zeros: Any
    signed: bool
    bits: int = 4

    def numbers(self, begin: int, end: int) -> Any:
        """Rows `begin` to `end`, of the source's, in single precision."""
        numbers = self._part(self.codes, self.columns, begin, end)
        if self.zeros is not None:
            numbers -= self._by_block(self._part(self.zeros, len(self.scales), begin, end))
        numbers *= self._by_block(self.scales[:, begin:end].float())
        return numbers.T.contiguous()

    def _part(self, packed: Any, count: int, begin: int, end: int) -> Any:
        """Columns `begin` to `end` of `count` rows, as they are packed."""
        import torch

        places = torch.arange(count)[:, None] * self.rows + torch.arange(begin, end)
        codes = (packed[places >> 1] >> (places & 1) * 4 & 15).float()
        return torch.where(codes > 7, codes - 16, codes) if self.signed else codes

    def _by_block(self, values: Any) -> Any:
        return values.repeat_interleave(self.block, 0)[: self.columns]


Matrix = RoundedMatrix | DequantizedMatrix
Span = tuple[Matrix, int, int]  # rows of a matrix, from and to


def _centred(packed: Any, bits: int) -> Any:
    """Each code less half of all codes, in single precision. Two codes of four bits lie in a byte."""
    import torch

    if bits == 8:
        return packed.to(torch.float32).sub_(128)
    return torch.from_numpy(_pairs().take(packed.numpy(), mode="clip")).view(torch.float32)


@cache
def _pairs() -> Any:
    """For each byte its two codes, the lower half first, as one number of eight bytes: so one look gives both."""
    import numpy

    both = numpy.arange(256)[:, None] >> (0, 4) & 15
    return (both - 8).astype(numpy.float32).view(numpy.float64).reshape(-1)


class RoundedMatrices:
    """Where each weight of the source lies in the artifact.

    The tools join what reads the same input (queries, keys and values) and split others (the halves of a gate). So in
    each layer the rows of all matrices of one width, one after the other, are the same rows in the same order.
    """

    def __init__(self, matrices: Sequence[Matrix]) -> None:
        self._spans: dict[str, list[Span]] = {}
        self._left: dict[tuple[str, int], list[Span]] = {}
        for one in matrices:
            self._left.setdefault((_layer(one.name), one.columns), []).append((one, 0, one.rows))

    def take(self, name: str, rows: int, columns: int) -> list[Span]:
        """Of the weight `name`. To be called for each in the order in which the source computes with them."""
        if name not in self._spans:
            spans = list(_taken(self._left.get((_layer(name), columns), []), rows))
            if sum(end - begin for _, begin, end in spans) != rows:
                raise ConversionFailed(f"{_OTHERS}: {name}")
            self._spans[name] = spans
        return self._spans[name]

    def check_all_taken(self) -> None:
        if any(self._left.values()):
            raise ConversionFailed(_OTHERS)


def rounded_matrices(folder: str) -> RoundedMatrices:
    import onnx

    model = onnx.load(os.path.join(folder, graph_name(folder)), load_external_data=False)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    apart = {node.output[0]: node for node in model.graph.node if node.op_type == DEQUANTIZE}
    found: list[Matrix] = []
    for node in model.graph.node:  # in the order of computing
        if node.op_type == NBITS:
            found.append(_matrix(node, tensors, folder))
        elif node.op_type == "MatMul" and node.input[1] in apart:
            found.append(_dequantized(apart[node.input[1]], tensors, folder))
    return RoundedMatrices(found)


def _dequantized(node: Any, tensors: dict[str, Any], folder: str) -> DequantizedMatrix:
    from onnx import TensorProto

    read = _Reading(node, tensors, block_size=0, axis=1)
    codes = read.stored(0)
    read.require(codes.data_type in (TensorProto.INT4, TensorProto.UINT4), "its codes are not of four bits")
    read.require(len(codes.dims) == 2 and read.numbers["axis"] == 0, "its blocks do not go down a matrix")
    block = read.positive("block_size")
    scales = read.stored(1, shape := [-(-codes.dims[0] // block), codes.dims[1]])
    zeros = read.stored(2, shape) if len(node.input) > 2 else None
    for tensor in (codes, zeros):
        read.require(tensor is None or _is_packed(tensor), "its codes are not packed")
    return DequantizedMatrix(
        name=node.name,
        columns=codes.dims[0],
        rows=codes.dims[1],
        block=block,
        codes=_bytes(codes, folder),
        scales=_tensor(scales, folder),
        zeros=_bytes(zeros, folder) if zeros is not None else None,
        signed=codes.data_type == TensorProto.INT4,
    )


class _Reading:
    """What a node says, and what it reads. A ready model may come from any tool: what is not understood is refused by
    the name of the node. `numbers` are its attributes, over what they are where they are left out."""

    def __init__(self, node: Any, tensors: dict[str, Any], **numbers: int) -> None:
        self._node, self._tensors = node, tensors
        self.numbers: dict[str, int] = numbers | {attribute.name: attribute.i for attribute in node.attribute}

    def require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            name = self._node.name or self._node.output[0]
            raise ConversionFailed(f"{name} of the result is rounded in a way that is not known here: {otherwise}")

    def positive(self, name: str) -> int:
        self.require(self.numbers.get(name, 0) > 0, f"it has no {name}")
        return self.numbers[name]

    def stored(self, at: int, shape: Sequence[int] | None = None) -> Any:
        """The tensor of its input `at`, with as many numbers as that shape has."""
        name = self._node.input[at] if at < len(self._node.input) else ""
        self.require(name in self._tensors, f"its input {at} is not stored in the graph")
        tensor = self._tensors[name]
        fits = shape is None or math.prod(tensor.dims) == math.prod(shape)
        self.require(fits, f"its input {at} has not the size that its attributes say")
        return tensor


def _is_packed(tensor: Any) -> bool:
    return bool(tensor.external_data) or len(tensor.raw_data) == (math.prod(tensor.dims) + 1) // 2


def _bytes(tensor: Any, folder: str) -> Any:
    """As they are packed."""
    import numpy
    import torch

    if not tensor.external_data:
        return torch.from_numpy(numpy.frombuffer(tensor.raw_data, numpy.uint8).copy())
    from onnx.external_data_helper import ExternalDataInfo

    place = ExternalDataInfo(tensor)
    path, count = os.path.join(folder, place.location), (math.prod(tensor.dims) + 1) // 2
    return torch.from_numpy(numpy.memmap(path, numpy.uint8, mode="c", offset=place.offset or 0, shape=(count,)))


def _matrix(node: Any, tensors: dict[str, Any], folder: str) -> RoundedMatrix:
    from onnx import TensorProto

    read = _Reading(node, tensors, bits=4)
    bits, block = read.positive("bits"), read.positive("block_size")
    rows, columns = read.positive("N"), read.positive("K")
    read.require(bits in (4, 8), f"it has {bits} bits")
    read.require(not any(node.input[4:]), "it has more inputs than codes, scales and zeros")
    blocks = -(-columns // block)
    found = [read.stored(1, [rows, blocks, block * bits // 8]), read.stored(2, [rows, blocks])]
    if any(node.input[3:4]):
        found.append(read.stored(3, [rows, (blocks * bits + 7) // 8]))
    read.require(all(one.data_type == TensorProto.UINT8 for one in (found[0], *found[2:])), "its codes are not bytes")
    codes, scales, *zeros = (_tensor(one, folder).reshape(rows, -1) for one in found)
    return RoundedMatrix(
        name=node.name,
        columns=columns,
        bits=bits,
        block=block,
        codes=codes,
        scales=scales,
        zeros=zeros[0] if zeros else None,
    )


def _tensor(tensor: Any, folder: str) -> Any:
    import numpy
    import torch
    from onnx import helper, numpy_helper
    from onnx.external_data_helper import ExternalDataInfo

    if not tensor.external_data:
        return torch.from_numpy(numpy_helper.to_array(tensor).copy())
    place = ExternalDataInfo(tensor)
    kind, path = helper.tensor_dtype_to_np_dtype(tensor.data_type), os.path.join(folder, place.location)
    # Mode "c" never writes to the file; torch warns of arrays that cannot be written.
    values = numpy.memmap(path, kind, mode="c", offset=place.offset or 0, shape=tuple(tensor.dims))
    return torch.from_numpy(values)


def _taken(shelf: list[Span], rows: int) -> Iterator[Span]:
    """Takes `rows` off the beginning of the shelf, or as many as there are."""
    while shelf and rows:
        one, begin, end = shelf.pop(0)
        cut = min(end, begin + rows)
        yield one, begin, cut
        rows -= cut - begin
        if cut < end:
            shelf.insert(0, (one, cut, end))


def _layer(name: str) -> str:
    found = _LAYER.search(name)
    return found[1] if found else ""


def read_back(spans: list[Span], weight: Any) -> float:
    """Puts the matrix as the artifact holds it in the place of the source's. Returns how far the row that lies furthest
    was from the source's: root mean squares, in units of what rounding to the nearest step costs on average."""
    import torch

    furthest, at = 0.0, 0
    for matrix, first, last in _in_parts(spans, max(1, AT_ONCE // weight.shape[1])):
        rows = weight[at : (at := at + last - first)]
        found = matrix.numbers(first, last)
        apart = found - rows
        lost = torch.linalg.vector_norm(apart, dim=1)
        usual = _usual_loss(torch.abs(rows, out=apart), matrix)
        furthest = max(furthest, float((lost / usual).nan_to_num_(WORST).max()))
        rows.copy_(found)
    return min(furthest, WORST)


def _in_parts(spans: list[Span], rows: int) -> Iterator[Span]:
    """On one thread meanwhile: for so little at a time, others cost more than they do."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for matrix, begin, end in spans:
            for first in range(begin, end, rows):
                yield matrix, first, min(first + rows, end)
    finally:
        torch.set_num_threads(threads)


def _usual_loss(magnitudes: Any, matrix: Matrix) -> Any:
    """Of each row. The steps of a block divide what lies between its largest weight and the negative of that; a weight
    lies anywhere between two of them. What single precision loses counts too: weights may lie on the steps."""
    import torch

    if rest := -matrix.columns % matrix.block:
        magnitudes = torch.nn.functional.pad(magnitudes, (0, rest))
    largest = magnitudes.reshape(len(magnitudes), -1, matrix.block).amax(2)
    steps = torch.linalg.vector_norm(largest, dim=1) * (2 * matrix.block**0.5 / ((1 << matrix.bits) - 1))
    return (steps / 12**0.5).clamp_(min=1e-30)
