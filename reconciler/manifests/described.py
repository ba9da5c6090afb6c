"""Makes a pydantic type from a dataclass whose fields are annotated with what they mean and accept (domain.accepts),
and turns what that type has read into the dataclass again.

So a field is described once: the JSON Schema, the pages in docs/manifests and every refusal come from these types.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import pydantic
from annotated_types import Predicate
from pydantic import BaseModel, StringConstraints, create_model, model_validator

from reconciler.domain.accepts import Accepts, described_fields
from reconciler.domain.gate_spec import TEXT_OF_UNIT, Gate
from reconciler.domain.text.quoting import listed
from reconciler.domain.text.units import duration_meant, read_duration, read_size, size_meant
from reconciler.manifests.field_types import (
    Flag,
    Guess,
    Read,
    Strict,
    as_number,
    as_text,
    as_whole,
    expect,
    refusal,
    share_meant,
    written_so,
)

T = TypeVar("T")

_READS: dict[object, Read] = {int: as_whole, float: as_number, str: as_text}
_MEANT = {"size": size_meant, "duration": duration_meant}
_UNITS: dict[str, Callable[[str], float | None]] = {"size": read_size, "duration": read_duration}


@cache
def manifest_type(declared: type) -> type[Strict]:
    """The type that reads a mapping with the fields of `declared`. Where a field is left out, `declared` knows the
    default."""
    described = described_fields(declared)
    made: dict[str, Any] = {one.name: _field(one, *described[one.name]) for one in fields(declared)}
    checks: dict[str, Any] = {}
    if issubclass(declared, Gate):

        def contradiction(written: Strict) -> Strict:
            if expected := value_of(declared, written).contradiction:
                raise refusal(expected, written.model_dump(exclude_none=True), "delete one of the two")
            return written

        checks["contradiction"] = model_validator(mode="after")(contradiction)
    return create_model(declared.__name__, __base__=Strict, __doc__=declared.__doc__, __validators__=checks, **made)


def value_of(declared: type[T], written: BaseModel | None) -> T:
    """The declared value, with its own defaults for what was not written."""
    return declared(**(values_of(declared, written) if written is not None else {}))


def values_of(declared: type, written: BaseModel) -> dict[str, Any]:
    """What was written of the fields of `declared`, by name."""
    described = described_fields(declared)
    names = [name for name in described if name in written.model_fields_set]
    held = {name: getattr(written, name) for name in names}
    return {name: _value(described[name][0], described[name][2], one) for name, one in held.items() if one is not None}


def _value(kind: Any, accepts: Accepts | None, held: Any) -> Any:
    kind = _without_none(kind)
    if isinstance(held, BaseModel):
        return value_of(kind, held)
    if isinstance(held, list):
        return tuple(_value(get_args(kind)[0], None, one) for one in held)
    if accepts is not None and accepts.unit:
        return _number(held, accepts)
    return dict(held) if isinstance(held, dict) else held


def _field(declared: Field[Any], kind: Any, about: Any, accepts: Accepts | None) -> tuple[Any, Any]:
    default = _default(declared, accepts)
    made = _type(_without_none(kind), accepts)
    description = about.text if about else None
    return (made | None if default is None else made), pydantic.Field(default=default, description=description)


def _default(declared: Field[Any], accepts: Accepts | None) -> Any:
    """As it is shown. None where the field may be left out and the declared value knows what that means."""
    limits = accepts or Accepts()
    if declared.default_factory is not MISSING:
        return declared.default_factory()
    if declared.default is MISSING:
        return ...
    if declared.default in (None, "") or is_dataclass(declared.default) or limits.nullable:
        return None
    if limits.unit:
        return TEXT_OF_UNIT[limits.unit](declared.default)
    return list(declared.default) if isinstance(declared.default, tuple) else declared.default


def _type(kind: Any, accepts: Accepts | None) -> Any:
    limits, origin, arguments = accepts or Accepts(), get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type(arguments[0], next((one for one in arguments[1:] if isinstance(one, Accepts)), None))
    if origin is tuple:
        least, most = _lengths(limits)
        return Annotated[list[_type(arguments[0], None)], pydantic.Field(min_length=least, max_length=most)]  # type: ignore[misc]
    if origin is dict:
        return dict[str, _type(arguments[1], None)]  # type: ignore[misc]
    if limits.words or origin is Literal:
        return _words(Literal[limits.words] if limits.words else kind, limits)  # a table that is read at the import
    return manifest_type(kind) if isinstance(kind, type) and is_dataclass(kind) else _scalar(kind, limits)


def _scalar(kind: type, limits: Accepts) -> Any:
    if kind is bool:
        return Flag
    guess: Guess | None = share_meant if kind is float and limits.most == 1 else None
    if limits.unit:
        guess = written_so(_MEANT[limits.unit], limits.pattern or "", partial(_is_within, limits))
    expected = expect(limits.expected, as_text if limits.unit else _READS[kind], limits.hint, guess=guess)
    if limits.unit:
        within = Predicate(partial(_is_within, limits))
        return Annotated[str, StringConstraints(pattern=limits.pattern), within, expected]
    if kind is str:
        least, most = _lengths(limits)
        strip = True if least else None
        text = StringConstraints(min_length=least, max_length=most, pattern=limits.pattern, strip_whitespace=strip)
        return Annotated[str, text, expected]
    return Annotated[kind, pydantic.Field(ge=limits.least, gt=limits.above, le=limits.most), expected]


def _is_within(limits: Accepts, text: str) -> bool:
    return limits.most is None or _number(text, limits) <= limits.most


def _number(text: str, limits: Accepts) -> float:
    found = _UNITS[limits.unit](text)
    assert found is not None, "the pattern lets only such text through"
    return found


def _words(kind: Any, limits: Accepts) -> Any:
    words = get_args(kind)
    read = as_whole if isinstance(words[0], int) else as_text
    known = tuple(word for word in words if isinstance(word, str))
    expected = limits.expected or listed(map(str, words))
    return Annotated[kind, expect(expected, read, limits.hint, hints=dict(limits.instead), known=known)]


def _lengths(limits: Accepts) -> tuple[int | None, int | None]:
    least, most = (None if limit is None else int(limit) for limit in (limits.least, limits.most))
    return least, most


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType):
        return kind
    (inner,) = (one for one in get_args(kind) if one is not NoneType)
    return inner
