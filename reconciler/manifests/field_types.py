"""The small types that manifests are made of, and what each of them expects.

A value without quotes reaches these types as `loader.Plain` text and becomes a number, a flag or null only here; quoted
text stays text. `expect` turns every refusal of a type into the same sentence: expected this, got that.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from reconciler.backends.select import BACKENDS
from reconciler.domain.text.names import camel
from reconciler.domain.text.quoting import listed, nearest_word, shown
from reconciler.domain.text.units import DURATION_PATTERN, SIZE_PATTERN, duration_meant, read_size, size_meant
from reconciler.manifests.loader import Plain

REFUSAL = "manifest"
TEMPLATE_FORMS = ("<preset>", "<ref>", "<roles>", "<jinja>")  # tags of a union: in pydantic's paths, not in documents
PRECISION_FORMS = ("<each>", "<any>", "<some>")  # of `spec.precisions`, as above
MAX_NAME = 40
NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
LEAST_PERCENTAGE = 10  # what is taken for one without its sign
NEAR, VERY_NEAR = 0.6, 0.8  # how alike a word must be to one that is known; the latter where there is a hint for all
NULL_WORDS = frozenset({"", "~", "null", "Null", "NULL"})

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{0,18})?([eE][-+]?[0-9]{1,3})?|[-+]?\.[0-9]{1,18}")
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DEVICE_NAME = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")


Read = Callable[[object], object]
Guess = Callable[[str], str]


def is_null(value: object) -> bool:
    return isinstance(value, Plain) and value in NULL_WORDS


def got(value: object) -> str:
    """What was found, for the end of `expected ..., got ...`."""
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if is_null(value):
        return "nothing" if value == "" else "null"
    text = shown(str(value))
    return text if isinstance(value, Plain) or not isinstance(value, str) else f'the text "{text}"'


def refusal(expected: str, value: object, hint: str = "", code: str = "InvalidValue") -> PydanticCustomError:
    """The error that says `expected ..., got ...`; the context carries all that a Problem needs."""
    message = f"expected {expected}, got {got(value)}"
    return PydanticCustomError(REFUSAL, "{message}", {"message": message, "hint": hint, "code": code})


def as_text(value: object) -> object:
    return str(value) if isinstance(value, str) else value


def as_whole(value: object) -> object:
    return int(value) if isinstance(value, Plain) and _WHOLE.fullmatch(value) else value


def as_number(value: object) -> object:
    return float(value) if isinstance(value, Plain) and _NUMBER.fullmatch(value) else value


def as_size(value: object) -> object:
    size = read_size(value) if isinstance(value, str) else None
    return value if size is None else size


def as_flag(value: object) -> object:
    return _FLAGS.get(value, value) if isinstance(value, Plain) else value


def expect(
    expected: str,
    read: Read,
    hint: str = "",
    hints: Mapping[str, str] | None = None,
    known: tuple[str, ...] = (),
    guess: Guess | None = None,
) -> WrapValidator:
    """A validator that reads plain text as `read` does and words every refusal as `expected ..., got ...`.

    `known` are the words to choose from, and `hints` says what to do about other ones. `guess` gives a hint for a value
    that is like none of them, `hint` is the one for all the rest.
    """
    words = dict.fromkeys(known, "") | dict(hints or {})
    cutoff = VERY_NEAR if hint else NEAR

    def told(value: object) -> str:
        if not isinstance(value, str):
            return hint
        if not isinstance(value, Plain) and not isinstance(read(Plain(value)), str):
            return "remove the quotes"
        best = nearest_word(value, words, cutoff)
        if best:
            return words[best] or f"did you mean {best}?"
        return (guess(value) if guess else "") or hint

    def check(value: object, inner: ValidatorFunctionWrapHandler) -> object:
        try:
            return inner(read(value))
        except ValueError as error:
            # A refusal from inside is already worded, and better.
            if isinstance(error, ValidationError) and error.errors()[0]["type"] == REFUSAL:
                raise
            raise refusal(expected, value, told(value)) from None

    return WrapValidator(check)


def one_of(
    words: Iterable[str], expected: str = "", hints: Mapping[str, str] | None = None, guess: Guess | None = None
) -> WrapValidator:
    """For a Literal of these words."""
    known = tuple(words)
    return expect(expected or listed(known), as_text, hints=hints, known=known, guess=guess)


def written_so(meant: Callable[[str], Iterator[str]], pattern: str, within: Callable[[str], bool]) -> Guess:
    """A hint for a value with a unit: the first way to write what was meant that the field takes."""

    def guess(value: str) -> str:
        fits = (one for one in meant(value) if one != value and re.fullmatch(pattern, one) and within(one))
        return next((f"write {one}" for one in fits), "")

    return guess


duration_guess = written_so(duration_meant, DURATION_PATTERN, bool)
size_guess = written_so(size_meant, SIZE_PATTERN, bool)


def share_meant(value: str) -> str:
    """A hint for a percentage in the place of a share of one."""
    number = as_number(Plain(value.removesuffix("%").strip()))
    least = 0 if value.endswith("%") else LEAST_PERCENTAGE
    return f"write {number / 100:g}, a share of 1" if isinstance(number, float) and least < number <= 100 else ""


def as_name(value: object) -> object:
    """A name of null is a name that was forgotten."""
    return None if is_null(value) else as_text(value)


def _not_reserved(value: str) -> str:
    if _DEVICE_NAME.fullmatch(value):
        raise refusal("a name that every system allows", Plain(value), "Windows reserves it for a device; add a word")
    for backend in BACKENDS.values():
        if hint := backend.reserved(value):
            raise refusal("a name that every back end can serve", Plain(value), hint)
    return value


def optional(description: str) -> Any:
    """A field that may be left out, or be null."""
    return Field(default=None, description=description)


class Strict(BaseModel):
    """What all parts of a manifest have in common: unknown fields are errors, nothing is converted behind the author's
    back, null means "not set". Its validator is made with the first manifest of its kind: most are parts of another."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=camel, validate_by_name=False, defer_build=True
    )
    exclusive: ClassVar[tuple[Collection[str], ...]] = ()  # fields as they are written: exactly one of each group

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        optional = {f.alias for f in cls.model_fields.values() if not f.is_required() and f.default is None}
        return {key: v for key, v in value.items() if not (key in optional and is_null(v))}

    @model_validator(mode="after")
    def _one_of_each_group(self) -> Self:
        for names in self.exclusive:
            held = {field.alias: getattr(self, name) for name, field in type(self).model_fields.items()}
            written = [name for name in names if held[name] is not None]
            if len(written) != 1:
                raise refusal(f"one of {listed(names)}", Plain(" and ".join(written) or "none"))
        return self


AnyText = Annotated[str, StringConstraints(max_length=4096), expect("text of at most 4,096 characters", as_text)]
_FLAG_HINTS = {"yes": "write true", "on": "write true", "no": "write false", "off": "write false"}
Flag = Annotated[bool, expect("true or false", as_flag, hints=_FLAG_HINTS)]
Name = Annotated[
    str,
    StringConstraints(pattern=NAME_PATTERN, max_length=MAX_NAME),
    AfterValidator(_not_reserved),
    expect(f"a name of at most {MAX_NAME} lower-case letters, digits and dashes, starting with a letter", as_name),
]
RelativePath = Annotated[
    str, StringConstraints(min_length=1, max_length=1024), expect("a path relative to this file", as_text)
]
Duration = Annotated[
    str,
    Field(pattern=f"^{DURATION_PATTERN}$"),
    expect("a duration such as 90s, 45m or 2h30m", as_text, guess=duration_guess),
]
PeriodOrOff = Annotated[
    str,
    Field(pattern=f"^(off|{DURATION_PATTERN})$"),
    expect("a duration such as 24h, or off", as_text, guess=duration_guess),
]
