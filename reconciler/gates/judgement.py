"""Judge what was measured by what is declared. Pure: a changed bar gives another verdict on the same numbers.

A verdict is Successful, Failed or Inconclusive (nothing was measured, or the bar cannot be applied), with the number
beside its bar. Only a Failed one whose gate rejects keeps a release from being served.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from reconciler.domain.bars import (
    EnduranceGate,
    FidelityGate,
    Gates,
    GoldenPrompt,
    LoadGate,
    PerformanceGate,
    PromptsGate,
)
from reconciler.domain.measured import TEXTS_DIGEST, Fidelity, Measured
from reconciler.domain.verdict import Verdict
from reconciler.gates.golden import (
    miss,
    passes,
)

SUCCESSFUL, FAILED, INCONCLUSIVE = VERDICTS = ("Successful", "Failed", "Inconclusive")
GATES = ("fidelity", "load", "template", "prompts", "performance", "endurance")  # as they are measured
UNTOLD = "this platform does not tell the memory of a process"
MOST_MISSES = 5  # golden prompts that a verdict names


@dataclass(frozen=True, kw_only=True)
class FidelityBar:
    min_top1_agreement: float
    max_mean_kl: float
    max_perplexity_ratio: float
    max_wiring_kl: float


# Measured (docs/fidelity.md). Random models, which lose most by rounding, must pass: top-1 agreement of faithful ones
# goes down to 0.77 at int8 and 0.15 at int4. Of a wrong conversion at least 0.12 was left once rounding is explained,
# of a faithful one at most 0.07 (int8) and 0.04 (int4). Trained models do far better: declare bars of your own.
DEFAULT_BARS = {
    "fp32": FidelityBar(
        min_top1_agreement=0.99, max_mean_kl=0.001, max_perplexity_ratio=1.01, max_wiring_kl=0.001
    ),
    "fp16": FidelityBar(
        min_top1_agreement=0.95, max_mean_kl=0.005, max_perplexity_ratio=1.02, max_wiring_kl=0.005
    ),
    "int8": FidelityBar(
        min_top1_agreement=0.70, max_mean_kl=0.10, max_perplexity_ratio=1.20, max_wiring_kl=0.10
    ),
    "int4": FidelityBar(
        min_top1_agreement=0.10, max_mean_kl=3.0, max_perplexity_ratio=3.0, max_wiring_kl=0.08
    ),
}


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What has to be measured before all gates can be judged."""

    fidelity: bool
    load: bool
    fixtures: tuple[int, ...] = ()  # places in the template's
    questions: tuple[int, ...]  # places in the gate's cases
    lengths: tuple[int, ...]
    endurance: bool

    @property
    def in_runtime(self) -> bool:
        return bool(self.load or self.fixtures or self.questions or self.lengths or self.endurance)

    @property
    def long(self) -> bool:
        """May it take longer than a pass should?"""
        return bool(self.fidelity or self.lengths or self.endurance)


def needed(gates: Gates, fidelity: Fidelity | None, measured: Measured | None) -> Needed:
    return Needed(
        fidelity=not gates.fidelity.skip and not _is_current(fidelity),
        load=measured is None or measured.load is None,
        fixtures=_unrendered(gates, measured),
        questions=_unasked(gates.prompts, measured),
        lengths=_untimed(gates.performance, measured),
        endurance=gates.endurance is not None and not _has_endured(gates.endurance, measured),
    )


def missing_measurements(gates: Gates, fidelity: Fidelity | None, measured: Measured | None) -> Needed:
    """What a release that serves already has to be measured for: gates that somebody wrote down. The usual ones it has
    passed before it was served; nobody takes them again because records were lost."""
    rest = needed(gates, fidelity, measured)
    rest = replace(
        rest,
        fidelity=rest.fidelity and gates.fidelity != FidelityGate(),
        load=rest.load and gates.load.max_memory is not None,
    )
    unloaded = measured is None or measured.load is None  # its numbers would be of no known runtime
    return replace(rest, load=rest.in_runtime and unloaded)


def judge(
    gates: Gates, precision: str, fidelity: Fidelity | None, measured: Measured | None
) -> tuple[Verdict, ...]:
    """In the order in which the gates are measured; one verdict a bar."""
    return (
        *_judge_fidelity(gates.fidelity, precision, fidelity if _is_current(fidelity) else None),
        _judge_load(gates.load, measured),
        *_judge_fixtures(gates, measured),
        *(_judge_prompts(gates.prompts, measured) if gates.prompts else ()),
        *(_judge_performance(gates.performance, measured) if gates.performance else ()),
        *(_judge_endurance(gates.endurance, measured) if gates.endurance else ()),
    )


