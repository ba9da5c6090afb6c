"""Sizes and durations as people read them: text for a number of bytes, and back."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from annotated_types import Interval, Predicate

# The type says what a document may hold; nothing checks a value that is made in memory.
Count = Annotated[int, Interval(ge=0, le=1 << 60)]
Seconds = Annotated[float, Interval(ge=0, le=1_000_000_000)]


def _is_time(text: str) -> bool:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").year < 9000  # something may be added to it
    except ValueError:
        raise ValueError("a time such as 2026-01-31T00:00:00Z") from None


Time = Annotated[str, Predicate(_is_time)]


def size_text(size: int) -> str:
    """1536 -> '1.5 KiB'; negative sizes (freed) keep their sign."""
    value, sign = float(abs(size)), "-" if size < 0 else ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{sign}{value:.0f} {unit}" if unit == "B" else f"{sign}{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")
