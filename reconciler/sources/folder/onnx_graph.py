"""Where an ONNX graph keeps its weights (the files that it names beside itself, and which bytes of them), what in it
was compiled beforehand for one execution provider, and what its outputs are called. Read from its protobuf form without
the weights, strictly forwards, and believed in nothing.

The package `onnx` would load everything, and is heavy: this runs in each plan.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from reconciler.domain.errors import InputRefused

DEEPEST = 32  # messages within each other: a graph within a node's attribute takes three
LARGEST_READ = 1 << 20  # bytes of a message that are looked at in memory
LONGEST_ENTRY = 4096
MOST_TENSORS = 200_000
MOST_OUTPUTS = 10_000
CHUNK = 1 << 20

# By message, the fields that can lead to a tensor (onnx.proto), and what they hold.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA = 13
_OPERATOR, _ATTRIBUTE = 4, 5  # of a node
_NAME, _NUMBER, _TEXT = 1, 3, 4  # of an attribute
EP_CONTEXT = "EPContext"  # the operator of what was compiled beforehand
MOST_CONTEXTS = 1_000
_OUTPUT, _OUTPUT_NAME = 12, 1  # of a graph, and of what it gives
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, kw_only=True)
class ExternalData:
    """Of one tensor; `length` is None for all that follows."""

    location: str
    offset: int = 0
    length: int | None = None


@dataclass
class GraphFacts:
    """What a reading finds besides: the names of the `outputs`, and of each operator EPContext its attributes by name:
    a text, a number, or None for what is neither or too long to be a name."""

    outputs: list[str] = field(default_factory=list)
    contexts: list[dict[str, str | int | None]] = field(default_factory=list)


def external_data(file: IO[bytes], size: int, facts: GraphFacts | None = None) -> Iterator[ExternalData]:
    """Of each tensor that lies outside of this graph of `size` bytes. `facts` gets what else is found. Raises
    InputRefused for what is no ONNX model."""
    facts = facts or GraphFacts()
    found, reader = 0, _Reader(file, facts)
    graph = False
    for number, length in _fields(reader, size):
        inner = _FIELDS["model"].get(number)
        graph = graph or inner == "graph"
        for one in _of_graph(reader, length, facts.outputs) if inner == "graph" else _within(reader, inner, length, 1):
            found += 1
            if found > MOST_TENSORS:
                raise _invalid(f"it names more than {MOST_TENSORS:,} tensors")
            yield one
    if not graph:
        raise _invalid("it holds no graph")


def _of_graph(reader: "_Reader", length: int, outputs: list[str]) -> Iterator[ExternalData]:
    """Of the outermost graph, whose outputs are the model's."""
    for number, size in _fields(reader, length):
        if number == _OUTPUT and size <= LONGEST_ENTRY and len(outputs) < MOST_OUTPUTS:
            inner = reader.within(reader.read(size))
            for part, count in _fields(inner, size):
                data = inner.read(count)
                outputs += [data.decode("utf-8", "replace")] if part == _OUTPUT_NAME else []
        else:
            yield from _within(reader, _FIELDS["graph"].get(number), size, 2)


def _within(reader: "_Reader", kind: str | None, length: int, depth: int) -> Iterator[ExternalData]:
    """Of one field's bytes, which are then behind us."""
    if kind is None:
        reader.skip(length)
        return
    if depth > DEEPEST:
        raise _invalid(f"it is more than {DEEPEST} messages deep")
    if length <= LARGEST_READ and not reader.in_memory:
        data = reader.read(length)
        if b"location" in data or EP_CONTEXT.encode() in data:  # else nothing in it lies outside
            yield from _within(reader.within(data), kind, length, depth)
        return
    if kind == "tensor":
        yield from _of_tensor(reader, length)
    elif kind == "node":
        yield from _of_node(reader, length, depth)
    else:
        for number, size in _fields(reader, length):
            yield from _within(reader, _FIELDS[kind].get(number), size, depth + 1)


