"""A frozen dataclass as plain data: a dict of its fields, and the names of these fields."""

from dataclasses import fields, is_dataclass
from typing import Any


def as_dict(one: Any) -> dict[str, Any]:
    """Fields by name. Dataclasses inside, also in tuples, lists and dicts, become dicts too; other values are shared,
    not copied as `dataclasses.asdict` does."""
    return {field.name: _plain(getattr(one, field.name)) for field in fields(one)}


def field_names(cls: type) -> tuple[str, ...]:
    """In the order of the class."""
    return tuple(field.name for field in fields(cls))


def _plain(held: Any) -> Any:
    if isinstance(held, dict):
        return {key: _plain(inner) for key, inner in held.items()}
    if isinstance(held, tuple | list):
        return type(held)(map(_plain, held))
    return as_dict(held) if is_dataclass(held) and not isinstance(held, type) else held
