"""A model's own template, as Hugging Face reads it, for a runtime that keeps white space around tags.

Hugging Face drops the line end behind a tag and the indentation before one (`trim_blocks`, `lstrip_blocks`); Foundry's
runtime writes both. `for_runtime` takes them out, so that both read the same text; line ends go into the next tag, so
that each tag keeps its line. The proof is the reading itself: jinja2 with these options gives
the same tokens for the old text as jinja2 without them for the new one.
"""

from collections.abc import Iterator
from functools import lru_cache

from jinja2 import Environment, TemplateSyntaxError

from reconciler.templates.syntax import SYNTAX, TRIMMING

_EDGES = ("_begin", "_end")
_ENDS = ("block_end", "comment_end")
_WRITES_LINE_END = ["{{", '"\\n"', "}}"]
_LINE_END = '{{ "\\n" }}'  # behind a tag, one that both write


@lru_cache(maxsize=64)  # many models of a fleet share one
def for_runtime(text: str) -> str:
    """The same text where nothing is trimmed, where it is no Jinja, or where the proof fails."""
    try:
        pieces = list(TRIMMING.lex(text))
        if _read(SYNTAX, text) == _read(TRIMMING, text) or any(kind.startswith("raw") for _, kind, _ in pieces):
            return text
        found = "".join(_moved(pieces))
        is_same = _read(SYNTAX, found) == _read(TRIMMING, text) == _read(TRIMMING, found)
    except (TemplateSyntaxError, RecursionError, ValueError):
        return text
    return found if is_same else text


def _moved(pieces: list[tuple[int, str, str]]) -> Iterator[str]:
    """The pieces as Hugging Face trims them. A tag begins with the line ends that are lacking before it."""
    now, after_tag = 1, False
    for line, kind, token in pieces:
        lacking = "\n" * (line - now) if kind.endswith("_begin") else ""
        piece = _piece(kind, token, after_tag=after_tag) + lacking
        now += piece.count("\n")
        after_tag = kind in _ENDS
        yield piece


def _piece(kind: str, token: str, *, after_tag: bool) -> str:
    if kind in _ENDS and not token.startswith("-"):
        return token.removesuffix("\n")
    if kind == "data" and after_tag and token.startswith("\n"):
        return _LINE_END + token[1:]
    return token


def _read(reader: Environment, text: str) -> list[tuple[str, str]]:
    """What it amounts to: tags without the white space in and behind them, text in one piece, `{{ "\\n" }}` as the line
    end that it writes."""
    found: list[tuple[str, str]] = []
    for _, kind, token in reader.lex(text):
        if kind == "whitespace" or kind.startswith("comment"):
            continue
        found.append((kind, token.strip().strip("+-") if kind.endswith(_EDGES) else token))
        if [held for _, held in found[-3:]] == _WRITES_LINE_END:
            found[-3:] = [("data", "\n")]
        if [held for held, _ in found[-2:]] == ["data", "data"]:
            found[-2:] = [("data", found[-2][1] + found[-1][1])]
    return found
