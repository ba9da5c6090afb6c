"""The words of the dialect (templates.dialect) that an example can be rendered with: each gives as much as it was
given, or a little more. What is not here is not followed. Where Python's word does something else, this is the
runtime's: it knows the letters and the white space of ASCII, and counts bytes. (tests/templates/test_chat_templates.py
compares.)"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from reconciler.templates.values import (
    LONGEST,
    UNDEFINED,
    Loop,
    NotRendered,
    Undefined,
    as_json,
    item,
    joined_of,
    text_of,
)

WHITE = " \t\n\r"
_LOWER = str.maketrans({chr(code): chr(code + 32) for code in range(65, 91)})
_UPPER = str.maketrans({chr(code + 32): chr(code) for code in range(65, 91)})


def _default(held: Any, other: Any = "", boolean: bool = False) -> Any:
    return other if held is UNDEFINED or held is None or (boolean and not held) else held


def _lower(held: Any) -> str:
    return text_of(held).translate(_LOWER)


def _stripped(how: Callable[..., str]) -> Callable[..., str]:
    return lambda held, letters=WHITE: how(held, letters)


def _capitalized(held: str) -> str:
    return held[:1].translate(_UPPER) + held[1:]


def _titled(held: str) -> str:
    words = re.split(r"([ \t\n\r]+)", held)
    return "".join(_capitalized(word.translate(_LOWER)) for word in words)


def _join(held: Any, between: str = "", attribute: str | None = None) -> str:
    parts = [joined_of(item(one, attribute) if attribute is not None else one) for one in _list(held)]
    if sum(map(len, parts)) + len(parts) * len(text_of(between)) > LONGEST:
        raise NotRendered(f"it joins more than {LONGEST:,} characters")
    return text_of(between).join(parts)


def _list(held: Any) -> list[Any]:
    if isinstance(held, str):
        raise TypeError("the letters of a text")
    return [] if held is UNDEFINED else list(held)


def _map(held: Any, name: str | None = None, *, attribute: str | None = None) -> list[Any]:
    if attribute is not None:
        return [item(one, attribute) for one in _list(held)]
    act = FILTERS[name or ""]
    return [act(one) for one in _list(held)]


def _chosen(keep: bool, by_attribute: bool) -> Callable[..., list[Any]]:
    """select, reject, selectattr and rejectattr."""

    def choose(held: Any, *arguments: Any) -> list[Any]:
        name, *rest = arguments if by_attribute else (None, *arguments)
        if not rest:
            raise NotRendered("choosing without a test is not followed here")
        test = _TESTS_BY_NAME[rest[0]]
        given = rest[1:]
        found = []
        for one in _list(held):
            looked = item(one, name) if by_attribute else one
            if bool(test(looked, *given)) is keep:
                found.append(one)
        return found

    return choose


def _indent(held: Any, width: int = 4, first: bool = False) -> str:
    if not 0 <= width <= 16:
        raise ValueError("it indents too far")
    if not held:
        return ""
    lines = text_of(held).split("\n")
    return ("\n" + " " * width).join([(" " * width if first else "") + lines[0], *lines[1:]])


def _unique(held: Any) -> list[Any]:
    found: list[Any] = []
    if _length(held) > 100:
        raise NotRendered("it sorts out more than 100 values")
    for one in _list(held):
        if one not in found:
            found.append(one)
    return found


def _length(held: Any) -> int:
    if held is UNDEFINED:
        raise TypeError("the length of something that is not defined")
    return len(held.encode()) if isinstance(held, str) else len(held)


def _sorted(held: dict[str, Any]) -> list[list[Any]]:
    return [[key, held[key]] for key in sorted(held)]


def _int(held: Any, default: int = 0) -> int:
    try:
        return int(held)
    except (TypeError, ValueError, OverflowError):
        return default


def _pairs(held: Any) -> list[list[Any]]:
    return [] if held is UNDEFINED else [[key, one] for key, one in held.items()]


FILTERS: dict[str, Callable[..., Any]] = {
    "count": _length,
    "default": _default,
    "dictsort": _sorted,
    "indent": _indent,
    "int": _int,
    "items": _pairs,
    "join": _join,
    "last": lambda held: _list(held)[-1] if held else UNDEFINED,
    "length": _length,
    "list": _list,
    "lower": _lower,
    "map": _map,
    "reject": _chosen(keep=False, by_attribute=False),
    "rejectattr": _chosen(keep=False, by_attribute=True),
    "safe": lambda held: held,
    "select": _chosen(keep=True, by_attribute=False),
    "selectattr": _chosen(keep=True, by_attribute=True),
    "string": joined_of,
    "tojson": as_json,
    "trim": lambda held: text_of(held).strip(WHITE),
    "unique": _unique,
}

TESTS: dict[str, Callable[..., bool]] = {
    "boolean": lambda held: isinstance(held, bool),
    "defined": lambda held: not isinstance(held, Undefined),
    "float": lambda held: isinstance(held, float),
    "integer": lambda held: isinstance(held, int) and not isinstance(held, bool),
    "iterable": lambda held: isinstance(held, (str, list, tuple, dict, Undefined)),
    "mapping": lambda held: isinstance(held, dict),
    "none": lambda held: held is None or held is UNDEFINED,
    "number": lambda held: isinstance(held, (int, float)) and not isinstance(held, bool),
    "sequence": lambda held: isinstance(held, (list, tuple)),
    "string": lambda held: isinstance(held, str),
    "undefined": lambda held: isinstance(held, Undefined),
}
_TESTS_BY_NAME: dict[str, Callable[..., bool]] = {
    **TESTS,
    "equalto": lambda held, other: bool(held == other),
    "==": lambda held, other: bool(held == other),
}


def _of_text(name: str) -> Callable[..., Any]:
    """A method of texts, and of nothing else."""

    def act(held: Any, *arguments: Any) -> Any:
        if not isinstance(held, str):
            raise TypeError(f"{name} of something that is no text")
        return getattr(held, name)(*arguments)

    return act


def _on_text(act: Callable[..., Any]) -> Callable[..., Any]:
    def checked(held: Any, *arguments: Any) -> Any:
        if not isinstance(held, str):
            raise TypeError("a method of texts, of something that is no text")
        return act(held, *arguments)

    return checked


def _split(held: str, separator: str) -> list[str]:
    return held.split(separator)


def _of_list(name: str) -> Callable[..., Any]:
    def act(held: Any, *arguments: Any) -> Any:
        if not isinstance(held, list):
            raise TypeError(f"{name} of something that is no list")
        return getattr(held, name)(*arguments)

    return act


def _get(held: Any, key: Any, default: Any = None) -> Any:
    if not isinstance(held, dict):
        raise TypeError("get of something that is no mapping")
    return held.get(key, default)


def _cycle(held: Any, *values: Any) -> Any:
    if not isinstance(held, Loop):
        raise TypeError("cycle of something that is no loop")
    return values[held.number % len(values)]


METHODS: dict[str, Callable[..., Any]] = {
    **{name: _of_text(name) for name in ("endswith", "startswith")},
    **{name: _of_list(name) for name in ("append", "insert", "pop")},
    "capitalize": _on_text(_capitalized),
    "cycle": _cycle,
    "get": _get,
    "items": _pairs,
    "lstrip": _on_text(_stripped(str.lstrip)),
    "rstrip": _on_text(_stripped(str.rstrip)),
    "split": _on_text(_split),
    "strip": _on_text(_stripped(str.strip)),
    "title": _on_text(_titled),
}
