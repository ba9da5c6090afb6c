"""What `bench` measured of the variants of one machine: numbers over several runs, and what is known besides. The runs
are fresh processes; a number is their median, with the lowest and the highest beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from reconciler.domain.measured import Decoded, Fidelity, LongestPrompt, Measured, MemorySample, Speed
from reconciler.domain.plain_data import grouped
from reconciler.domain.verdict import Verdict
from reconciler.gates.prompts import PromptsGate, is_right


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Over the runs: the median, and between which numbers it lies."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class SpeedSpread:
    """At one prompt length. `prompt_tokens` are what the asked-for length became, with the template's own tokens."""

    wanted_tokens: int
    prompt_tokens: int
    first_token_seconds: Spread
    tokens_per_second: Spread


@dataclass(frozen=True, kw_only=True)
class Run:
    """One fresh process. `loaded_at` is when the model was in it and had answered, in seconds after the start."""

    measured: Measured
    samples: tuple[MemorySample, ...]
    loaded_at: float


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One golden prompt. `messages` and `answer` are untrusted text."""

    messages: tuple[tuple[str, str], ...]
    check: str
    expected: str
    answer: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Benched:
    """One variant. With a `problem` there may be no numbers: it says why, as code and words. `context` is how many
    tokens the model holds; 0 where that is unknown."""

    variant: str
    model: str
    precision: str
    served: bool
    size_bytes: int
    runs: tuple[Run, ...] = ()
    fidelity: Fidelity | None = None
    decoded: Decoded | None = None
    golden: tuple[Golden, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    problem: tuple[str, str] | None = None
    context: int = 0

    @property
    def load_seconds(self) -> Spread | None:
        return spread([run.measured.load.load_seconds for run in self.runs if run.measured.load])

    @property
    def peak_bytes(self) -> Spread | None:
        """None where the platform does not report it."""
        found = [run.measured for run in self.runs]
        peaks = (max(one.speed_memory_bytes, one.load.peak_memory_bytes if one.load else 0) for one in found)
        return spread([float(peak) for peak in peaks if peak])

    @property
    def longest(self) -> LongestPrompt | None:
        return next((run.measured.longest for run in self.runs if run.measured.longest), None)

    @property
    def speeds(self) -> tuple[SpeedSpread, ...]:
        """By prompt length, the shortest first; without those that do not fit the model's context."""
        speeds = (speed for run in self.runs for speed in run.measured.speeds)
        lengths = sorted(grouped(speeds, lambda one: one.wanted_tokens).items())
        return tuple(_over_runs(held) for _, held in lengths if any(one.prompt_tokens for one in held))

    @property
    def too_long(self) -> tuple[int, ...]:
        """The prompt lengths that do not fit the model's context, and so have no speed."""
        asked = (one for run in self.runs for one in run.measured.speeds)
        return tuple(sorted({one.wanted_tokens for one in asked if not one.prompt_tokens}))


@dataclass(frozen=True, kw_only=True)
class BenchMachine:
    """Where it was measured. `runtime` maps package to version. `load_average` is that of the last minute before: what
    other processes did meanwhile; None where the platform does not report it."""

    name: str
    cpu: str
    cpus: int
    memory_bytes: int
    os: str
    arch: str
    runtime: dict[str, str]
    load_average: float | None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """`complete` is false when it was interrupted: then some variants or runs are missing. `recorded` is false where
    another process held the root: then gates go by none of these numbers."""

    machine: BenchMachine
    date: str  # RFC 3339, UTC
    revision: str
    wanted_runs: int
    variants: tuple[Benched, ...]
    complete: bool
    recorded: bool = True


def spread(numbers: Sequence[float]) -> Spread | None:
    return _spread(numbers) if numbers else None


def _spread(numbers: Sequence[float]) -> Spread:
    return Spread(median=median(numbers), low=min(numbers), high=max(numbers))


def _over_runs(speeds: Sequence[Speed]) -> SpeedSpread:
    return SpeedSpread(
        wanted_tokens=speeds[0].wanted_tokens,
        prompt_tokens=speeds[0].prompt_tokens,
        first_token_seconds=_spread([one.first_token_seconds for one in speeds]),
        tokens_per_second=_spread([one.tokens_per_second for one in speeds]),
    )


def together(runs: Sequence[Run]) -> Measured:
    """All runs as one measurement, in the form that gates judge."""
    first = runs[0].measured
    benched = Benched(variant="", model="", precision="", served=False, size_bytes=0, runs=tuple(runs))
    load = next((run.measured.load for run in runs if run.measured.load), None)
    seconds, peak = benched.load_seconds, benched.peak_bytes
    speeds = (
        Speed(
            wanted_tokens=one.wanted_tokens,
            prompt_tokens=one.prompt_tokens,
            first_token_seconds=one.first_token_seconds.median,
            tokens_per_second=one.tokens_per_second.median,
        )
        for one in benched.speeds
    )
    return replace(
        first,
        load=replace(load, load_seconds=seconds.median) if load and seconds else None,
        answers={question: answer for run in runs for question, answer in run.measured.answers.items()},
        speeds=(*speeds, *(one for one in first.speeds if not one.prompt_tokens)),
        speed_memory_bytes=round(peak.median) if peak and first.speeds else 0,
    )


def filled(held: Measured | None, new: Measured) -> Measured:
    """What is known stays as it is: a gate has judged by it. What is missing is taken from `new`."""
    if held is None:
        return new
    timed = {one.wanted_tokens for one in held.speeds}
    return replace(
        held,
        load=held.load or new.load,
        answers=new.answers | held.answers,
        refused=new.refused | held.refused,
        speeds=(*held.speeds, *(one for one in new.speeds if one.wanted_tokens not in timed)),
        speed_memory_bytes=held.speed_memory_bytes or new.speed_memory_bytes,
        times=new.times | held.times,
        released=held.released or new.released,
        longest=new.longest or held.longest,  # no gate has judged by it
    )


def golden_answers(gate: PromptsGate | None, measured: Measured) -> tuple[Golden, ...]:
    """Those that were asked."""
    pairs = zip(gate.cases, gate.questions, strict=True) if gate else ()
    return tuple(
        Golden(
            messages=case.messages,
            check=case.check,
            expected=case.expected,
            answer=measured.answers[question],
            passed=is_right(case, question, measured),
        )
        for case, question in pairs
        if question in measured.answers
    )
