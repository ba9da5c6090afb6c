"""Runs become one measurement, and what is known already is never written over."""

from dataclasses import replace

from reconciler.domain.measured import MemorySample
from reconciler.gates.benchmark import Spread, filled, golden_answers, spread, together
from reconciler.gates.prompts import GoldenPrompt, PromptsGate
from reconciler.reports.benchmark.report import MOST_SAMPLES, bench_text, bench_view, thinned
from tests.gates.bench_world import GIB, UNFITTING, UNFITTING_SAID, benched, benchmark, run

GATE = PromptsGate(
    cases=(
        GoldenPrompt(messages=(("user", "France?"),), check="contains", expected="Paris"),
        GoldenPrompt(messages=(("user", "Italy?"),), check="contains", expected="Rome"),
    ),
    min_pass=2,
)


def test_the_median_and_the_extremes() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(median=2.0, low=1.0, high=3.0)
    assert spread([1.0, 2.0]) == Spread(median=1.5, low=1.0, high=2.0)
    assert spread([]) is None


def test_runs_together_are_what_gates_judge() -> None:
    found = together([run(0), run(1), run(2)])
    assert found.load is not None
    assert found.load.load_seconds == 2.0 * 1.1
    assert [one.wanted_tokens for one in found.speeds] == [32, 128, 512]
    assert found.speeds[1].first_token_seconds == 0.5 * 1.1
    assert found.speed_memory_bytes == GIB


def test_a_length_that_does_not_fit_is_told_to_gates_and_not_shown() -> None:
    one = run()
    long = replace(one, measured=replace(one.measured, speeds=(*one.measured.speeds, UNFITTING)))
    assert UNFITTING in together([long]).speeds
    one_variant = benched(runs=(long,), context=4096)
    assert [speed.wanted_tokens for speed in one_variant.speeds] == [32, 128, 512]
    assert f"phi-int4: {UNFITTING_SAID}" in bench_text(bench_view(benchmark(one_variant)))


def test_what_is_known_stays_and_what_is_missing_is_filled() -> None:
    new = replace(together([run(rate=99.0)]), answers={"a": "new", "b": "new"})
    held = replace(together([run()]), answers={"a": "old"}, speeds=together([run()]).speeds[:1], speed_memory_bytes=0)
    found = filled(held, new)
    assert found.load == held.load
    assert found.answers == {"a": "old", "b": "new"}
    assert found.speeds == (held.speeds[0], *new.speeds[1:])
    assert found.speed_memory_bytes == new.speed_memory_bytes
    assert filled(found, new) == found
    assert filled(None, new) == new


def test_golden_answers_are_judged_as_the_gate_does() -> None:
    answers = {GATE.questions[0]: "It is Paris.", GATE.questions[1]: "Milan"}
    found = golden_answers(GATE, replace(run().measured, answers=answers))
    assert [(one.answer, one.passed) for one in found] == [("It is Paris.", True), ("Milan", False)]
    assert golden_answers(GATE, run().measured) == ()
    assert golden_answers(None, run().measured) == ()


def test_thin_samples_keep_the_peak_and_the_ends() -> None:
    samples = tuple(MemorySample(seconds=float(n), bytes=10_000 if n == 4321 else n) for n in range(9000))
    found = thinned(samples)
    assert len(found) <= MOST_SAMPLES
    assert (found[0], found[-1]) == (samples[0], samples[-1])
    assert max(one.bytes for one in found) == 10_000
    assert thinned(samples[:7]) == samples[:7]


def test_the_view_says_which_form_it_has_and_nothing_is_lost_of_a_failure() -> None:
    failed = benched(runs=(), problem=("RuntimeHung", "no end of load within 300 s"))
    view = bench_view(benchmark(failed, complete=False))
    assert (view["formatVersion"], view["complete"]) == (1, False)
    (one,) = view["variants"]
    assert one["problem"] == {"code": "RuntimeHung", "message": "no end of load within 300 s"}
    assert (one["loadSeconds"], one["speeds"], one["memory"]) == (None, [], None)
