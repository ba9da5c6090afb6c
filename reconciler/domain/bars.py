"""Gates as a manifest declares them: the bars, and what is to be tried. Judging is `gates.judgement`' work.

A bar that is None is the default of the precision (`gates.judgement`). No bar is part of a release: changing one
judges the stored measurements again, and measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reconciler.domain import digest

CHECKS = ("exact", "contains", "regex", "jsonSchema")
ON_FAIL = ("reject", "warn", "inconclusive")


@dataclass(frozen=True, kw_only=True)
class FidelityGate:
    """The converted model against its source. `skip` is why it is not asked for; "" where it is."""

    min_top1_agreement: float | None = None
    max_mean_kl: float | None = None
    max_perplexity_ratio: float | None = None
    max_wiring_kl: float | None = None
    skip: str = ""


@dataclass(frozen=True, kw_only=True)
class LoadGate:
    """Bytes. It cannot be switched off: what was never loaded is never served."""

    max_memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class GoldenPrompt:
    """A question, and what its answer must be. `check` is one of CHECKS; a JSON Schema stands as canonical text."""

    messages: tuple[tuple[str, str], ...]
    check: str
    expected: str


@dataclass(frozen=True, kw_only=True)
class PromptsGate:
    """`min_pass` of the cases must be answered rightly. Greedy answers repeat; others are drawn anew each time."""

    cases: tuple[GoldenPrompt, ...]
    min_pass: int
    max_tokens: int = 64
    greedy: bool = True

    @cached_property
    def questions(self) -> tuple[str, ...]:
        """By what each answer is known again: all that can change it, and not what it is compared with."""
        return tuple(self._question(case) for case in self.cases)

    @cached_property
    def key(self) -> str:
        """What is asked and what is right: how many were is the same number under any `min_pass`."""
        right = [(one.check, one.expected) for one in self.cases]
        return digest.of_value({"questions": self.questions, "right": right})

    def _question(self, case: GoldenPrompt) -> str:
        asked = {"messages": case.messages, "maxTokens": self.max_tokens, "greedy": self.greedy}
        return digest.of_value(asked)


@dataclass(frozen=True, kw_only=True)
class PerformanceGate:
    """Seconds, tokens a second and bytes, at each of the prompt lengths (tokens)."""

    prompt_lengths: tuple[int, ...] = (128,)
    max_time_to_first_token: float | None = None
    min_tokens_per_second: float | None = None
    max_peak_memory: int | None = None
    on_fail: str = "reject"


@dataclass(frozen=True, kw_only=True)
class EnduranceGate:
    """Requests in a row. Growth in bytes; drift is late over early latency."""

    requests: int = 50
    max_memory_growth: int = 64 << 20
    max_latency_drift: float = 2.0
    bad_input: bool = True


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """A conversation, and what its template makes of it. `tokens` are those that the template asks for by name;
    `asked` is whether an answer is to begin."""

    messages: tuple[tuple[str, str], ...]
    rendered: str
    asked: bool = True
    tokens: dict[str, str] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        return digest.of_value({"messages": self.messages, "rendered": self.rendered})


@dataclass(frozen=True, kw_only=True)
class Gates:
    """All that one model must pass. The first two are there without being asked for. `fixtures` are its template's,
    those that the runtime can be asked for."""

    fidelity: FidelityGate = FidelityGate()
    load: LoadGate = LoadGate()
    prompts: PromptsGate | None = None
    performance: PerformanceGate | None = None
    endurance: EnduranceGate | None = None
    fixtures: tuple[Fixture, ...] = ()

    @cached_property
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
