"""How foreign text is shown in a message: short, on one line, and never able to act on a terminal."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from unicodedata import combining

LIMIT = 60
LEAST_BEGINNING = 3  # letters that are taken for the beginning of a word

_QUOTED = {'"': '\\"', "\\": "\\\\"}
_NUMBER = re.compile(r"[0-9]{1,9}$")


def shown(text: str, limit: int = LIMIT) -> str:
    """`text` cut to `limit` characters, with everything that is not printable escaped."""
    return printable(text) if len(text) <= limit else f"{printable(text[:limit])}..."


def printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def readable(text: str) -> str:
    """In quotes, as it is. What cannot be seen, or melts into the letter before it, is escaped."""
    seen = (c if c not in _QUOTED and c.isprintable() and not combining(c) else _escaped(c) for c in text)
    return f'"{"".join(seen)}"'


def _escaped(letter: str) -> str:
    return _QUOTED.get(letter) or letter.encode("unicode_escape").decode()


def in_short(reasons: Sequence[str], most: int) -> str:
    """In one line: the first of them, and how many there are besides."""
    more = f" (and {len(reasons) - most} more)" if len(reasons) > most else ""
    return f"{'; '.join(reasons[:most])}{more}"


def few(names: Sequence[str], most: int) -> str:
    """The same of names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def field_path(path: Iterable[str | int]) -> str:
    """`("spec", "precisions", 1)` as people write it: `spec.precisions[1]`. "[key]" stands for the key itself."""
    dotted = "".join(
        f"[{part}]" if isinstance(part, int) else " (key)" if part == "[key]" else f".{shown(part)}" for part in path
    )
    return dotted.removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word which is spelt most alike; empty when none is near."""
    best = nearest_word(word, known)
    return f"did you mean {best}?" if best else ""


def nearest_word(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word which is spelt most alike, whatever its case; empty when none is near (`cutoff`: 1 is equal).

    `int3` is one letter from `int4` and from `int8`: then the nearer number decides. A bare `4` is `int4`, and `chat`
    is the only word that begins so.
    """
    word = _folded(word[:LIMIT])
    folded = {_folded(each): each for each in known}
    near = get_close_matches(word, folded, n=max(len(folded), 1), cutoff=cutoff)
    if not near and word.isdigit():
        near = [each for each in folded if (number := _NUMBER.search(each)) and number[0] == word]
    if not near and len(word) >= LEAST_BEGINNING:
        begun = [each for each in folded if each.startswith(word)]
        near = begun if len(begun) == 1 else []
    return folded[min(near, key=lambda each: (_edits(word, each), _apart(word, each)))] if near else ""


def _folded(word: str) -> str:
    return word.replace("_", "").lower()


def _edits(one: str, other: str) -> int:
    """How many letters to add, drop or change (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, another in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != another))
    return row[-1]


def _apart(one: str, other: str) -> int:
    """The distance of the numbers that two words end in; 0 where one has none."""
    numbers = [int(found[0]) for word in (one, other) if (found := _NUMBER.search(word))]
    return max(numbers) - min(numbers) if len(numbers) == len((one, other)) else 0


def known_hint(what: str, name: str, known: Iterable[str]) -> str:
    """For a name that is none of the `known` variants of this machine: the nearest of them, or all, or how to get
    some."""
    found = sorted(known)
    if not found:
        return f"nothing is {what} here yet: `reconciler apply` serves what the manifests declare"
    return f"{nearest(name, found)} {what} here: {', '.join(found)}".strip()


def count_of(number: int, noun: str, many: str = "") -> str:
    """`1 problem`, `2 problems`; `many` where that is another word."""
    return f"{number} {noun if number == 1 else many or noun + 's'}"


def listed(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
