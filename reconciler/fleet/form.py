"""How values look as JSON, told once for both directions, for documents that come from other machines.

Reading is strict: whatever is not of the form is one error that names the field, what was expected and what was found.
Every text and every list has a limit, so a hostile document costs no more than its own size. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from reconciler.domain.escape import one_line
from reconciler.domain.value import field_names
from reconciler.planner.difference import camel

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
SHOWN = 60  # characters of what was found


class Misformed(ValueError):
    """Not of the form. `field` is a path such as `variants[2].releases[0].recipe`."""

    def __init__(self, field: str, expected: str, got: object) -> None:
        self.field = field
        self.message = f"expected {expected}, got {_shown(got)}"
        super().__init__(f"{field}: {self.message}" if field else self.message)


class Text:
    """One line without control characters; longer ones are refused when read, cut when written."""

    def __init__(self, limit: int, *, pattern: str = ".*", meaning: str = "") -> None:
        self._limit = limit
        self._fits = re.compile(pattern).fullmatch
        self._expected = meaning or f"one line of at most {limit} characters"

    def read(self, found: object, field: str) -> str:
        if not isinstance(found, str) or len(found) > self._limit or _CONTROL.search(found):
            raise Misformed(field, self._expected, found)
        if not self._fits(found):
            raise Misformed(field, self._expected, found)
        return found

    def write(self, held: str) -> str:
        return one_line(held, self._limit)


class Whole:
    """A whole number of at least `least`; or any finite number of that, in which case it is read as float."""

    def __init__(self, most: int = 1 << 60, *, least: int = 0, fraction: bool = False) -> None:
        self._most = most
        self._least = least
        self._fraction = fraction

    def read(self, found: object, field: str) -> int | float:
        kinds: tuple[type, ...] = (int, float) if self._fraction else (int,)
        if type(found) not in kinds or not self._least <= found <= self._most:  # type: ignore[operator]
            kind = "number" if self._fraction else "whole number"
            raise Misformed(field, f"a {kind} from {self._least} to {self._most}", found)
        return found  # type: ignore[return-value]

    def write(self, held: int | float) -> int | float:
        return held


class Flag:
    def read(self, found: object, field: str) -> bool:
        if not isinstance(found, bool):
            raise Misformed(field, "true or false", found)
        return found

    def write(self, held: bool) -> bool:
        return held


class Optional:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, found: object, field: str) -> Any:
        return None if found is None else self._inner.read(found, field)

    def write(self, held: Any) -> Any:
        return None if held is None else self._inner.write(held)


class Many:
    """A list, read as a tuple."""

    def __init__(self, inner: Any, limit: int, *, least: int = 0) -> None:
        self._inner = inner
        self._limit = limit
        self._least = least

    def read(self, found: object, field: str) -> tuple[Any, ...]:
        if not isinstance(found, list) or not self._least <= len(found) <= self._limit:
            raise Misformed(field, f"a list of {'' if self._least else 'at most '}{self._limit}", found)
        return tuple(self._inner.read(one, f"{field}[{at}]") for at, one in enumerate(found))

    def write(self, held: tuple[Any, ...]) -> list[Any]:
        return [self._inner.write(one) for one in held]


class Mapping:
    def __init__(self, key: Text, inner: Any, limit: int) -> None:
        self._key = key
        self._inner = inner
        self._limit = limit

    def read(self, found: object, field: str) -> dict[str, Any]:
        if not isinstance(found, dict) or len(found) > self._limit:
            raise Misformed(field, f"a mapping of at most {self._limit}", found)
        return {
            self._key.read(key, f"{field} (key)"): self._inner.read(one, f"{field}.{_shown(key)}")
            for key, one in found.items()
        }

    def write(self, held: dict[str, Any]) -> dict[str, Any]:
        return {key: self._inner.write(one) for key, one in held.items()}


class Plain:
    """A mapping of plain things, a few levels deep, that this version need not understand: somebody else's recipe."""

    def __init__(self, levels: int = 3, limit: int = 64, text: int = 300) -> None:
        self._levels = levels
        self._limit = limit
        self._text = Text(text)

    def read(self, found: object, field: str) -> dict[str, object]:
        if not isinstance(found, dict):
            raise Misformed(field, "a mapping", found)
        return self._read(found, field, self._levels)  # type: ignore[return-value]

    def _read(self, found: object, field: str, levels: int) -> object:
        if isinstance(found, str):
            return self._text.read(found, field)
        if isinstance(found, dict) and levels and len(found) <= self._limit:
            return {
                self._text.read(key, f"{field} (key)"): self._read(one, f"{field}.{_shown(key)}", levels - 1)
                for key, one in found.items()
            }
        if found is None or isinstance(found, bool | int | float):
            return found
        raise Misformed(field, f"plain values, at most {self._levels} levels of {self._limit}", found)

    def write(self, held: dict[str, object]) -> dict[str, object]:
        return held


class Form:
    """A value: every field by its camelCase name. A field that has a default may be left out; no other may be added."""

    def __init__(self, make: Callable[..., Any], **fields: Any) -> None:
        self._make = make
        self._fields = {camel(name): (name, inner) for name, inner in fields.items()}
        assert tuple(fields) == field_names(make)  # type: ignore[arg-type]

    def read(self, found: object, field: str) -> Any:
        if not isinstance(found, dict):
            raise Misformed(field, "a mapping", found)
        where = f"{field}." if field else ""
        for key in found:
            if key not in self._fields:
                raise Misformed(f"{where}{_shown(key)}", f"one of {', '.join(self._fields)}", key)
        given = {
            name: inner.read(found[key], where + key)
            for key, (name, inner) in self._fields.items()
            if key in found
        }
        try:
            return self._make(**given)
        except TypeError as error:
            raise Misformed(field, f"every field ({error})", sorted(found)) from None

    def write(self, held: Any) -> dict[str, Any]:
        return {key: inner.write(getattr(held, name)) for key, (name, inner) in self._fields.items()}


def parse_json(data: bytes, limit: int) -> object:
    """Raises Misformed for what is no sane JSON: too long, no UTF-8, a key given twice, NaN, thousands of levels."""
    if len(data) > limit:
        raise Misformed("", f"at most {limit} bytes", f"{len(data)} bytes")
    try:
        return json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except Misformed:
        raise
    except RecursionError:
        raise Misformed("", "JSON of a few levels", "thousands") from None
    except ValueError as error:
        raise Misformed("", f"JSON in UTF-8 ({error})", data[:SHOWN].decode(errors="replace")) from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Misformed(_shown(twice), "each key once", "it twice")
    return found


def _no_constant(name: str) -> object:
    raise Misformed("", "finite numbers", name)


def _shown(found: object) -> str:
    if isinstance(found, list | dict):
        return f"a {'list' if isinstance(found, list) else 'mapping'} of {len(found)}"
    return one_line(found if isinstance(found, str) else repr(found), SHOWN)