def _of_node(reader: "_Reader", length: int, depth: int) -> Iterator[ExternalData]:
    operator, attributes = "", dict[str, str | int | None]()
    for number, size in _fields(reader, length):
        if number == _OPERATOR and size <= LONGEST_ENTRY:
            operator = reader.read(size).decode("utf-8", "replace")
        elif number == _ATTRIBUTE:
            yield from _of_attribute(reader, size, depth + 1, attributes)
        else:
            reader.skip(size)
    if operator == EP_CONTEXT:
        if len(reader.facts.contexts) == MOST_CONTEXTS:
            raise _invalid(f"it holds more than {MOST_CONTEXTS:,} parts that were compiled beforehand")
        reader.facts.contexts.append(attributes)


def _of_attribute(
    reader: "_Reader", length: int, depth: int, held: dict[str, str | int | None]
) -> Iterator[ExternalData]:
    name, value, numbers = "", None, dict[int, int]()
    for number, size in _fields(reader, length, numbers):
        if number in (_NAME, _TEXT) and size <= LONGEST_ENTRY:
            text = reader.read(size).decode("utf-8", "replace")
            name, value = (text, value) if number == _NAME else (name, text)
        elif number in (_NAME, _TEXT):
            reader.skip(size)
        else:
            yield from _within(reader, _FIELDS["attribute"].get(number), size, depth + 1)
    # guard: an attribute counts once
    if name in held:
        raise _invalid(f"an operator has two attributes of the name {name[:40]!r}")
    held[name] = numbers.get(_NUMBER) if value is None else value


def _of_tensor(reader: "_Reader", length: int) -> Iterator[ExternalData]:
    entries: dict[str, str] = {}
    for number, size in _fields(reader, length):
        if number == _EXTERNAL_DATA:
            key, value = _entry(reader, size)
            entries[key] = value
        else:
            reader.skip(size)
    if "location" in entries:
        more = entries.get("length", "")
        yield ExternalData(
            location=entries["location"],
            offset=_number(entries.get("offset", "0")),
            length=_number(more) if more else None,
        )


def _entry(reader: "_Reader", size: int) -> tuple[str, str]:
    if size > LONGEST_ENTRY:
        raise _invalid("the place of a tensor is too long")
    inner, texts = reader.within(reader.read(size)), {1: "", 2: ""}
    for number, length in _fields(inner, size):
        texts[number] = inner.read(length).decode("utf-8", "replace")
    return texts[1], texts[2]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # guard: the place of a tensor is a number
        raise _invalid(f"the place of a tensor is no number: {text[:40]!r}")
    return int(text)


def _fields(reader: "_Reader", length: int, numbers: dict[int, int] | None = None) -> Iterator[tuple[int, int]]:
    """Number and length of each field that holds bytes; the caller reads or skips them. Of all others `numbers` gets
    the whole numbers."""
    end = reader.at + length
    while reader.at < end:
        tag = reader.varint()
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value = reader.varint()
            if numbers is not None:
                numbers[number] = value
        elif wire in (_FIXED64, _FIXED32):
            reader.skip(8 if wire == _FIXED64 else 4)
        elif wire == _BYTES:
            size = reader.varint()
            if reader.at + size > end:
                raise _invalid("it ends before it should: it is cut off, or no ONNX model")
            yield number, size
        else:
            raise _invalid("it is no ONNX model, or of a form that is not known")
    if reader.at != end:
        raise _invalid("it ends before it should: it is cut off, or no ONNX model")


class _Reader:
    """Forwards only: what comes out of git is a pipe."""

    def __init__(self, file: IO[bytes], facts: GraphFacts, *, in_memory: bool = False) -> None:
        self._file, self.facts = file, facts
        self.in_memory = in_memory
        self._seeks = file.seekable()
        self.at = 0

    def within(self, data: bytes) -> "_Reader":
        """Of bytes that it read."""
        return _Reader(io.BytesIO(data), self.facts, in_memory=True)

    def read(self, count: int) -> bytes:
        data = self._file.read(count)
        self.at += len(data)
        if len(data) != count:
            raise _invalid("it ends before it should: it is cut off, or no ONNX model")
        return data

    def skip(self, count: int) -> None:
        if self._seeks:
            self._file.seek(count, io.SEEK_CUR)
            self.at += count
            return
        while count:
            count -= len(self.read(min(count, CHUNK)))

    def varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            (byte,) = self.read(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise _invalid("it is no ONNX model, or of a form that is not known")


def _invalid(message: str) -> InputRefused:
    return InputRefused("OnnxInvalid", message, "export the model again; a download may have been cut")
