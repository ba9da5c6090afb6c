"""The endurance gate: many requests in a row, short and long in turn. Does memory grow, do answers come later? Then
inputs that no client should send: an error is fine, the end of the runtime is not."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Annotated, Any, ClassVar

from reconciler.domain.accepts import FLAG, MEMORY, RATIO, About, whole
from reconciler.domain.errors import ReconcilerError
from reconciler.domain.measured import Endured, Measured, Numbers
from reconciler.domain.verdict import NO_MEMORY_FIGURE, Verdict, at_most, inconclusive
from reconciler.gates.performance import text_of
from reconciler.gates.runtime import RegisteredCandidate, RuntimeGate

LENGTHS = (40, 120, 240, 60)  # characters, in turn; each quarter of the requests sees all of them
FEWEST = 3  # requests of one length in a quarter, so that one that was disturbed does not decide
# Seconds that a request takes at least, as far as drift goes: less is not noticed, and beside others it is noise. Where
# two cores had nine times their work, 13 of 40 sound runs over answers of 7 ms had drifted more than twice; so, none.
LEAST = 0.02  # guard: endurance: milliseconds are no drift
ANSWER_TOKENS = 8
WARM_UP = 4

BAD_INPUTS = {
    "empty": "",
    "too long": "word " * 200_000,
    "control characters": "\x00\x01\x1b[2J\x7f",
    "direction and last code point": "\u202e\ufffd\U0010ffff",
    "half a surrogate pair": "\ud800",
}

_CRASHES = frozenset({"RuntimeDied", "RuntimeHung"})


@dataclass(frozen=True, kw_only=True)
class EnduranceGate(RuntimeGate):
    """Requests in a row. Drift is late over early latency."""

    name: ClassVar[str] = "endurance"
    about: ClassVar[str] = "Many requests in a row, and bad ones."
    slow: ClassVar[bool] = True

    requests: Annotated[int, About("How many are made in a row."), whole(8, 100_000)] = 50
    max_memory_growth: Annotated[
        int, About("Most growth after the warm-up. Default 64Mi."), replace(MEMORY, nullable=True)
    ] = 64 << 20
    max_latency_drift: Annotated[
        float,
        About("Most latency of the last quarter, in that of the first. Default 2."),
        replace(RATIO, nullable=True),
    ] = 2.0
    bad_input: Annotated[
        bool, About("Empty, too long and odd input must get an answer or an error, not a crash."), FLAG
    ] = True

    @property
    def asked(self) -> object:
        return {"requests": self.requests, "badInput": self.bad_input}

    def missing(self, numbers: Numbers) -> bool:
        return self._endured(numbers.measured) is None

    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        return {"endured": endure(candidate, self)}

    def judge(self, numbers: Numbers) -> Iterator[Verdict]:
        endured = self._endured(numbers.measured)
        if endured is None:
            yield inconclusive(self.name, "endurance")
            return
        after = f"after {endured.requests} requests:"
        if endured.growth_bytes is None:  # guard: gate: unknown growth is open
            yield inconclusive(self.name, "memoryGrowth", NO_MEMORY_FIGURE)
        else:
            # guard: gate: growth is judged
            growth, bar = float(endured.growth_bytes), float(self.max_memory_growth)
            yield at_most(self.name, "memoryGrowth", growth, bar, f"bytes of growth {after}")
        drift = endured.drift, self.max_latency_drift  # guard: gate: drift is judged
        yield at_most(self.name, "latencyDrift", *drift, f"late over early latency {after}")
        if self.bad_input:  # guard: gate: bad input may be left out
            crashed = endured.crashed or ()
            label = "bad inputs that ended the runtime" + (f" ({', '.join(crashed)}):" if crashed else ":")
            # guard: gate: crashes are judged
            yield at_most(self.name, "badInput", float(len(crashed)), 0.0, label)

    def _endured(self, measured: Measured | None) -> Endured | None:
        """Numbers of at least as many requests, and of bad inputs where those are asked for."""
        endured = measured.endured if measured else None
        if endured is None or endured.requests < self.requests:
            return None
        return endured if endured.crashed is not None or not self.bad_input else None


def endure(
    candidate: RegisteredCandidate, gate: EnduranceGate, clock: Callable[[], float] = time.perf_counter
) -> Endured:
    for number in range(WARM_UP):  # guard: endurance: the warm-up does not count
        _request(candidate, number, clock)
    before = candidate.runtime.memory()
    seconds = [_request(candidate, number, clock) for number in range(gate.requests)]
    after = candidate.runtime.memory()
    # The runtime comes back by itself for the next one.
    crashed = tuple(kind for kind, text in BAD_INPUTS.items() if gate.bad_input and _ends_the_runtime(candidate, text))
    return Endured(
        requests=gate.requests,
        growth_bytes=after - before if before and after else None,  # guard: endurance: growth is measured
        drift=drift_of(seconds),
        crashed=crashed if gate.bad_input else None,
    )


def drift_of(seconds: Sequence[float]) -> float:
    """The last quarter over the first, of all prompts together or of the prompt length that drifts most."""
    kinds = len(LENGTHS)
    quarter = max(kinds, len(seconds) // 4 // kinds * kinds)
    whole_rounds = len(seconds) // kinds * kinds
    first, last = seconds[:quarter], seconds[whole_rounds - quarter : whole_rounds]
    pairs = [(first, last)]
    if quarter >= FEWEST * kinds:  # guard: endurance: one length alone may drift
        # guard: endurance: like with like
        pairs += [(first[kind::kinds], last[kind::kinds]) for kind in range(kinds)]
    return max(max(median(late), LEAST) / max(median(early), LEAST) for early, late in pairs)


def _request(candidate: RegisteredCandidate, number: int, clock: Callable[[], float]) -> float:
    started = clock()
    candidate.ask_as_user(text_of(LENGTHS[number % len(LENGTHS)]), ANSWER_TOKENS)
    return clock() - started


def _ends_the_runtime(candidate: RegisteredCandidate, text: str) -> bool:
    try:
        candidate.ask_as_user(text, ANSWER_TOKENS)
    except ReconcilerError as error:  # a runtime killed for want of memory counts too: that input cost it
        # guard: endurance: an error is none
        return error.code in _CRASHES  # guard: endurance: a crash counts
    return False
