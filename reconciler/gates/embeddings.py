"""The embeddings gate: golden texts, and which of others must be near them. Nearness is the cosine of the angle between
two embeddings, as the runtime that will serve the model makes them.

What is kept are cosines, not embeddings: another bar, or another text that must be nearest among those that were
compared, is judged without embedding anything again.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, ClassVar

from reconciler.domain import digest
from reconciler.domain.errors import RehearsalFailed
from reconciler.domain.measured import Measured, Numbers
from reconciler.domain.targets.tasks import EMBEDDINGS
from reconciler.domain.text.quoting import shown
from reconciler.domain.verdict import Verdict, compared, inconclusive, of_cases
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate

TEXT_SHOWN = 60  # characters of a text in a message

_DIMENSIONS = digest.of_value({"embedding": "dimensions"})


@dataclass(frozen=True, kw_only=True)
class GoldenText:
    """Either `near` is the nearest to `text` of all in `among` (which holds it too), or its cosine is `at_least` that
    (then `among` is empty)."""

    text: str
    near: str
    among: tuple[str, ...] = ()
    at_least: float = 0.0

    @property
    def others(self) -> tuple[str, ...]:
        return self.among or (self.near,)


@dataclass(frozen=True, kw_only=True)
class EmbeddingsGate(RuntimeGate):
    """`min_pass` of the cases must hold, and each embedding have so many `dimensions`."""

    name: ClassVar[str] = "embeddings"
    about: ClassVar[str] = "Golden texts, and what must be near them. For `task: embeddings` only."
    tasks: ClassVar[tuple[str, ...]] = (EMBEDDINGS,)

    cases: tuple[GoldenText, ...]
    min_pass: int
    dimensions: int | None = None

    @cached_property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """The texts whose cosine is asked for, by what each is known again by."""
        found = ((case.text, other) for case in self.cases for other in case.others)
        return {_question(*pair): pair for pair in found}

    @property
    def asked(self) -> object:
        return tuple(self.pairs)

    def missing(self, numbers: Numbers) -> bool:
        known = {*numbers.measured.answers, *numbers.measured.asked} if numbers.measured else set()
        # guard: gate: a cosine that lacks leaves it open
        return not known.issuperset((*self.pairs, _DIMENSIONS))

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        texts = list(dict.fromkeys(chain.from_iterable(self.pairs.values())))
        found = dict(zip(texts, embedded(candidate, texts), strict=True))
        cosines = {key: f"{cosine(found[one], found[other]):.6f}" for key, (one, other) in self.pairs.items()}
        return {"answers": held.answers | cosines | {_DIMENSIONS: str(len(found[texts[0]]))}}

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        measured = numbers.measured
        if measured is None or self.missing(numbers):
            yield inconclusive(self.name, "passed")
            return
        if any(key not in measured.answers for key in self.pairs):
            yield inconclusive(self.name, "passed", "only the machine itself knows its cosines")
            return
        if self.dimensions is not None:
            yield self._of_dimensions(int(measured.answers[_DIMENSIONS]), self.dimensions)
        wrong = tuple(why for case in self.cases if (why := _miss(case, measured)))
        right = len(self.cases) - len(wrong)
        message = f"{right} of {len(self.cases)} golden texts are near what they should be, {self.min_pass} wanted"
        yield of_cases(self.name, right, self.min_pass, message, wrong)

    def _of_dimensions(self, found: int, wanted: int) -> Verdict:
        message = f"an embedding has {found} dimensions, {wanted} wanted"
        # guard: gate: an embedding of another length fails
        return compared(self.name, "dimensions", float(found), float(wanted), message, good=found == wanted)

    def shown_fields(self, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
        yield "minPass", f"{self.min_pass} of {len(self.cases)}"
        if self.dimensions is not None:
            yield "dimensions", self.dimensions
        if len(self.cases) > 20:
            yield "cases", f"{len(self.cases)} golden texts ({digest.of_value([*self.pairs])[:19]})"
            return
        for case in self.cases:
            yield f"{_quoted(case.text)} and {_quoted(case.near)}", wanted_text(case)


def embedded(candidate: RegisteredCandidate, texts: Sequence[str]) -> list[tuple[float, ...]]:
    """Of each text. Raises RehearsalFailed for what is no embedding."""
    found = candidate.runtime.embed(candidate.name, texts).vectors
    # guard: gate: an embedding is a direction, and each has the same length
    if len({len(one) for one in found}) != 1 or not all(math.isfinite(sum(one)) and any(one) for one in found):
        message = "it embeds texts as nothing: a number is missing or not finite, or all of them are 0"
        raise RehearsalFailed(message, code="EmptyAnswer")
    return list(found)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """From -1 (opposite) to 1 (the same direction); 0 where one of them has no direction."""
    lengths = math.sqrt(math.fsum(x * x for x in one)) * math.sqrt(math.fsum(y * y for y in other))
    return math.fsum(x * y for x, y in zip(one, other, strict=True)) / lengths if lengths else 0.0


def wanted_text(case: GoldenText) -> str:
    return f"the nearest of {len(case.among)}" if case.among else f"a cosine of at least {case.at_least:g}"


def _question(text: str, other: str) -> str:
    """The same for a pair in either order."""
    return digest.of_value({"cosine": sorted((text, other))})


def _miss(case: GoldenText, measured: Measured) -> str:
    """What is wrong, on one line; "" where nothing is."""
    found = {other: float(measured.answers[_question(case.text, other)]) for other in case.others}
    own = found.pop(case.near)
    asked, near = _quoted(case.text), _quoted(case.near)
    if not case.among:
        short = own < case.at_least  # guard: gate: a cosine below its bar fails
        return f"{asked} and {near}: wanted a cosine of at least {case.at_least:g}, got {own:.4g}" if short else ""
    nearest = max(found, key=lambda other: found[other])
    # guard: gate: the nearest text is the one that was named
    if own > found[nearest]:
        return ""
    return f"{asked}: wanted {near} nearest ({own:.4g}), got {_quoted(nearest)} ({found[nearest]:.4g})"


def _quoted(text: str) -> str:
    return f'"{shown(text.strip(), TEXT_SHOWN)}"'
