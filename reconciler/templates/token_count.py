"""How many tokens a text is, told from tokenizer.json by a few lines of Python: a pull request shows what a template
costs, and the real library weighs too much for that.

Exact for what most models of this field have (byte-level BPE, special tokens whole) and texts in ASCII; anything else
is an estimate, and said to be one. tests/templates/test_token_count.py compares with the real library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

LARGEST_TOKENIZER = 4 << 20  # bytes: larger ones take longer to read than everything else that `diff` does
LONGEST_TEXT = 20_000
LONGEST_WORD = 400  # merging takes the square of it
LETTERS_PER_TOKEN = 4

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# In ASCII these are the same; `re` knows no properties.
_INSTEAD = {r"\p{L}": "a-zA-Z", r"\p{N}": "0-9"}


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """`exact` is False for an estimate."""

    count: int
    exact: bool


def count_tokens(text: str, tokenizer: bytes | None) -> Tokens:
    """`tokenizer` is tokenizer.json, or None when there is none that can be read."""
    if tokenizer is not None and text.isascii() and len(text) <= LONGEST_TEXT:
        try:
            return Tokens(count=_Bpe(json.loads(tokenizer)).count(text), exact=True)
        except (_Unknown, ValueError, LookupError, TypeError, AttributeError, RecursionError, re.error):
            pass
    return Tokens(count=-(-len(text) // LETTERS_PER_TOKEN), exact=False)


class _Unknown(Exception):
    """A tokenizer of another kind."""


class _Bpe:
    def __init__(self, tokenizer: Mapping[str, Any]) -> None:
        model = tokenizer["model"]
        if model["type"] != "BPE" or model.get("byte_fallback") or model.get("ignore_merges"):
            raise _Unknown
        if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix") or model.get("dropout"):
            raise _Unknown
        _check_normalizer(tokenizer.get("normalizer"))
        self._words, self._prefix = _pre_tokenizer(tokenizer["pre_tokenizer"])
        self._special = _special(tokenizer.get("added_tokens") or [])
        merges = (tuple(one.split(" ")) if isinstance(one, str) else tuple(one) for one in model["merges"])
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._known: dict[str, int] = {}

    def count(self, text: str) -> int:
        total = 0
        for number, part in enumerate(self._special.split(text) if self._special else [text]):
            if number % 2:
                total += 1  # the pattern has one group: every second part is a special token
            elif part:
                total += sum(map(self._word, self._split(part)))
        return total

    def _split(self, part: str) -> Iterator[str]:
        text = f" {part}" if self._prefix and not part.startswith(" ") else part
        return (found.group() for found in self._words.finditer(text))

    def _word(self, word: str) -> int:
        if word not in self._known:
            if len(word) > LONGEST_WORD:
                raise _Unknown
            self._known[word] = len(self._merged([_letter(ord(c)) for c in word]))
        return self._known[word]

    def _merged(self, parts: list[str]) -> list[str]:
        while len(parts) > 1:
            pairs = [(self._ranks.get(pair, -1), at) for at, pair in enumerate(pairwise(parts))]
            rank, at = min((one for one in pairs if one[0] >= 0), default=(-1, 0))
            if rank < 0:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return parts


def _check_normalizer(normalizer: Any) -> None:
    """What changes nothing in ASCII."""
    if normalizer is not None and normalizer["type"] not in ("NFC", "NFKC", "NFD", "NFKD"):
        raise _Unknown


def _pre_tokenizer(one: Any) -> tuple[re.Pattern[str], bool]:
    """The pattern of a word, and whether a space is put before the text."""
    if one["type"] == "ByteLevel":
        return _pattern(_GPT2 if one.get("use_regex", True) else r"[\s\S]+"), bool(one["add_prefix_space"])
    split, bytes_of = one["pretokenizers"]
    isolated = split["type"] == "Split" and split["behavior"] == "Isolated" and not split["invert"]
    if one["type"] != "Sequence" or not isolated or bytes_of["type"] != "ByteLevel" or bytes_of["use_regex"]:
        raise _Unknown
    return _pattern(split["pattern"]["Regex"]), bool(bytes_of["add_prefix_space"])


# Llama 3, Qwen 2 and their kin. The author of a pull request may write any pattern, and some never end.
_MODERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
    r"[^\r\n\p{L}\p{N}]?\p{L}+|NUMBER| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_NUMBERS = (r"\p{N}", r"\p{N}{1,3}")
_PATTERNS = frozenset({_GPT2, r"[\s\S]+", *(_MODERN.replace("NUMBER", number) for number in _NUMBERS)})


def _pattern(written: str) -> re.Pattern[str]:
    if written not in _PATTERNS:
        raise _Unknown
    inside = re.sub(r"\[([^\]]*)\]", lambda found: f"[{_plain(found[1])}]", written)
    return re.compile(re.sub(r"\\p\{[LN]\}", lambda found: f"[{_INSTEAD[found[0]]}]", inside))


def _plain(inner: str) -> str:
    for written, instead in _INSTEAD.items():
        inner = inner.replace(written, instead)
    return inner


def _special(added: list[Any]) -> re.Pattern[str] | None:
    """Longest first, as the library looks for them."""
    words = sorted((str(one["content"]) for one in added if one["content"]), key=len, reverse=True)
    if any(one.get("lstrip") or one.get("rstrip") or one.get("single_word") for one in added):
        raise _Unknown
    return re.compile(f"({'|'.join(map(re.escape, words))})") if words else None


def _letter(byte: int) -> str:
    """How byte-level BPE writes a byte: printable ones as they are, the others moved out of the way."""
    return chr(byte) if 33 <= byte <= 126 else chr(256 + (byte if byte <= 32 else byte - 127 + 33))
