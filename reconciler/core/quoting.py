"""How foreign text is shown in a message: short, on one line, and never able to act on a terminal."""

from __future__ import annotations

from difflib import get_close_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 60


def shown(text: str, limit: int = LIMIT) -> str:
    """`text` cut to `limit` characters, with everything that is not printable escaped."""
    return printable(text) if len(text) <= limit else f"{printable(text[:limit])}..."


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def field_path(path: Iterable[str | int]) -> str:
    """`("spec", "precisions", 1)` as people write it: `spec.precisions[1]`."""
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in path)
    return dotted.removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word which is spelt most alike, whatever its case; empty when none is near."""
    folded = {each.replace("_", "").lower(): each for each in known}
    near = get_close_matches(word[:LIMIT].replace("_", "").lower(), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[near[0]]}?" if near else ""


def listed(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
