"""Gates as a manifest declares them: the bars, and what is to be tried. Judging is `core.gates`' work.

A bar that is None is the default of the precision (`core.gates`). No bar is part of a release: changing one judges the
stored measurements again, and measures nothing.
"""

from __future__ import annotations

from reconciler.core import digest
from reconciler.core.value import fresh, lazy, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHECKS = ("exact", "contains", "regex", "jsonSchema")
ON_FAIL = ("reject", "warn", "inconclusive")


@value
class FidelityGate:
    """The converted model against its source. `skip` is why it is not asked for; "" where it is."""

    min_top1_agreement: float | None = None
    max_mean_kl: float | None = None
    max_perplexity_ratio: float | None = None
    max_wiring_kl: float | None = None
    skip: str = ""


@value
class LoadGate:
    """Bytes. It cannot be switched off: what was never loaded is never served."""

    max_memory: int | None = None


@value
class GoldenPrompt:
    """A question, and what its answer must be. `check` is one of CHECKS; a JSON Schema stands as canonical text."""

    messages: tuple[tuple[str, str], ...]
    check: str
    expected: str


@value
class PromptsGate:
    """`min_pass` of the cases must be answered rightly. Greedy answers repeat; others are drawn anew each time."""

    cases: tuple[GoldenPrompt, ...]
    min_pass: int
    max_tokens: int = 64
    greedy: bool = True

    @lazy
    def questions(self) -> tuple[str, ...]:
        """By what each answer is known again: all that can change it, and not what it is compared with."""
        return tuple(self._question(case) for case in self.cases)

    @lazy
    def key(self) -> str:
        """What is asked and what is right: how many were is the same number under any `min_pass`."""
        right = [(one.check, one.expected) for one in self.cases]
        return digest.of_value({"questions": self.questions, "right": right})

    def _question(self, case: GoldenPrompt) -> str:
        asked = {"messages": case.messages, "maxTokens": self.max_tokens, "greedy": self.greedy}
        return digest.of_value(asked)


@value
class PerformanceGate:
    """Seconds, tokens a second and bytes, at each of the prompt lengths (tokens)."""

    prompt_lengths: tuple[int, ...] = (128,)
    max_time_to_first_token: float | None = None
    min_tokens_per_second: float | None = None
    max_peak_memory: int | None = None
    on_fail: str = "reject"


@value
class EnduranceGate:
    """Requests in a row. Growth in bytes; drift is late over early latency."""

    requests: int = 50
    max_memory_growth: int = 64 << 20
    max_latency_drift: float = 2.0
    bad_input: bool = True


@value
class Fixture:
    """A conversation, and what its template makes of it. `tokens` are those that the template asks for by name;
    `asked` is whether an answer is to begin."""

    messages: tuple[tuple[str, str], ...]
    rendered: str
    asked: bool = True
    tokens: dict[str, str] = fresh(factory=dict)

    @lazy
    def key(self) -> str:
        return digest.of_value({"messages": self.messages, "rendered": self.rendered})


@value
class Gates:
    """All that one model must pass. The first two are there without being asked for. `fixtures` are its template's,
    those that the runtime can be asked for."""

    fidelity: FidelityGate = FidelityGate()
    load: LoadGate = LoadGate()
    prompts: PromptsGate | None = None
    performance: PerformanceGate | None = None
    endurance: EnduranceGate | None = None
    fixtures: tuple[Fixture, ...] = ()

    @lazy
    def asked(self) -> dict[str, Any]:
        """What is to be measured, bars apart: by this a measurement that failed is known again."""
        return {
            "fidelity": not self.fidelity.skip,
            "questions": self.prompts.questions if self.prompts else (),
            "lengths": self.performance.prompt_lengths if self.performance else (),
            "requests": self.endurance.requests if self.endurance else 0,
            "fixtures": [one.key for one in self.fixtures],
            "badInput": self.endurance is not None and self.endurance.bad_input,
        }
