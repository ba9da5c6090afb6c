"""Golden prompts: a question, and whether an answer is the right one: exact, contained, by pattern, or by JSON Schema.

Patterns come from manifests and answers from models, so the work is bounded: patterns are RE2's (linear time), and of
JSON Schema a list of keywords is taken that neither refers to anything nor contains a pattern.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2

from reconciler.domain.text.quoting import shown

CHECKS = ("exact", "contains", "regex", "jsonSchema")

LONGEST_ANSWER = 4_096  # characters of an answer that are kept and judged
LONGEST_PATTERN = 500
LARGEST_PATTERN = 8 << 20  # bytes of a compiled pattern
DEEPEST_SCHEMA = 16  # levels, as in a manifest
MOST_REMEMBERED = 1_000  # answers that were judged

PROMPT_SHOWN, ANSWER_SHOWN = 80, 120  # characters of each in the message about a wrong answer

_WANTED = {"exact": "exactly", "contains": "to contain", "regex": "to match", "jsonSchema": "JSON of the schema"}
KEYWORDS = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const"),
        *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
    }
)


@dataclass(frozen=True, kw_only=True)
class GoldenPrompt:
    """`check` is one of CHECKS; a JSON Schema stands as canonical text in `expected`."""

    messages: tuple[tuple[str, str], ...]
    check: str
    expected: str


@lru_cache(maxsize=MOST_REMEMBERED)
def passes(case: GoldenPrompt, answer: str) -> bool:
    """White space around an answer never counts. Results are remembered: a daemon asks at every look."""
    answer = answer[:LONGEST_ANSWER].strip()
    match case.check:
        case "exact":
            return answer == case.expected.strip()
        case "contains":
            return case.expected in answer
        case "regex":
            text = answer.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be matched
            return _compiled(case.expected).search(text) is not None
        case _:
            return _is_json_of(json.loads(case.expected), answer)


def miss(case: GoldenPrompt, answer: str) -> str:
    """What was asked last, wanted and got, on one line: all three are foreign text."""
    asked = _quoted(case.messages[-1][1], PROMPT_SHOWN)
    return f"{asked}: wanted {wanted_text(case)}, got {_quoted(answer, ANSWER_SHOWN)}"


def wanted_text(case: GoldenPrompt) -> str:
    return f"{_WANTED[case.check]} {_quoted(case.expected, PROMPT_SHOWN)}"


def _quoted(text: str, limit: int) -> str:
    return f'"{shown(text.strip(), limit)}"'


def pattern_refusal(pattern: str) -> str | None:
    """Why a pattern is not taken; None for one that is."""
    if len(pattern) > LONGEST_PATTERN:
        return f"it has more than {LONGEST_PATTERN} characters"
    try:
        _compiled(pattern)
    except re2.error as error:
        why = error.args[0]
        return f"RE2 does not take it: {shown(why.decode() if isinstance(why, bytes) else str(why), 160)}"
    except UnicodeError:
        return "it is no text"
    return None


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = LARGEST_PATTERN  # guard: a pattern that compiles to too much is refused
    options.log_errors = False
    return re2.compile(pattern, options)


def schema_refusal(schema: Any) -> str | None:
    """Why a JSON Schema is not taken. An unknown keyword would be ignored, and its gate look stricter than it is."""
    if why := _unknown_keyword(schema, DEEPEST_SCHEMA):
        return why
    from jsonschema import Draft202012Validator, SchemaError  # 0.1 s that only this kind of check is worth

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        keyword = next((name for name in reversed(error.path) if isinstance(name, str)), "")
        return f"`{shown(keyword)}` does not take this"
    return None


def _unknown_keyword(schema: object, levels: int) -> str | None:
    if not isinstance(schema, dict):
        return "it is no mapping"
    if not levels:
        return f"it has more than {DEEPEST_SCHEMA} levels"
    unknown = [name for name in schema if name not in KEYWORDS]
    if unknown:
        return f"`{shown(str(unknown[0]))}` is not supported"
    if not isinstance(schema.get("additionalProperties", True), bool):
        return "`additionalProperties` does not take this"
    if not isinstance(schema.get("properties", {}), dict):
        return "`properties` does not take this"
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return next((why for one in inner if (why := _unknown_keyword(one, levels - 1))), None)


def _is_json_of(schema: Mapping[str, Any], answer: str) -> bool:
    from jsonschema import Draft202012Validator  # as above

    is_valid: Callable[[object], bool] = Draft202012Validator(schema).is_valid
    try:
        return is_valid(json.loads(answer, parse_constant=_no_constant))
    except (ValueError, RecursionError):
        return False


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
