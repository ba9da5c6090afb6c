"""Reads and writes the JSON form of frozen dataclasses. The dataclass is the description of the document; pydantic
does the work.

A document is a dataclass, and its fields are those of the JSON object; a field that has a default may be missing, and
no other may be added. What does not fit is one `Misformed` error of one line: the path of the field, what was expected,
what was found. `seal` adds the digest of a document, taken over its bytes as they stand in the file, so that a torn or
rotten one is never mistaken for the truth. `parse_json` and `limited` are for documents that other machines wrote.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any, Generic, TypeVar

from reconciler.domain.text.escape import one_line
from reconciler.domain.text.quoting import field_path

T = TypeVar("T")

LARGEST = 1 << 60
SHOWN = 60  # characters of what was found

HEAD = b'{"sha256":"%s","body":'
HEAD_LENGTH = len(HEAD % (b"0" * 64))
TAIL = b"}\n"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dataclass_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "too_long": "at most {max_length} entries",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "predicate_failed": "another value",
    "value_error": "{error}",  # raised by a predicate of ours
    "unexpected_keyword_argument": "no field of this name",
}


class Misformed(ValueError):
    """Not of the form. `field` is a path such as `variants[2].releases[0].recipe`, `line` that of a syntax error."""

    def __init__(self, field: str, expected: str, got: object, line: int = 0) -> None:
        self.field, self.line = field, line
        self.message = f"expected {expected}, got {_shown(got)}"
        super().__init__(f"{field}: {self.message}" if field else self.message)


class Damaged(ValueError):
    """Not what was written."""


def seal(value: object) -> bytes:
    body = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    return HEAD % sha256(body).hexdigest().encode() + body + TAIL


def unseal(data: bytes) -> Any:
    body = data[HEAD_LENGTH : -len(TAIL)]
    expected = HEAD % sha256(body).hexdigest().encode()
    if data[:HEAD_LENGTH] != expected or not data.endswith(TAIL):  # guard: a record matches its digest
        raise Damaged("its content does not match its digest")
    return json.loads(body.decode())  # of bytes it would guess the encoding first


class Codec(Generic[T]):
    """The JSON form of one type. `names` gives the name on disk of each field, in this type and in all types inside."""

    def __init__(self, kind: type[T], names: Callable[[str], str] | None = None) -> None:
        self._kind = kind
        self._names = names

    def read(self, plain: object) -> T:
        """From plain values, for documents whose seal says that we wrote them: texts may hold half a surrogate pair,
        and a number stands for a number of another type. Raises Misformed."""
        return self._checked(lambda: self._adapter.validate_python((plain,)))

    def read_json(self, data: bytes) -> T:
        """From what `parse_json` accepted, for documents of others: nothing is converted. Raises Misformed."""
        # guard: a foreign document is read strictly
        return self._checked(lambda: self._adapter.validate_json(b"[%s]" % data, strict=True))

    def write(self, value: T) -> Any:
        """What json.dumps takes: mappings, lists, texts, numbers."""
        (plain,) = self._adapter.dump_python((value,), mode="json", by_alias=True, warnings=False)
        return plain

    def _checked(self, read: Callable[[], tuple[T]]) -> T:
        from pydantic import ValidationError

        try:
            return read()[0]
        except ValidationError as error:
            raise _misformed(error.errors(include_url=False)[0]) from None

    @cached_property
    def _adapter(self) -> Any:
        """Of a list with one value: pydantic takes no configuration for a dataclass that stands alone. It is imported
        here, because `--help` and an empty machine have no document and need not wait 0.2 s for it."""
        from pydantic import ConfigDict, TypeAdapter

        # guard: an unknown field is refused
        config = ConfigDict(extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")
        if self._names is not None:
            config["alias_generator"] = self._names
        return TypeAdapter(tuple[self._kind], config=config)  # type: ignore[name-defined]


def parse_json(data: bytes, limit: int) -> object:
    """Raises Misformed for more than `limit` bytes, what is no UTF-8, a key given twice, NaN, thousands of levels."""
    if len(data) > limit:
        raise Misformed("", f"at most {limit} bytes", f"{len(data)} bytes")
    try:
        return json.loads(data.decode(), object_pairs_hook=unique, parse_constant=_no_constant)
    except Misformed:
        raise
    except RecursionError:
        raise Misformed("", "JSON of a few levels", "thousands") from None
    except ValueError as error:
        found, line = data[:SHOWN].decode(errors="replace"), getattr(error, "lineno", 0)
        raise Misformed("", f"JSON in UTF-8 ({error})", found, line) from None


def as_mapping(plain: object) -> dict[str, Any]:
    """Raises Misformed for anything else."""
    if not isinstance(plain, dict):
        raise Misformed("", "a mapping", plain)
    return plain


def limited(found: object, text: int, items: int, levels: int = 12, place: tuple[int | str, ...] = ()) -> None:
    """Raises Misformed where a text is not one line of at most `text` characters without control characters, where a
    list or mapping holds more than `items`, where they stand in each other deeper than `levels`, and for numbers whose
    size is beyond LARGEST."""
    if isinstance(found, str):
        if not _is_line(found, text):  # guard: a field has a limit
            raise Misformed(field_path(place), f"one line of at most {text} characters", found)
    elif isinstance(found, int | float):
        if abs(found) > LARGEST:
            raise Misformed(field_path(place), f"a number of at most {LARGEST}", found)
    elif isinstance(found, dict | list):
        if (
            len(found) > items  # guard: a list has a limit
            or not levels
        ):
            kind = "list" if isinstance(found, list) else "mapping"
            expected = f"a {kind} of at most {items}" if levels else "JSON of fewer levels"
            raise Misformed(field_path(place), expected, found)
        for at, inner in found.items() if isinstance(found, dict) else enumerate(found):
            if isinstance(at, str) and not _is_line(at, text):
                limited(at, text, items, 1, (*place, "[key]"))
            if not isinstance(inner, str) or not _is_line(inner, text):  # most are, and need no call
                limited(inner, text, items, levels - 1, (*place, at))


def _is_line(text: str, limit: int) -> bool:
    return len(text) <= limit and ((text.isascii() and text.isprintable()) or not _CONTROL.search(text))


def _misformed(complaint: Mapping[str, Any]) -> Misformed:
    kind, place, found = complaint["type"], complaint["loc"][1:], complaint["input"]
    if kind == "missing":
        lacks = f"every field, and {place[-1]} is missing" if isinstance(place[-1], str) else "a longer list"
        return Misformed(field_path(place[:-1]), lacks, found)
    expected = _EXPECTED.get(kind, "").format_map(complaint.get("ctx", {}))
    return Misformed(field_path(place), expected or _plain(complaint["msg"]), found)


def _plain(message: str) -> str:
    """Pydantic's sentence without its subject: `one of 'a' or 'b'`."""
    return re.sub(r"^.*? should (be|have) ", "", message)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For json.loads: of two equal names only one reader sees each."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise Misformed(_shown(twice), "each key once", "it twice")
    return found


def _no_constant(name: str) -> object:
    raise Misformed("", "finite numbers", name)


def _shown(found: object) -> str:
    if isinstance(found, list | dict):
        return f"a {'list' if isinstance(found, list) else 'mapping'} of {len(found)}"
    return one_line(found if isinstance(found, str) else repr(found), SHOWN)
