"""What endurance and speed are measured as: a runtime that leaks, slows down or dies is found out, one that stumbles
is not. The runtime is scripted and so is its clock: no machine is too busy for these tests."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from reconciler.domain.errors import PermanentError, ReconcilerError, RuntimeUnavailable
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import Answer, Endured, Measured
from reconciler.gates.endurance import BAD_INPUTS, LENGTHS, WARM_UP, EnduranceGate, endure
from reconciler.gates.judgement import judge
from reconciler.gates.performance import TRIES, PerformanceGate, time_answers
from reconciler.gates.runtime import RegisteredCandidate

MI = 1 << 20
Seconds = Callable[[int, int], float]  # by the request's number and its prompt's length
GATE = EnduranceGate(requests=64, max_memory_growth=8 * MI, max_latency_drift=2.0)


def steady(number: int, length: int) -> float:
    return (length + 1) / 1000


class Script:
    """Answers what a test says. `requests` counts those that are no bad input."""

    def __init__(
        self, *, leak: int = 0, seconds: Seconds = steady, dies: Sequence[str] = (), tells: bool = True
    ) -> None:
        self.now, self.requests, self.asked = 0.0, 0, 0
        self._leak, self._seconds, self._tells = leak, seconds, tells
        self._dies = {BAD_INPUTS[kind] for kind in dies}
        self.error: type[ReconcilerError] = PermanentError

    def clock(self) -> float:
        return self.now

    def memory(self) -> int:
        return 100 * MI + self.requests * self._leak if self._tells else 0

    def ask(self, name: str, messages: Any, max_tokens: int, temperature: float | None = None) -> Answer:
        text = messages[-1][1]
        self.asked += 1
        if text in self._dies:
            raise self.error("it is gone", code="RuntimeDied")
        if text == BAD_INPUTS["too long"]:
            raise PermanentError("too long", code="PromptTooLong")
        seconds = self._seconds(self.requests, len(text))
        self.requests += 1
        self.now += seconds
        return Answer(
            text="a", prompt_tokens=len(text) // 4, completion_tokens=max_tokens, load_seconds=0.0,
            first_token_seconds=seconds, tokens_per_second=1 / seconds, finish_reason="length",
        )  # fmt: skip


def candidate(script: Script) -> RegisteredCandidate:
    return RegisteredCandidate(runtime=script, folder="", name="m:1")  # type: ignore[arg-type]


def late(factor: float, *lengths: int) -> Seconds:
    """Slower in the last quarter, at these lengths or at all."""
    begins = WARM_UP + GATE.requests * 3 // 4
    return lambda n, length: steady(n, length) * (factor if n >= begins and (not lengths or length in lengths) else 1.0)


def once(*numbers: int) -> Seconds:
    return lambda n, length: steady(n, length) * (50.0 if n in numbers else 1.0)


def found(script: Script, gate: EnduranceGate = GATE) -> tuple[Endured, set[str]]:
    """And the bars that it fails."""
    endured = endure(candidate(script), gate, script.clock)
    measured = Measured(release="r", build_key="b", endured=endured)
    verdicts = judge(GateSpec.of(gate), "int4", None, measured)
    return endured, {one.measure for one in verdicts if one.rejects}


@pytest.mark.parametrize(
    ("script", "fails"),
    [
        (Script(), set()),
        (Script(leak=MI // 8), set()),  # 8 MiB in all: the bar itself
        (Script(leak=MI // 8 + 1), {"memoryGrowth"}),
        (Script(leak=-MI), set()),
        (Script(leak=MI, tells=False), set()),
        (Script(seconds=late(1.9)), set()),
        (Script(seconds=late(2.1)), {"latencyDrift"}),
        (Script(seconds=late(0.1)), set()),
        (Script(seconds=late(2.1, max(LENGTHS))), {"latencyDrift"}),  # long prompts alone
        (Script(seconds=late(2.1, min(LENGTHS))), {"latencyDrift"}),
        (Script(seconds=once(60, 67)), set()),  # what stumbles once or twice has not drifted
        (Script(seconds=lambda n, length: steady(n, length) * (50.0 if n < WARM_UP else 1.0)), set()),
        # Milliseconds that come and go are no drift; what becomes noticeable is.
        (Script(seconds=lambda n, length: late(6.0)(n, length) / 100), set()),
        (Script(seconds=lambda n, length: late(60.0)(n, length) / 100), {"latencyDrift"}),
        (Script(leak=MI, seconds=late(3.0), dies=["empty"]), {"memoryGrowth", "latencyDrift", "badInput"}),
    ],
)  # fmt: skip
def test_what_a_runtime_does_over_time_is_judged(script: Script, fails: set[str]) -> None:
    assert found(script)[1] == fails


@pytest.mark.parametrize("kind", BAD_INPUTS)
@pytest.mark.parametrize("error", [PermanentError, RuntimeUnavailable])
def test_a_bad_input_that_ends_the_runtime_is_named_and_the_others_are_tried(
    kind: str, error: type[ReconcilerError]
) -> None:
    script = Script(dies=[kind])
    script.error = error
    endured, fails = found(script)
    assert (endured.crashed, fails) == ((kind,), {"badInput"})
    assert script.asked == WARM_UP + GATE.requests + len(BAD_INPUTS)


def test_without_bad_input_none_is_sent() -> None:
    script = Script(dies=list(BAD_INPUTS))
    endured, fails = found(script, EnduranceGate(requests=8, bad_input=False))
    assert (endured.crashed, fails, script.asked) == (None, set(), WARM_UP + 8)


def test_growth_counts_after_the_warm_up_and_is_not_made_up() -> None:
    assert found(Script(leak=1))[0].growth_bytes == GATE.requests
    assert found(Script(leak=1, tells=False))[0].growth_bytes is None


@pytest.mark.parametrize("requests", [8, 9, 15, 16, 31, 47, 48, 50, 100])
def test_any_number_of_requests_is_compared_like_with_like(requests: int) -> None:
    """Prompts of unlike lengths are no drift."""
    assert found(Script(), EnduranceGate(requests=requests))[0].drift == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("disturbed", "expected"),
    [((), 1.0), ((2,), 1.0), ((3,), 1.0), ((3, 7), 1.0), ((3, 5, 6), 50.0)],
    ids=["none", "the warm-up", "the first", "two of five", "three of five"],
)
def test_a_speed_is_the_median_of_five_after_a_warm_up(disturbed: tuple[int, ...], expected: float) -> None:
    """Requests 0 and 1 learn how long a token is, 2 warms up."""
    script = Script(seconds=once(*disturbed))
    (calm,) = time_answers(candidate(Script()), (64,))
    (speed,) = time_answers(candidate(script), (64,))
    assert script.requests == 3 + TRIES
    assert speed.first_token_seconds == pytest.approx(calm.first_token_seconds * expected)
    assert speed.tokens_per_second == pytest.approx(calm.tokens_per_second / expected)
    gate = PerformanceGate(prompt_lengths=(64,), max_time_to_first_token=calm.first_token_seconds * 2)
    verdicts = judge(GateSpec.of(gate), "int4", None, Measured(release="r", build_key="b", speeds=(speed,)))
    assert any(one.rejects for one in verdicts) == (expected > 2)
