"""The prompts gate: golden prompts are put to a candidate. Answers are kept as they are, so that another bar or another
expectation judges them again without asking (gates.golden says which are right)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

from reconciler.domain import digest
from reconciler.domain.errors import PermanentError
from reconciler.domain.measured import Measured, Numbers
from reconciler.domain.text.quoting import shown
from reconciler.domain.verdict import Verdict, at_least, inconclusive
from reconciler.gates.golden import LONGEST_ANSWER, GoldenPrompt, miss, passes, wanted_text
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate

MOST_MISSES = 5  # golden prompts that a verdict names
MOST_CASES = 20  # that a comparison names one by one
NAME_SHOWN = 60  # characters of a golden prompt there

# A question that this model can never be asked fails alone; any other error is one of the candidate.
_OF_THE_QUESTION = frozenset({"PromptTooLong", "TemplateRefused"})


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
        verdict = self._compared(len(pairs) - len(wrong))
        message = f"{verdict.message}; {misses[0]}" if verdict.rejects else verdict.message
        return replace(verdict, message=message, misses=misses)

    def _compared(self, right: int) -> Verdict:
        message = f"{right} of {len(self.cases)} answered rightly, at least {self.min_pass} wanted"
        return replace(at_least(self.name, "passed", float(right), float(self.min_pass), ""), message=message)


def is_right(case: GoldenPrompt, question: str, measured: Measured) -> bool:
    """What could not be asked is not right, whatever is wanted of its answer."""
    return question not in measured.refused and passes(case, measured.answers[question])


def _miss(case: GoldenPrompt, question: str, measured: Measured) -> str:
    text, why = miss(case, measured.answers[question]), measured.refused.get(question, "")
    return f"{text} (it cannot be asked: {why})" if why else text