def rejections(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    return tuple(verdict for verdict in verdicts if verdict.rejects)


def rejection_text(verdicts: Sequence[Verdict]) -> str:
    """Number beside bar, for each that rejects."""
    return "; ".join(f"{verdict.gate}: {verdict.message}" for verdict in rejections(verdicts))


def _is_current(fidelity: Fidelity | None) -> bool:
    return fidelity is not None and fidelity.prompts == TEXTS_DIGEST


def _unasked(gate: PromptsGate | None, measured: Measured | None) -> tuple[int, ...]:
    known = {*measured.answers, *measured.asked} if measured else set()
    questions = gate.questions if gate else ()
    return tuple(index for index, question in enumerate(questions) if question not in known)


def _untimed(gate: PerformanceGate | None, measured: Measured | None) -> tuple[int, ...]:
    timed = {speed.wanted_tokens for speed in measured.speeds} if measured else set()
    return tuple(length for length in (gate.prompt_lengths if gate else ()) if length not in timed)


def _has_endured(gate: EnduranceGate, measured: Measured | None) -> bool:
    endured = measured.endured if measured else None
    if endured is None or endured.requests < gate.requests:
        return False
    return endured.crashed is not None or not gate.bad_input


def _judge_fidelity(gate: FidelityGate, precision: str, found: Fidelity | None) -> Iterator[Verdict]:
    if gate.skip:
        yield _open("fidelity", "skipped", f"skipped: {gate.skip}")
        return
    if found is None:
        yield _open("fidelity", "fidelity")
        return
    usual = DEFAULT_BARS.get(precision, DEFAULT_BARS["int4"])
    yield _at_least(
        "fidelity",
        "top1Agreement",
        found.top1_agreement,
        _or(gate.min_top1_agreement, usual.min_top1_agreement),
        "top-1 agreement",
    )
    yield _at_most(
        "fidelity", "meanKL", found.mean_kl, _or(gate.max_mean_kl, usual.max_mean_kl), "mean KL divergence"
    )
    yield _at_most(
        "fidelity",
        "perplexityRatio",
        found.perplexity_ratio,
        _or(gate.max_perplexity_ratio, usual.max_perplexity_ratio),
        "perplexity ratio",
    )
    if found.wiring_kl is not None:
        yield _at_most(
            "fidelity",
            "wiringKL",
            found.wiring_kl,
            _or(gate.max_wiring_kl, usual.max_wiring_kl),
            "divergence that rounding does not explain",
        )


def _or(bar: float | None, usual: float) -> float:
    return usual if bar is None else bar


def _judge_load(gate: LoadGate, measured: Measured | None) -> Verdict:
    if measured is None or measured.load is None:
        return _open("load", "load")
    peak = float(measured.load.peak_memory_bytes)
    if gate.max_memory is None:
        return _say("load", "peakMemory", SUCCESSFUL, peak, None, "it loads and answers")
    if not peak:
        return _open("load", "peakMemory", UNTOLD)
    return _at_most("load", "peakMemory", peak, float(gate.max_memory), "peak memory in bytes")


def _unrendered(gates: Gates, measured: Measured | None) -> tuple[int, ...]:
    known = measured.rendered if measured else {}
    return tuple(index for index, fixture in enumerate(gates.fixtures) if fixture.key not in known)


def _judge_fixtures(gates: Gates, measured: Measured | None) -> Iterator[Verdict]:
    """The runtime does not give the text away, but how many tokens it makes of it."""
    for number, fixture in enumerate(gates.fixtures, 1):
        measure = f"fixture {number}"
        found, expected = (measured.rendered if measured else {}).get(fixture.key, (-1, -1))
        if found < 0:
            yield _open("template", measure)
        elif expected < 0:
            yield _open("template", measure, "the tokens of the expected text cannot be told exactly")
        else:
            message = f"{measure} has {shown_number(expected)} tokens, and the runtime renders {shown_number(found)}"
            status = SUCCESSFUL if found == expected else FAILED
            yield _say(
                "template",
                measure,
                status,
                float(found),
                float(expected),
                message,
                rejects=status == FAILED,
            )


def _judge_prompts(gate: PromptsGate, measured: Measured | None) -> Iterator[Verdict]:
    if _unasked(gate, measured) or measured is None:
        yield _open("prompts", "passed")
        return
    if any(question not in measured.answers for question in gate.questions):
        yield _judge_told(gate, measured.right.get(gate.key))
        return
    pairs = list(zip(gate.cases, gate.questions, strict=True))
    wrong = [(case, question) for case, question in pairs if not is_right(case, question, measured)]
    misses = tuple(_miss(case, question, measured) for case, question in wrong[:MOST_MISSES])
    number = len(pairs) - len(wrong)
    told = f"{number} of {len(pairs)} answered rightly, at least {gate.min_pass} wanted"
    verdict = _at_least("prompts", "passed", float(number), float(gate.min_pass), "")
    yield replace(verdict, message=f"{told}; {misses[0]}" if verdict.rejects else told, misses=misses)


def is_right(case: GoldenPrompt, question: str, measured: Measured) -> bool:
    """What could not be asked is not right, whatever is wanted of its answer."""
    return question not in measured.refused and passes(case, measured.answers[question])


def _miss(case: GoldenPrompt, question: str, measured: Measured) -> str:
    told = miss(case, measured.answers[question])
    why = measured.refused.get(question, "")
    return f"{told} (it cannot be asked: {why})" if why else told


def _judge_told(gate: PromptsGate, right: int | None) -> Verdict:
    """By what a machine told of its answers."""
    if right is None:
        return _open("prompts", "passed", "only the machine itself knows its answers")
    told = f"{right} of {len(gate.cases)} answered rightly, at least {gate.min_pass} wanted"
    return replace(_at_least("prompts", "passed", float(right), float(gate.min_pass), ""), message=told)


def _judge_performance(gate: PerformanceGate, measured: Measured | None) -> Iterator[Verdict]:
    if _untimed(gate, measured) or measured is None:
        yield _open("performance", "performance")
        return
    for verdict in _performance(gate, measured):
        yield _softened(verdict, gate.on_fail)


def _performance(gate: PerformanceGate, measured: Measured) -> Iterator[Verdict]:
    for speed in (one for one in measured.speeds if one.wanted_tokens in gate.prompt_lengths):
        at = f"@{speed.wanted_tokens}"
        if not speed.prompt_tokens:
            yield _open("performance", at, f"a prompt of {speed.wanted_tokens} tokens does not fit the model")
            continue
        if gate.max_time_to_first_token is not None:
            label = f"seconds to the first token after {speed.prompt_tokens} tokens:"
            bar = gate.max_time_to_first_token
            yield _at_most("performance", f"timeToFirstToken{at}", speed.first_token_seconds, bar, label)
        if gate.min_tokens_per_second is not None:
            label = f"tokens a second after {speed.prompt_tokens} tokens:"
            bar = gate.min_tokens_per_second
            yield _at_least("performance", f"tokensPerSecond{at}", speed.tokens_per_second, bar, label)
    if gate.max_peak_memory is not None and not measured.speed_memory_bytes:
        yield _open("performance", "peakMemory", UNTOLD)
    elif gate.max_peak_memory is not None:
        number, bar = float(measured.speed_memory_bytes), float(gate.max_peak_memory)
        yield _at_most("performance", "peakMemory", number, bar, "peak memory in bytes")


def _softened(verdict: Verdict, on_fail: str) -> Verdict:
    if verdict.status != FAILED or on_fail == "reject":
        return verdict
    status = INCONCLUSIVE if on_fail == "inconclusive" else FAILED
    return _say(
        verdict.gate, verdict.measure, status, verdict.number, verdict.bar, verdict.message, rejects=False
    )


def _judge_endurance(gate: EnduranceGate, measured: Measured | None) -> Iterator[Verdict]:
    endured = measured.endured if measured else None
    if endured is None or not _has_endured(gate, measured):
        yield _open("endurance", "endurance")
        return
    after = f"after {endured.requests} requests:"
    if endured.growth_bytes is None:
        yield _open("endurance", "memoryGrowth", UNTOLD)
    else:
        growth, bar = float(endured.growth_bytes), float(gate.max_memory_growth)
        yield _at_most("endurance", "memoryGrowth", growth, bar, f"bytes of growth {after}")
    yield _at_most(
        "endurance", "latencyDrift", endured.drift, gate.max_latency_drift, f"late over early latency {after}"
    )
    if gate.bad_input:
        crashed = endured.crashed or ()
        label = "bad inputs that ended the runtime" + (f" ({', '.join(crashed)}):" if crashed else ":")
        yield _at_most("endurance", "badInput", float(len(crashed)), 0.0, label)


def _at_least(gate: str, measure: str, number: float, bar: float, label: str) -> Verdict:
    good = number >= bar
    message = f"{label} {shown_number(number)}, at least {shown_number(bar)} wanted"
    return _say(gate, measure, SUCCESSFUL if good else FAILED, number, bar, message, rejects=not good)


def _at_most(gate: str, measure: str, number: float, bar: float, label: str) -> Verdict:
    good = number <= bar
    message = f"{label} {shown_number(number)}, at most {shown_number(bar)} wanted"
    return _say(gate, measure, SUCCESSFUL if good else FAILED, number, bar, message, rejects=not good)


def _open(gate: str, measure: str, message: str = "not measured yet") -> Verdict:
    return _say(gate, measure, INCONCLUSIVE, None, None, message)


def _say(
    gate: str,
    measure: str,
    status: str,
    number: float | None,
    bar: float | None,
    message: str,
    *,
    rejects: bool = False,
) -> Verdict:
    return Verdict(  # with every field given, which is the quick way: a plan makes some for each variant
        gate=gate,
        measure=measure,
        status=status,
        number=number,
        bar=bar,
        message=message,
        rejects=rejects,
        misses=(),
    )


def shown_number(number: float) -> str:
    if abs(number) < 1e15 and number == int(number):
        return f"{number:,.0f}"
    return f"{number:.4g}"
