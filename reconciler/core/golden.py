"""Is this answer the right one? Exact, contained, by pattern, or by JSON Schema. Pure, and bounded in time: patterns
come from manifests, answers from models.
"""

from __future__ import annotations

import json
import re

from reconciler.core.json_schema import conforms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from reconciler.core.bars import GoldenPrompt

LONGEST_ANSWER = 4_096  # characters of an answer that are kept and judged
LONGEST_MATCHED = (
    1_000  # characters that a pattern is tried on: two repeats take a second there at the very worst
)
LONGEST_PATTERN = 500
MOST_REPEATS = 2

_BOUNDED = 16  # a repeat of at most so many is no danger


def passes(case: GoldenPrompt, answer: str) -> bool:
    """White space around an answer never counts."""
    answer = answer[:LONGEST_ANSWER].strip()
    if case.check == "exact":
        return answer == case.expected.strip()
    if case.check == "contains":
        return case.expected in answer
    if case.check == "regex":
        return re.search(case.expected, answer[:LONGEST_MATCHED]) is not None
    return _is_json_of(json.loads(case.expected), answer)


def pattern_refusal(pattern: str) -> str | None:
    """Why a pattern is not taken: it is none, or some answer could keep it busy for hours."""
    if len(pattern) > LONGEST_PATTERN:
        return f"it has more than {LONGEST_PATTERN} characters"
    try:
        re.compile(pattern)
        repeats = list(_repeats(_tree(pattern)))
    except (re.error, RecursionError, OverflowError) as error:
        return f"it is no pattern: {error}"
    if any(True for _, inner in repeats for _ in _forks(inner)):
        return "it repeats something that can match in several ways"
    if len(repeats) > MOST_REPEATS:
        return f"it has more than {MOST_REPEATS} open repeats (*, +, {{n,}})"
    return None


def _tree(pattern: str) -> Any:
    import re._parser as parser  # type: ignore[import-not-found]  # undocumented, and there since Python 3.11

    return parser.parse(pattern)


def _repeats(tree: Any) -> Iterator[tuple[int, Any]]:
    """Each repeat without a small bound, and what it repeats."""
    for operation, argument in tree:
        if "REPEAT" in str(operation) and argument[1] > _BOUNDED:
            yield argument[1], argument[2]
        for inner in _inside(argument):
            yield from _repeats(inner)


def _forks(tree: Any) -> Iterator[object]:
    for operation, argument in tree:
        if "REPEAT" in str(operation) or str(operation) in ("BRANCH", "GROUPREF", "GROUPREF_EXISTS"):
            yield operation
        for inner in _inside(argument):
            yield from _forks(inner)


def _inside(argument: Any) -> Iterator[Any]:
    """The patterns within an argument of the parser, however deep in tuples and lists."""
    if hasattr(argument, "getwidth"):
        yield argument
    elif isinstance(argument, tuple | list):
        for part in argument:
            yield from _inside(part)


def _is_json_of(schema: Mapping[str, Any], answer: str) -> bool:
    try:
        return conforms(json.loads(answer), schema)
    except (ValueError, RecursionError):
        return False
