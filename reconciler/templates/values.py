"""Values of a chat template while an example is rendered (templates.example), and how large they may become."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

LONGEST = 100_000  # characters of a text, or of everything in a list together
LARGEST = 1 << 63


class NotRendered(Exception):
    """Why there is nothing to show, in one line."""


class Refusing(NotRendered):
    """The template itself said no to this conversation."""


class Undefined:
    """What nobody gave: false, empty when written, and an error when taken apart."""

    def __bool__(self) -> bool:
        return False


UNDEFINED = Undefined()


class Namespace:
    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields


class Macro:
    def __init__(self, names: list[str], defaults: list[Any], body: list[Any]) -> None:
        self.names, self.defaults, self.body = names, defaults, body


class Loop:
    """`loop` inside of a `for`."""

    def __init__(self, items: list[Any], number: int) -> None:
        last = len(items) - 1
        self.number = number
        self.fields = {
            "index": number + 1,
            "index0": number,
            "revindex": last - number + 1,
            "revindex0": last - number,
            "first": number == 0,
            "last": number == last,
            "length": len(items),
            "previtem": items[number - 1] if number else UNDEFINED,
            "nextitem": items[number + 1] if number < last else UNDEFINED,
        }


def checked(held: Any) -> Any:
    """Passed on, if it is small."""
    size_of(held)
    return held


def size_of(held: Any) -> int:
    """In characters. Lists that hold each other are as large as they would be when written out."""
    if isinstance(held, str):
        if len(held) > LONGEST:
            raise NotRendered(f"it makes a text of more than {LONGEST:,} characters")
        return len(held) // 50  # copied at once, where a list is walked
    if isinstance(held, (list, tuple, dict)):
        return _measured(held)
    if isinstance(held, (int, float)) and not -LARGEST < held < LARGEST:
        raise NotRendered("it makes a number that is too large")
    return 0


def _measured(held: Any) -> int:
    stack, size = [held], 0
    while stack:
        one = stack.pop()
        size += 1 + (len(one) if isinstance(one, (str, list, tuple, dict)) else 0)
        if size > LONGEST:
            raise NotRendered(f"it makes a list of more than {LONGEST:,} characters")
        if isinstance(one, dict):
            stack += one.keys()
            stack += one.values()
        elif isinstance(one, (list, tuple)):
            stack += one
    return size


def item(held: Any, key: Any) -> Any:
    """`held.key` and `held[key]`. No attribute of any Python object can be reached."""
    if isinstance(held, Undefined):
        raise NotRendered("it takes apart something that is not defined")
    if isinstance(held, (Namespace, Loop)):
        return held.fields.get(key, UNDEFINED)
    if isinstance(held, dict):
        return held.get(key, UNDEFINED)
    if isinstance(held, (list, tuple)) and isinstance(key, int):
        return held[key]  # IndexError where there is none: the runtime fails, too
    return UNDEFINED


def text_of(held: Any) -> str:
    """As it is written; joined with others, what is nothing has a name (`joined_of`)."""
    if isinstance(held, str):
        return held
    if held is None or isinstance(held, Undefined):
        return ""
    if isinstance(held, (bool, int, float)):
        return str(held)
    if isinstance(held, (list, tuple, dict)):
        return str(held)
    raise NotRendered("it writes something that is no text")


def joined_of(held: Any) -> str:
    return text_of(held) if held is not None and held is not UNDEFINED else "None"


def as_json(held: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= 16:
        raise NotRendered("it indents too far")
    return json.dumps(held, ensure_ascii=False, indent=indent)


def _same(left: Any, right: Any) -> bool:
    """What is not defined is none, and True is not 1."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return bool((None if left is UNDEFINED else left) == (None if right is UNDEFINED else right))


def _in(left: Any, right: Any) -> bool:
    """Texts are not looked into."""
    return right is not UNDEFINED and not isinstance(right, str) and left in right


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _same,
    "ne": lambda left, right: not _same(left, right),
    "in": _in,
    "notin": lambda left, right: not _in(left, right),
    "lt": lambda left, right: left < right,
    "lteq": lambda left, right: left <= right,
    "gt": lambda left, right: left > right,
    "gteq": lambda left, right: left >= right,
}


def compared(operator: str, left: Any, right: Any) -> bool:
    return bool(_COMPARED[operator](left, right))
