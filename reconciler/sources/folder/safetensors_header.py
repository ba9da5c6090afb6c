"""The header of a safetensors file, read without the tensors and believed in nothing.

The format: 8 bytes of length, a JSON object {name: {dtype, shape, data_offsets}}, then the data. A header is right when
every tensor has the size that its shape says, and together they cover the data exactly: no overlap, no gap, no rest.
"""

import json
import math
from typing import Any, TypeGuard

from reconciler.domain.errors import InputRefused
from reconciler.host.codec import unique
from reconciler.sources.folder.guarded_folder import Folder

# The format's own library takes headers of 100 MB, which cost a plan half a minute and a gigabyte. The largest models
# in use have some 90,000 tensors, with about 100 bytes each.
MAXIMUM_HEADER = 25_000_000  # bytes
MAXIMUM_TENSORS = 200_000
LENGTH_BYTES = 8

_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}
_WIDTHS |= {"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
_WEIGHT_TYPES = frozenset({"F64", "F32", "F16", "BF16"})


def read_shapes(folder: Folder, name: str) -> dict[str, tuple[int, ...]]:
    size = folder.size(name)
    with folder.opened(name) as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if size < LENGTH_BYTES or length > size - LENGTH_BYTES:  # guard: a header ends inside its file
            raise InputRefused("WeightsTruncated", f"its header ends at byte {length + LENGTH_BYTES} of {size}")
        if length > MAXIMUM_HEADER:
            raise InputRefused("WeightsInvalid", f"its header of {length} bytes is longer than {MAXIMUM_HEADER}")
        header = _parse(file.read(length))
    _check_cover(sorted(_extent(name, entry) for name, entry in header.items()), size - LENGTH_BYTES - length)
    return {name: tuple(entry["shape"]) for name, entry in header.items()}


def _parse(raw: bytes) -> dict[str, Any]:
    _check_count(raw)
    try:
        header = json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InputRefused("WeightsInvalid", f"its header is not valid JSON: {str(error)[:100]}") from None
    if not isinstance(header, dict):
        raise InputRefused("WeightsInvalid", "its header is no JSON object")
    header.pop("__metadata__", None)
    return header


def _check_count(raw: bytes) -> None:
    """Before anything is parsed: an empty list takes 3 bytes here and 64 in memory."""
    tensors, brackets = raw.count(b'"data_offsets"'), raw.count(b"{") + raw.count(b"[")
    if tensors > MAXIMUM_TENSORS:  # guard: tensors are counted
        raise InputRefused("WeightsInvalid", f"it holds {tensors} tensors, expected at most {MAXIMUM_TENSORS}")
    if brackets > 5 * MAXIMUM_TENSORS:  # each tensor has three
        raise InputRefused("WeightsInvalid", f"its header has more brackets than {MAXIMUM_TENSORS} tensors need")


def _extent(name: str, entry: Any) -> tuple[int, int]:
    """Where a tensor begins and ends in the data, once its own numbers are found to agree."""
    shown = repr(name[:80])
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not _are_counts(offsets) or len(offsets) != 2 or not _are_counts(entry.get("shape")):
        raise InputRefused("WeightsInvalid", f"tensor {shown} has no right shape or data_offsets")
    width = _WIDTHS.get(str(entry.get("dtype")))
    if width is None:
        raise InputRefused("WeightsInvalid", f"tensor {shown} has the unknown type {str(entry.get('dtype'))[:80]!r}")
    if name.endswith("weight") and entry["dtype"] not in _WEIGHT_TYPES:
        message = f"tensor {shown} is {entry['dtype']}: quantized"
        raise InputRefused("WeightsQuantized", message, "convert the original weights")
    needed = math.prod((width, *entry["shape"]))
    begin, end = offsets
    if end - begin != needed:  # guard: a tensor has the size of its shape
        raise InputRefused("WeightsInvalid", f"tensor {shown} needs {needed} bytes, its offsets span {end - begin}")
    return begin, end


def _are_counts(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) <= 8 and all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def _check_cover(extents: list[tuple[int, int]], data_size: int) -> None:
    position = 0
    for begin, end in extents:
        if begin < position:  # guard: tensors do not overlap
            raise InputRefused("WeightsInvalid", f"tensors overlap at byte {begin} of the data")
        if begin > position:
            raise InputRefused("WeightsInvalid", f"bytes {position} to {begin} of the data belong to no tensor")
        position = end
    if position > data_size:
        raise InputRefused("WeightsTruncated", f"its tensors need {position} bytes of data, the file has {data_size}")
    if position < data_size:
        raise InputRefused("WeightsInvalid", f"{data_size - position} bytes at its end belong to no tensor")
