"""A frozen dataclass as plain data: a dict of its fields, and the names of these fields; and many values as groups."""

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

K = TypeVar("K")
T = TypeVar("T")


def as_dict(one: Any) -> dict[str, Any]:
    """Fields by name. Dataclasses inside, also in tuples, lists and dicts, become dicts too; other values are shared,
    not copied as `dataclasses.asdict` does."""
    return {field.name: _plain(getattr(one, field.name)) for field in fields(one)}


def field_names(cls: type) -> tuple[str, ...]:
    """In the order of the class."""
    return tuple(field.name for field in fields(cls))


def _plain(held: Any) -> Any:
    if held is None or isinstance(held, str | int | float):  # most are: the other questions cost a tenth of a plan
        return held
    if isinstance(held, dict):
        return {key: _plain(inner) for key, inner in held.items()}
    if isinstance(held, tuple | list):
        return type(held)(map(_plain, held))
    return as_dict(held) if is_dataclass(held) and not isinstance(held, type) else held


def grouped(many: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """In the order in which the keys come first."""
    groups: dict[K, list[T]] = {}
    for one in many:
        groups.setdefault(key(one), []).append(one)
    return groups
