"""Is this answer the right one, and if not, what was wanted? Exact, contained, by pattern, or by JSON Schema. Pure, and
bounded in time: patterns come from manifests, answers from models.
"""

from __future__ import annotations

import json
import math
import re
import re._parser as parser  # type: ignore[import-not-found]
import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from reconciler.domain.bars import GoldenPrompt
from reconciler.domain.quoting import shown
from reconciler.gates.json_schema import conforms

LONGEST_ANSWER = 4_096  # characters of an answer that are kept and judged
LONGEST_MATCHED = 1_000  # characters that a pattern is tried on: two seconds there at the very worst
LONGEST_PATTERN = 500
MOST_REPEATS = 2
MOST_WAYS = 150_000  # in which a pattern can match from one place; each costs time, because `re` tries them one by one

MOST_REMEMBERED = 1_000  # answers that were judged

PROMPT_SHOWN, ANSWER_SHOWN = 80, 120  # characters of each, where people are told that it was answered wrongly

_WANTED = {
    "exact": "exactly",
    "contains": "to contain",
    "regex": "to match",
    "jsonSchema": "JSON of the schema",
}
_BOUNDED = 16  # a repeat of at most so many is no danger by itself
_OPEN = 250  # what an open repeat counts for: two of them on 1,000 characters take a fifth of a second


@lru_cache(maxsize=MOST_REMEMBERED)
def passes(case: GoldenPrompt, answer: str) -> bool:
    """White space around an answer never counts. Remembered: a daemon asks each minute, and a pattern may take long."""
    answer = answer[:LONGEST_ANSWER].strip()
    if case.check == "exact":
        return answer == case.expected.strip()
    if case.check == "contains":
        return case.expected in answer
    if case.check == "regex":
        return re.search(case.expected, answer[:LONGEST_MATCHED]) is not None
    return _is_json_of(json.loads(case.expected), answer)


def miss(case: GoldenPrompt, answer: str) -> str:
    """What was asked (last), wanted and got; on one line, because all three are other people's words."""
    asked = _quoted(case.messages[-1][1], PROMPT_SHOWN)
    return f"{asked}: wanted {wanted_text(case)}, got {_quoted(answer, ANSWER_SHOWN)}"


def wanted_text(case: GoldenPrompt) -> str:
    return f"{_WANTED[case.check]} {_quoted(case.expected, PROMPT_SHOWN)}"


def _quoted(text: str, limit: int) -> str:
    return f'"{shown(text.strip(), limit)}"'


def pattern_refusal(pattern: str) -> str | None:
    """Why a pattern is not taken: it is none, or some answer could keep it busy for hours."""
    if len(pattern) > LONGEST_PATTERN:
        return f"it has more than {LONGEST_PATTERN} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # `[[a]`: what it means is about to change
            re.compile(pattern)
        repeats = list(_repeats(_tree(pattern)))
    except (re.error, RecursionError, OverflowError, Warning) as error:
        return f"it is no pattern: {shown(str(error), 160)}"
    if any(True for _, inner in repeats for _ in _forks(inner)):
        return "it repeats something that can match in several ways"
    if len(repeats) > MOST_REPEATS:
        return f"it has more than {MOST_REPEATS} open repeats (*, +, {{n,}})"
    if _ways(_tree(pattern)) > MOST_WAYS:
        return "it can match in too many ways"
    return None


def _tree(pattern: str) -> Any:
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


def _ways(tree: Any) -> float:
    """At most so many: what follows each other multiplies, branches add up, and a repeat does it to a power."""
    ways = 1.0
    for operation, argument in tree:
        inner = [_ways(one) for one in _inside(argument)]
        if str(operation) == "BRANCH":
            ways *= sum(inner)
        elif "REPEAT" in str(operation):
            least, most = argument[0], min(argument[1], _OPEN)
            ways *= max(most - least + 1, 1) * inner[0] ** min(most, 40)
        else:
            ways *= math.prod(inner)
    return min(ways, 10.0 * MOST_WAYS)  # so that no power of it is endless


def _inside(argument: Any) -> Iterator[Any]:
    """The patterns within an argument of the parser, however deep in tuples and lists."""
    if hasattr(argument, "getwidth"):
        yield argument
    elif isinstance(argument, tuple | list):
        for part in argument:
            yield from _inside(part)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _is_json_of(schema: Mapping[str, Any], answer: str) -> bool:
    try:
        return conforms(json.loads(answer, parse_constant=_no_constant), schema)
    except (ValueError, RecursionError):
        return False
