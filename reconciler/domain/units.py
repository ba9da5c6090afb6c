"""Sizes and durations as people read them: text for a number of bytes, and back."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Interval

# The type says what a document may hold; nothing checks a value that is made in memory.
Count = Annotated[int, Interval(ge=0, le=1 << 60)]
Seconds = Annotated[float, Interval(ge=0, le=1 << 60)]


def size_text(size: int) -> str:
    """1536 -> '1.5 KiB'; negative sizes (freed) keep their sign."""
    value, sign = float(abs(size)), "-" if size < 0 else ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{sign}{value:.0f} {unit}" if unit == "B" else f"{sign}{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")
