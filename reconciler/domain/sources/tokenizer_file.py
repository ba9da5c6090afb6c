"""What the runtime that serves cannot read of a `tokenizer.json` at all, by its part before the vocabulary.

It knows one kind of model (BPE), and splits text by expressions that it recognizes as they are written; what is left of
an expression goes to C++'s std::regex, which stops at most of what other libraries understand. Measured with
onnxruntime-genai 0.18.0 (tests/gates/test_tokenizer.py). What it reads and understands otherwise, the gate finds.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.domain.text.quoting import listed, shown

_PRE_TOKENIZERS = frozenset(
    {
        *("BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "Metaspace", "PreTokenizer", "Punctuation"),
        *("Sequence", "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit"),
    }
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORD, _SHORT = r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_RECOGNIZED = (  # in the order in which they are looked for
    *(f"{_WORD}{_UPPER}*{_LOWER}+{_SHORT}?", f"{_WORD}{_UPPER}+{_LOWER}*{_SHORT}?"),
    *(f"{_WORD}{_UPPER}*{_LOWER}+", f"{_WORD}{_UPPER}+{_LOWER}*"),
    *(r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", _SHORT),
    *(r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r" ?[^\s\p{L}\p{N}]+[\r\n]*"),
    *(rf"{_WORD}[\p{{L}}\p{{M}}]+", r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*", rf"{_WORD}\p{{L}}+"),
    *("'s|'t|'re|'ve|'m|'ll|'d", r" ?[^\s\p{L}\p{N}]+", r" ?\p{L}+| ?\p{N}+", r"[\p{L}]+|[\p{N}]", r"[^\s\p{L}\p{N}]+"),
    *(r"\s+(?!\S)|\s+", r"\p{N}{1,3}", r"\s*[\r\n]+", r"\p{N}", "[一-龥\u3040-ゟ\u30a0-ヿ]+"),
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
    *(r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+", r" ?[\p{P}\p{S}]+[\r\n]*"),
)
# An escape or a class, to be passed over; else what stops std::regex, by name.
_STOPS = re.compile(
    r"(?P<property>\\[pP])|\\.|\[(?:(?P<also>\\[pP])|\\.|[^\]\\])*\]|(?P<possessive>[+*?]\+)|(?P<group>\(\?(?![:=!]))",
    re.S,
)
_NAMES = {"property": r"\p", "also": r"\p", "possessive": "a possessive quantifier", "group": "a group of another kind"}
_WRITTEN = {"\r": r"\r", "\n": r"\n", "\t": r"\t", "\f": r"\f", "\v": r"\v"}


def unreadable(head: Mapping[str, Any]) -> str:
    """Why the runtime cannot load it; "" where nothing is known to stop it. `head` is foreign."""
    kind = _object(head.get("model")).get("type", "BPE")
    if kind != "BPE":
        return f"its model is of the kind {kind!r}, and the runtime reads BPE alone"
    parts = list(_parts(_object(head.get("pre_tokenizer"))))
    unknown = sorted({str(part.get("type")) for part in parts} - _PRE_TOKENIZERS)
    if unknown:
        return f"the runtime has no pre-tokenizer {listed(unknown)}"
    for part in parts:
        regex = _object(part.get("pattern")).get("Regex") if part.get("type") == "Split" else None
        if isinstance(regex, str) and (rest := _stopped(regex)):
            return f"the runtime cannot read the expression that it splits text by: {rest}"
    return ""


def _parts(pre_tokenizer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if pre_tokenizer:
        yield pre_tokenizer
        inner = pre_tokenizer.get("pretokenizers")
        yield from map(_object, inner if isinstance(inner, list) else ())


def _stopped(regex: str) -> str:
    rest = "".join(_WRITTEN.get(letter, letter) for letter in regex)
    for one in _RECOGNIZED:
        begin, end = (at := rest.find(one)), at + len(one)
        if at >= 0 and rest[begin - 1 : begin] in ("", "|") and rest[end : end + 1] in ("", "|"):
            rest = rest[:begin].removesuffix("|") + (rest[end:] if begin else rest[end + 1 :])
    for found in _STOPS.finditer(rest):
        if found.lastgroup:
            return f"{_NAMES[found.lastgroup]} in {shown(rest)}"
    return ""


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
