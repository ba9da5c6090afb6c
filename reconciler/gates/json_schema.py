"""The part of JSON Schema that golden prompts may use: shapes, kinds and limits; no references and no patterns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.domain.quoting import shown

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "number": (int, float),
    "integer": (int,),
    "null": (type(None),),
}
_NUMBERS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
MOST_LEVELS = 16  # as in a manifest
KEYWORDS = ("type", "properties", "required", "additionalProperties", "items", "enum", "const", *_NUMBERS)


def schema_refusal(schema: object, levels: int = MOST_LEVELS) -> str | None:
    """Why a JSON Schema is not taken: a part that would be ignored makes a gate that looks stricter than it is."""
    if not isinstance(schema, dict):
        return "it is no mapping"
    if not levels:
        return f"it has more than {MOST_LEVELS} levels"
    unknown = [name for name in schema if name not in KEYWORDS]
    if unknown:
        return f"`{shown(str(unknown[0]))}` is not supported"
    wrong = [name for name, held in schema.items() if not _FORMS.get(name, _any)(held)]
    if wrong:
        return f"`{wrong[0]}` does not take this"
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return next((why for one in inner if (why := schema_refusal(one, levels - 1))), None)


def _any(held: object) -> bool:
    return True


def _is_number(held: object) -> bool:
    return isinstance(held, int | float) and not isinstance(held, bool)


_FORMS: dict[str, Callable[[object], bool]] = {
    "type": lambda held: isinstance(held, str) and held in _TYPES,
    "properties": lambda held: isinstance(held, dict),
    "additionalProperties": lambda held: isinstance(held, bool),
    "required": lambda held: isinstance(held, list) and all(isinstance(name, str) for name in held),
    "enum": lambda held: isinstance(held, list),
    **dict.fromkeys(_NUMBERS, _is_number),
}


def conforms(value: object, schema: Mapping[str, Any]) -> bool:
    if not (_is_named(value, schema) and _within(value, schema)):
        return False
    if isinstance(value, dict):
        return _object_conforms(value, schema)
    if isinstance(value, list) and "items" in schema:
        return all(conforms(one, schema["items"]) for one in value)
    return True


def _is_named(value: object, schema: Mapping[str, Any]) -> bool:
    return (
        ("type" not in schema or _is_a(value, schema["type"]))
        and ("enum" not in schema or any(_is_same(value, one) for one in schema["enum"]))
        and ("const" not in schema or _is_same(value, schema["const"]))
    )


def _is_same(one: object, other: object) -> bool:
    """As JSON has it: true is no 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(held, other[key]) for key, held in one.items())
    return one == other


def _is_a(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _within(value: object, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, bool):
        return True
    number: int | float
    if isinstance(value, int | float):
        number, low, high = (
            value,
            "minimum",
            "maximum",
        )  # no float of it: whole numbers may be longer than one
    elif isinstance(value, str | list):
        kind = "Length" if isinstance(value, str) else "Items"
        number, low, high = len(value), f"min{kind}", f"max{kind}"
    else:
        return True
    return bool(schema.get(low, number) <= number <= schema.get(high, number))


def _object_conforms(value: dict[str, object], schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties", {})
    if any(name not in value for name in schema.get("required", [])):
        return False
    if schema.get("additionalProperties", True) is False and any(name not in properties for name in value):
        return False
    return all(conforms(value[name], inner) for name, inner in properties.items() if name in value)
