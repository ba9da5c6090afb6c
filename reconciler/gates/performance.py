"""The performance gate: how fast a candidate answers at given prompt lengths, and in how much memory. Each number is
the median of a few tries, after one that warms up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Annotated, Any, ClassVar, Literal

from reconciler.domain.accepts import MEMORY, RATE, WAIT, About, Accepts, whole
from reconciler.domain.errors import PermanentError
from reconciler.domain.measured import Measured, Numbers, Speed
from reconciler.domain.verdict import FAILED, INCONCLUSIVE, NO_MEMORY_FIGURE, Verdict, at_least, at_most, inconclusive
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate

WORDS = "The harbour was quiet before sunrise, and a single lamp moved along the pier. "
TRIES = 5  # of which two may be disturbed
ANSWER_TOKENS = 24

_SAMPLE = 400  # characters that are enough to learn how many make a token

Length = Annotated[int, whole(1, 1_000_000, "a whole number of at least 1")]


@dataclass(frozen=True, kw_only=True)
class PerformanceGate(RuntimeGate):
    """At each of the prompt lengths."""

    name: ClassVar[str] = "performance"
    about: ClassVar[str] = "How fast it answers here."
    slow: ClassVar[bool] = True

    prompt_lengths: Annotated[
        tuple[Length, ...], About("Tokens of the prompts that are timed."), Accepts(least=1, most=8)
    ] = (128,)
    max_time_to_first_token: Annotated[float | None, About("Longest wait at any of the lengths."), WAIT] = None
    min_tokens_per_second: Annotated[float | None, About("Least speed of answering at any of the lengths."), RATE] = (
        None
    )
    max_peak_memory: Annotated[int | None, About("Most memory while doing so."), MEMORY] = None
    on_fail: Annotated[
        Literal["reject", "warn", "inconclusive"],
        About("`warn` and `inconclusive` let the release be served all the same."),
    ] = "reject"

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt_lengths", tuple(dict.fromkeys(self.prompt_lengths)))

    @property
    def asked(self) -> object:
        return self.prompt_lengths

    def missing(self, numbers: Numbers) -> bool:
        return bool(self.untimed(numbers.measured))

    def untimed(self, measured: Measured | None) -> tuple[int, ...]:
        timed = {speed.wanted_tokens for speed in measured.speeds} if measured else set()
        return tuple(length for length in self.prompt_lengths if length not in timed)

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        speeds = time_answers(candidate, self.untimed(held))
        memory, _ = candidate.runtime.measure()
        return {"speeds": (*held.speeds, *speeds), "speed_memory_bytes": memory}

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        measured = numbers.measured
        if measured is None or self.missing(numbers):
            yield inconclusive(self.name, "performance")
            return
        for speed in measured.speeds:
            if speed.wanted_tokens in self.prompt_lengths:
                yield from map(self._softened, self._judge_speed(speed))
        if self.max_peak_memory is not None:
            yield self._softened(self._judge_memory(measured.speed_memory_bytes, self.max_peak_memory))

    def _judge_speed(self, speed: Speed) -> Iterator[Verdict]:
        at, tokens = f"@{speed.wanted_tokens}", speed.prompt_tokens
        if not tokens:  # guard: gate: a length that does not fit is open
            message = f"a prompt of {speed.wanted_tokens} tokens does not fit the model"
            yield inconclusive(self.name, at, message)
            return
        if (bar := self.max_time_to_first_token) is not None:
            label = f"seconds to the first token after {tokens} tokens:"
            yield at_most(self.name, f"timeToFirstToken{at}", speed.first_token_seconds, bar, label)
        if (bar := self.min_tokens_per_second) is not None:
            label = f"tokens a second after {tokens} tokens:"
            yield at_least(self.name, f"tokensPerSecond{at}", speed.tokens_per_second, bar, label)

    def _judge_memory(self, found: int, bar: int) -> Verdict:
        if not found:  # guard: gate: an unknown peak is open
            return inconclusive(self.name, "peakMemory", NO_MEMORY_FIGURE)
        return at_most(self.name, "peakMemory", float(found), float(bar), "peak memory in bytes")

    def _softened(self, verdict: Verdict) -> Verdict:
        if verdict.status != FAILED or self.on_fail == "reject":  # guard: gate: a warning does not reject
            return verdict
        status = INCONCLUSIVE if self.on_fail == "inconclusive" else FAILED
        return replace(verdict, status=status, rejects=False)


def time_answers(candidate: RegisteredCandidate, lengths: Sequence[int]) -> tuple[Speed, ...]:
    per_token = characters_per_token(candidate)
    return tuple(_time(candidate, length, per_token) for length in lengths)


def text_of(characters: int) -> str:
    return (WORDS * (characters // len(WORDS) + 1))[: max(1, characters)]


def characters_per_token(candidate: RegisteredCandidate) -> float:
    """Of the text alone: two prompts differ by their text, and share the template's own tokens."""
    short = candidate.ask_as_user(text_of(_SAMPLE // 2), 1).prompt_tokens
    long = candidate.ask_as_user(text_of(_SAMPLE), 1).prompt_tokens
    return (_SAMPLE // 2) / max(1, long - short)


def _time(candidate: RegisteredCandidate, length: int, per_token: float) -> Speed:
    """A length that the model's context cannot hold has 0 prompt tokens: there is nothing to judge."""
    text = text_of(round(length * per_token))
    try:
        candidate.ask_as_user(text, 2)  # guard: speed: a warm-up
        tries = [candidate.ask_as_user(text, ANSWER_TOKENS) for _ in range(TRIES)]
    except PermanentError as error:
        if error.code != "PromptTooLong":
            raise
        return Speed(wanted_tokens=length, prompt_tokens=0, first_token_seconds=0.0, tokens_per_second=0.0)
    return Speed(
        wanted_tokens=length,
        prompt_tokens=tries[0].prompt_tokens,
        first_token_seconds=median(one.first_token_seconds for one in tries),  # guard: speed: the median
        tokens_per_second=median(one.tokens_per_second for one in tries),
    )
