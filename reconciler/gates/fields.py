"""The bars of a model as a comparison names them: as they are written in a manifest, and what they were before somebody
wrote them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.domain.bars import Gates, PromptsGate
from reconciler.domain.quoting import shown
from reconciler.domain.value import as_dict
from reconciler.gates.golden import wanted_text
from reconciler.gates.judgement import DEFAULT_BARS

PREFIX = "spec.gates."
MOST_CASES = 20  # that are named one by one
NAME_SHOWN = 60  # characters of a golden prompt

# Bars whose names YAML spells another way than `camel` would, and those with a unit.
_NAMES = {
    "min_top1_agreement": "minTop1Agreement",
    "max_mean_kl": "maxMeanKL",
    "max_perplexity_ratio": "maxPerplexityRatio",
    "max_wiring_kl": "maxWiringKL",
    "max_memory": "maxMemory",
    "prompt_lengths": "promptLengths",
    "max_time_to_first_token": "maxTimeToFirstToken",
    "min_tokens_per_second": "minTokensPerSecond",
    "max_peak_memory": "maxPeakMemory",
    "on_fail": "onFail",
    "max_memory_growth": "maxMemoryGrowth",
    "max_latency_drift": "maxLatencyDrift",
    "bad_input": "badInput",
}
_BYTES = frozenset({"max_memory", "max_peak_memory", "max_memory_growth"})
_UNITS = (("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20))


def gate_fields(gates: Gates, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
    """All that can be changed, also where nobody wrote it: a bar then comes from the precision."""
    for kind in ("fidelity", "load", "performance", "endurance"):
        gate = getattr(gates, kind)
        for name, held in as_dict(gate).items() if gate is not None else ():
            said = _bar(name, held, precisions)
            if said is not None:
                yield f"{PREFIX}{kind}.{_NAMES.get(name, name)}", said
    if gates.prompts is not None:
        yield from _prompts(gates.prompts)


def _bar(name: str, held: object, precisions: Sequence[str]) -> object:
    if held is None and hasattr(DEFAULT_BARS["int4"], name):
        usual = {p: getattr(DEFAULT_BARS.get(p, DEFAULT_BARS["int4"]), name) for p in precisions}
        return " and ".join(f"{bar:g} ({p})" for p, bar in usual.items()) + ", the default"
    if held in (None, ""):
        return None
    if name in _BYTES and isinstance(held, int):
        return next(f"{held // size}{unit}" for unit, size in _UNITS if held % size == 0)
    return f"{held:g}s" if name == "max_time_to_first_token" else held


def _prompts(gate: PromptsGate) -> Iterator[tuple[str, object]]:
    yield f"{PREFIX}prompts.minPass", f"{gate.min_pass} of {len(gate.cases)}"
    yield f"{PREFIX}prompts.maxTokens", gate.max_tokens
    yield f"{PREFIX}prompts.greedy", gate.greedy
    if len(gate.cases) > MOST_CASES:
        yield f"{PREFIX}prompts.cases", f"{len(gate.cases)} golden prompts ({gate.key[:19]})"
        return
    seen: list[str] = []
    for case in gate.cases:
        asked = shown(case.messages[-1][1].strip(), NAME_SHOWN)
        seen.append(asked)
        again = f" ({seen.count(asked)})" if seen.count(asked) > 1 else ""
        yield f'{PREFIX}prompts."{asked}"{again}', wanted_text(case)
