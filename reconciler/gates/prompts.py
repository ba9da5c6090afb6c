"""The prompts gate: golden prompts are put to a candidate, and an answer is right by text, pattern or JSON Schema.
Answers are kept as they are, so that another bar or another expectation judges them again without asking.

Patterns come from manifests and answers from models, so the work is bounded: patterns are RE2's (linear time), and of
JSON Schema a list of keywords is taken that neither refers to anything nor contains a pattern.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import re2

from reconciler.domain import digest
from reconciler.domain.errors import PermanentError
from reconciler.domain.measured import Measured, Numbers
from reconciler.domain.text.quoting import shown
from reconciler.domain.verdict import MOST_MISSES, Verdict, inconclusive, of_cases
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate

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

MOST_CASES = 20  # that a comparison names one by one
NAME_SHOWN = 60  # characters of a golden prompt there

# A question that this model can never be asked fails alone; any other error is one of the candidate.
_OF_THE_QUESTION = frozenset({"PromptTooLong", "TemplateRefused"})


@dataclass(frozen=True, kw_only=True)
class GoldenPrompt:
    """`check` is one of CHECKS; a JSON Schema stands as canonical text in `expected`."""

    messages: tuple[tuple[str, str], ...]
    check: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class PromptsGate(RuntimeGate):
    """`min_pass` of the cases must be answered rightly. Greedy answers repeat; others are drawn anew each time."""

    name: ClassVar[str] = "prompts"
    about: ClassVar[str] = "Golden prompts and their answers."

    cases: tuple[GoldenPrompt, ...]
    min_pass: int
    max_tokens: int = 64
    greedy: bool = True

    @cached_property
    def questions(self) -> tuple[str, ...]:
        """By what each answer is known again: all that can change it, and not what it is compared with."""
        limits = {"maxTokens": self.max_tokens, "greedy": self.greedy}
        return tuple(digest.of_value({"messages": case.messages, **limits}) for case in self.cases)

    @cached_property
    def key(self) -> str:
        """What is asked and what is right: how many were is the same number under any `min_pass`."""
        right = [(one.check, one.expected) for one in self.cases]
        return digest.of_value({"questions": self.questions, "right": right})

    @property
    def asked(self) -> object:
        return self.questions

    def missing(self, numbers: Numbers) -> bool:
        return bool(self.unasked(numbers.measured))

    def unasked(self, measured: Measured | None) -> tuple[int, ...]:
        """Places in `cases`."""
        known = {*measured.answers, *measured.asked} if measured else set()
        # guard: gate: an answer that lacks leaves it open
        return tuple(place for place, question in enumerate(self.questions) if question not in known)

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        replies = {self.questions[place]: self._ask(candidate, place) for place in self.unasked(held)}
        answers = {question: answer for question, (answer, _) in replies.items()}
        refused = {question: code for question, (_, code) in replies.items() if code}
        return {"answers": held.answers | answers, "refused": held.refused | refused}

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        measured = numbers.measured
        if measured is None or self.missing(numbers):
            yield inconclusive(self.name, "passed")
        elif any(question not in measured.answers for question in self.questions):
            # A machine exports only how many of its answers were right.
            right = measured.right.get(self.key)
            unknown = inconclusive(self.name, "passed", "only the machine itself knows its answers")
            yield self._compared(right) if right is not None else unknown
        else:
            yield self._judge_answers(measured)

    def shown_fields(self, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
        yield "minPass", f"{self.min_pass} of {len(self.cases)}"
        yield "maxTokens", self.max_tokens
        yield "greedy", self.greedy
        if len(self.cases) > MOST_CASES:
            yield "cases", f"{len(self.cases)} golden prompts ({self.key[:19]})"
            return
        seen: Counter[str] = Counter()
        for case in self.cases:
            asked = shown(case.messages[-1][1].strip(), NAME_SHOWN)
            seen[asked] += 1
            again = f" ({seen[asked]})" if seen[asked] > 1 else ""
            yield f'"{asked}"{again}', wanted_text(case)

    def _ask(self, candidate: RegisteredCandidate, place: int) -> tuple[str, str]:
        """The answer, and the code of what kept it from being asked."""
        temperature = 0.0 if self.greedy else None
        try:
            answer = candidate.ask(self.cases[place].messages, self.max_tokens, temperature)
        except PermanentError as error:
            if error.code in _OF_THE_QUESTION:
                return "", error.code
            raise
        return answer.text[:LONGEST_ANSWER], ""

    def _judge_answers(self, measured: Measured) -> Verdict:
        pairs = list(zip(self.cases, self.questions, strict=True))
        wrong = [(case, question) for case, question in pairs if not is_right(case, question, measured)]
        misses = tuple(_miss(case, question, measured) for case, question in wrong[:MOST_MISSES])
        return self._compared(len(pairs) - len(wrong), misses)

    def _compared(self, right: int, misses: Sequence[str] = ()) -> Verdict:
        message = f"{right} of {len(self.cases)} answered rightly, at least {self.min_pass} wanted"
        return of_cases(self.name, right, self.min_pass, message, misses)


def is_right(case: GoldenPrompt, question: str, measured: Measured) -> bool:
    """What could not be asked is not right, whatever is wanted of its answer."""
    return question not in measured.refused and passes(case, measured.answers[question])


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


def _miss(case: GoldenPrompt, question: str, measured: Measured) -> str:
    """What was asked last, wanted and got, on one line: all three are foreign text."""
    asked, got = _quoted(case.messages[-1][1], PROMPT_SHOWN), _quoted(measured.answers[question], ANSWER_SHOWN)
    why = f" (it cannot be asked: {measured.refused[question]})" if question in measured.refused else ""
    return f"{asked}: wanted {wanted_text(case)}, got {got}{why}"


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
