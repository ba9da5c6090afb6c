"""Sizes and durations as people read them: text for a number of bytes, and back."""

from __future__ import annotations


def size_text(size: int) -> str:
    """1536 -> '1.5 KiB'; negative sizes (freed) keep their sign."""
    value, sign = float(abs(size)), "-" if size < 0 else ""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{sign}{value:.0f} {unit}" if unit == "B" else f"{sign}{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")
