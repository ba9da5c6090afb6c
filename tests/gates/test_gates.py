"""From numbers to verdicts, and from verdicts to what a plan does about them."""

from dataclasses import replace

import pytest

import reconciler
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.failures import RememberedFailure
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.manifest import Target
from reconciler.domain.measured import (
    TEXTS_DIGEST,
    Endured,
    Fidelity,
    Measured,
    Measurements,
    MeasurementSet,
    Released,
    Speed,
)
from reconciler.domain.targets.execution_providers import CONVERTIBLE
from reconciler.domain.targets.precisions import PRECISIONS
from reconciler.gates.endurance import EnduranceGate
from reconciler.gates.fidelity import DEFAULT_BARS, FidelityGate
from reconciler.gates.judgement import judge, judge_release, needed, rejection_text, rejections
from reconciler.gates.load import LoadGate
from reconciler.gates.performance import PerformanceGate
from reconciler.gates.prompts import GoldenPrompt, PromptsGate
from reconciler.state.forms import MEASUREMENTS
from tests.planner.world import World, desired, release, wanted
from tests.releases import DECODED_ALIKE, FOUND_ALIKE, READ_ALIKE

MB = 1 << 20
NOW = "2026-01-01T00:00:00Z"
LOAD = Measurements(
    load_seconds=1.0,
    first_token_seconds=0.1,
    tokens_per_second=20.0,
    prompt_tokens=5,
    completion_tokens=4,
    peak_memory_bytes=1 << 20,
    takes_system=True,
    runtime={"onnxruntime": "1"},
)
GOOD = Fidelity(
    build_key=release().recipe.build_key,
    prompts=TEXTS_DIGEST,
    positions=100,
    top1_agreement=1.0,
    mean_kl=0.0,
    perplexity_ratio=1.0,
    wiring_kl=0.0,
)
CASES = tuple(GoldenPrompt(messages=(("user", city),), check="contains", expected=city) for city in ("Paris", "Rome"))
PROMPTS = PromptsGate(cases=CASES, min_pass=2)
SPEED = Speed(wanted_tokens=64, prompt_tokens=70, first_token_seconds=0.5, tokens_per_second=10.0)
ENDURED = Endured(requests=50, growth_bytes=1 << 20, drift=1.1, crashed=())


def measured(**more: object) -> Measured:
    one = release()
    base = Measured(
        release=one.digest,
        build_key=one.recipe.build_key,
        load=LOAD,
        tokenized=READ_ALIKE,
        decoded=DECODED_ALIKE,
        referenced=FOUND_ALIKE,
    )
    return replace(base, **more)


def answered(*answers: str) -> Measured:
    return measured(answers=dict(zip(PROMPTS.questions, answers, strict=False)))


def said(gates: GateSpec, fidelity: Fidelity | None = GOOD, found: Measured | None = None) -> list[str]:
    return [
        f"{v.gate}.{v.measure} {v.status}{' rejects' * v.rejects}"
        for v in judge(gates, "int4", fidelity, found or measured())
    ]


TIMED = PerformanceGate(prompt_lengths=(64,), max_time_to_first_token=0.4)


@pytest.mark.parametrize(
    ("gates", "fidelity", "found", "expected"),
    [
        (GateSpec(), replace(GOOD, top1_agreement=0.05), None, "fidelity.top1Agreement Failed rejects"),
        (GateSpec.of(FidelityGate(min_top1_agreement=0.05)), replace(GOOD, top1_agreement=0.05), None,
         "fidelity.top1Agreement Successful"),
        (GateSpec(), replace(GOOD, mean_kl=99.0), None, "fidelity.meanKL Failed rejects"),
        (GateSpec(), replace(GOOD, perplexity_ratio=99.0), None, "fidelity.perplexityRatio Failed rejects"),
        (GateSpec(), replace(GOOD, wiring_kl=9.0), None, "fidelity.wiringKL Failed rejects"),
        (GateSpec.of(FidelityGate(max_wiring_kl=9.0)), replace(GOOD, wiring_kl=9.0), None,
         "fidelity.wiringKL Successful"),
        (GateSpec(), None, None, "fidelity.fidelity Inconclusive"),
        (GateSpec(), replace(GOOD, prompts="others"), None, "fidelity.fidelity Inconclusive"),
        (GateSpec.of(FidelityGate(skip="odd")), None, None, "fidelity.skipped Inconclusive"),
        (GateSpec(), GOOD, measured(load=None), "load.load Inconclusive"),
        (GateSpec(), GOOD, None, "load.peakMemory Successful"),
        (GateSpec.of(LoadGate(max_memory=1 << 20)), GOOD, None, "load.peakMemory Successful"),
        (GateSpec.of(LoadGate(max_memory=(1 << 20) - 1)), GOOD, None, "load.peakMemory Failed rejects"),
        (GateSpec.of(LoadGate(max_memory=1)), GOOD, measured(load=replace(LOAD, peak_memory_bytes=0)),
         "load.peakMemory Inconclusive"),
        (GateSpec(), GOOD, measured(released=Released(before=100 * MB, loaded=1100 * MB, after=320 * MB)),
         "load.keptMemory Successful"),
        (GateSpec(), GOOD, measured(released=Released(before=100 * MB, loaded=1100 * MB, after=340 * MB)),
         "load.keptMemory Failed"),
        (GateSpec.of(PROMPTS), GOOD, None, "prompts.passed Inconclusive"),
        (GateSpec.of(PROMPTS), GOOD, answered("Paris"), "prompts.passed Inconclusive"),
        (GateSpec.of(PROMPTS), GOOD, answered("Paris", "Roma"), "prompts.passed Failed rejects"),
        (GateSpec.of(PROMPTS), GOOD, answered("Paris", "Rome"), "prompts.passed Successful"),
        (GateSpec.of(replace(PROMPTS, min_pass=1)), GOOD, answered("Paris", "Roma"), "prompts.passed Successful"),
        (GateSpec.of(replace(PROMPTS, max_tokens=9)), GOOD, answered("Paris", "Rome"), "prompts.passed Inconclusive"),
        (GateSpec.of(TIMED), GOOD, None, "performance.performance Inconclusive"),
        (GateSpec.of(TIMED), GOOD, measured(speeds=(SPEED,)), "performance.timeToFirstToken@64 Failed rejects"),
        (GateSpec.of(replace(TIMED, on_fail="warn")), GOOD, measured(speeds=(SPEED,)),
         "performance.timeToFirstToken@64 Failed"),
        (GateSpec.of(replace(TIMED, on_fail="inconclusive")), GOOD, measured(speeds=(SPEED,)),
         "performance.timeToFirstToken@64 Inconclusive"),
        (GateSpec.of(TIMED), GOOD, measured(speeds=(replace(SPEED, prompt_tokens=0),)),
         "performance.@64 Inconclusive"),
        (GateSpec.of(PerformanceGate(prompt_lengths=(64,), min_tokens_per_second=11.0)), GOOD,
         measured(speeds=(SPEED,)), "performance.tokensPerSecond@64 Failed rejects"),
        (GateSpec.of(PerformanceGate(prompt_lengths=(64,), max_peak_memory=9)), GOOD,
         measured(speeds=(SPEED,), speed_memory_bytes=10), "performance.peakMemory Failed rejects"),
        (GateSpec.of(PerformanceGate(prompt_lengths=(64,), max_peak_memory=9)), GOOD,
         measured(speeds=(SPEED,)), "performance.peakMemory Inconclusive"),
        (GateSpec.of(EnduranceGate(max_memory_growth=1)), GOOD,
         measured(endured=replace(ENDURED, growth_bytes=None)), "endurance.memoryGrowth Inconclusive"),
        (GateSpec.of(EnduranceGate(max_memory_growth=1)), GOOD,
         measured(endured=replace(ENDURED, growth_bytes=-5)), "endurance.memoryGrowth Successful"),
        (GateSpec.of(EnduranceGate()), GOOD, measured(endured=ENDURED), "endurance.badInput Successful"),
        (GateSpec.of(EnduranceGate()), GOOD, measured(endured=replace(ENDURED, crashed=("empty",))),
         "endurance.badInput Failed rejects"),
        (GateSpec.of(EnduranceGate(max_memory_growth=1)), GOOD, measured(endured=ENDURED),
         "endurance.memoryGrowth Failed rejects"),
        (GateSpec.of(EnduranceGate(max_latency_drift=1.0)), GOOD, measured(endured=ENDURED),
         "endurance.latencyDrift Failed rejects"),
        (GateSpec.of(EnduranceGate(requests=51)), GOOD, measured(endured=ENDURED),
         "endurance.endurance Inconclusive"),
    ],
)  # fmt: skip
def test_a_verdict(gates: GateSpec, fidelity: Fidelity | None, found: Measured | None, expected: str) -> None:
    assert expected in said(gates, fidelity, found)


def test_bad_input_that_nobody_asks_about_is_not_judged() -> None:
    """Also where an earlier manifest asked, and it was tried."""
    gates = GateSpec.of(EnduranceGate(bad_input=False))
    found = judge(gates, "int4", GOOD, measured(endured=replace(ENDURED, crashed=("empty",))))
    assert "badInput" not in {one.measure for one in found}


def test_the_number_stands_beside_the_bar() -> None:
    found = judge(GateSpec.of(PROMPTS), "int4", GOOD, answered("Paris", "Roma"))
    (rejected,) = rejections(found)
    assert (rejected.number, rejected.bar) == (1.0, 2.0)
    told = '1 of 2 answered rightly, at least 2 wanted; "Rome": wanted to contain "Rome", got "Roma"'
    assert rejection_text(found) == f"prompts: {told}"


MISSES = [
    ("exact", "Rome", "Roma", 'exactly "Rome", got "Roma"'),
    ("contains", "Rome", " \n", 'to contain "Rome", got ""'),
    ("regex", "^R", "Milan", 'to match "^R", got "Milan"'),
    ("jsonSchema", '{"type":"object"}', "[]", 'JSON of the schema "{"type":"object"}", got "[]"'),
    ("exact", "x", "a" * 121, f'exactly "x", got "{"a" * 120}..."'),
    ("exact", "x", "a\n::error::\x1b[2J\u202e", 'exactly "x", got "a\\n::error::\\x1b[2J\\u202e"'),
]


@pytest.mark.parametrize(("check", "expected", "answer", "told"), MISSES)
def test_a_rejection_names_what_was_asked_wanted_and_got(check: str, expected: str, answer: str, told: str) -> None:
    asked = (("system", "Be short."), ("user", "q" * 81))
    case = GoldenPrompt(messages=asked, check=check, expected=expected)
    gate = PromptsGate(cases=(case,), min_pass=1)
    held = measured(answers={gate.questions[0]: answer})
    (rejected,) = rejections(judge(GateSpec.of(gate), "int4", GOOD, held))
    assert rejected.message.endswith(f'wanted; "{"q" * 80}...": wanted {told}')


def test_five_misses_are_named_and_read_from_what_older_versions_wrote() -> None:
    cases = tuple(replace(CASES[0], messages=(("user", str(number)),)) for number in range(9))
    gate = PromptsGate(cases=cases, min_pass=9)
    answers = dict.fromkeys(gate.questions, "Lyon") | {gate.questions[1]: "Paris"}
    document = MEASUREMENTS.write(MeasurementSet(releases={"r": measured(answers=answers)}))
    assert set(document["measurements"][0]) == {
        "release", "buildKey", "measured", "answers", "rendered", "speeds", "speedMemoryBytes", "endured", "times",
        "refused", "tokenized", "decoded", "referenced",
    }  # fmt: skip
    (held,) = MEASUREMENTS.read(document).releases.values()
    (rejected,) = rejections(judge(GateSpec.of(gate), "int4", GOOD, held))
    assert [one[:3] for one in rejected.misses] == ['"0"', '"2"', '"3"', '"4"', '"5"']
    passed = judge(GateSpec.of(replace(gate, min_pass=1)), "int4", GOOD, held)[-1]
    assert (passed.status, passed.message) == ("Successful", "1 of 9 answered rightly, at least 1 wanted")
    assert passed.misses == rejected.misses


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_exact_passes_at_every_precision(precision: str) -> None:
    assert rejections(judge(GateSpec(), precision, GOOD, measured())) == ()


def test_only_what_was_not_measured_is_needed() -> None:
    gates = GateSpec.of(PROMPTS, TIMED, EnduranceGate())
    everything = needed(gates, None, None)
    names = [gate.name for gate in everything.gates]
    assert names == ["fidelity", "load", "tokenizer", "decoding", "prompts", "performance", "endurance"]
    assert (PROMPTS.unasked(None), TIMED.untimed(None)) == ((0, 1), (64,))
    held = replace(answered("Paris"), speeds=(SPEED,), endured=ENDURED)
    rest = needed(gates, GOOD, held)
    assert ([gate.name for gate in rest.gates], PROMPTS.unasked(held)) == (["prompts"], (1,))
    whole = needed(gates, GOOD, replace(answered("Paris", "Rome"), speeds=(SPEED,), endured=ENDURED))
    assert not whole.in_runtime
    assert not needed(GateSpec.of(FidelityGate(skip="odd")), None, measured()).fidelity


def test_what_an_answer_is_compared_with_is_not_part_of_its_question() -> None:
    other = replace(PROMPTS, cases=tuple(replace(case, check="exact", expected="x") for case in CASES))
    assert other.questions == PROMPTS.questions
    assert replace(PROMPTS, greedy=False).questions != PROMPTS.questions


EMPTY = World()
SERVED = EMPTY.converge(desired(release()))


def knowing(world: World, found: Measured) -> World:
    known = MeasurementSet(fidelity={GOOD.build_key: GOOD}, releases={found.release: found})
    return replace(world, recorded=replace(world.recorded, measured=known))


def test_a_release_that_is_known_to_fail_is_not_tried_again() -> None:
    want = desired(wanted(gates=GateSpec.of(PROMPTS)))
    plan = knowing(EMPTY, answered("Paris", "Roma")).plan(want)
    assert plan.changes == ()
    ((held,),) = (plan.held,)
    assert (held.reason, held.variant) == ("GateFailed", "capitals-int4")
    assert "1 of 2 answered rightly, at least 2 wanted" in held.message


def test_a_relaxed_bar_lets_the_same_numbers_pass() -> None:
    world = knowing(EMPTY, answered("Paris", "Roma"))
    plan = world.plan(desired(wanted(gates=GateSpec.of(replace(PROMPTS, min_pass=1)))))
    assert [change.action for change in plan.changes] == ["convert", "verify", "register"]
    assert plan.held == ()


def test_what_is_served_goes_on_under_a_bar_that_it_misses() -> None:
    want = desired(wanted(gates=GateSpec.of(PROMPTS)))
    plan = knowing(SERVED, answered("Paris", "Roma")).plan(want)
    assert plan.changes == ()
    ((held,),) = (plan.held,)
    assert held.message.startswith("capitals-int4:1 is served, and goes on: prompts: ")


def test_it_is_mended_all_the_same() -> None:
    want = desired(wanted(gates=GateSpec.of(PROMPTS)))
    plan = knowing(SERVED.damaged("model.onnx"), answered("Paris", "Roma")).plan(want)
    assert [change.action for change in plan.changes] == ["repair"]
    assert [held.reason for held in plan.held] == ["GateFailed"]


def test_gates_are_no_part_of_a_release() -> None:
    gates = GateSpec.of(LoadGate(max_memory=1 << 40))
    assert knowing(SERVED, measured()).plan(desired(wanted(gates=gates))).changes == ()


@pytest.mark.parametrize(
    ("gates", "found", "expected"),
    [
        (GateSpec(), None, []),  # the usual ones it has passed, whatever became of the records
        (GateSpec.of(FidelityGate(skip="odd")), None, []),
        (GateSpec.of(LoadGate(max_memory=1 << 40)), None, ["measure"]),
        (GateSpec.of(PROMPTS), None, ["measure"]),
        (GateSpec.of(PROMPTS), answered("Paris", "Rome"), []),
        (GateSpec.of(PROMPTS), answered("Paris"), ["measure"]),
        (GateSpec.of(TIMED), measured(), ["measure"]),
        (GateSpec.of(EnduranceGate()), measured(endured=ENDURED), []),
        (GateSpec.of(EnduranceGate(requests=99)), measured(endured=ENDURED), ["measure"]),
        # What is rejected already is not measured to the end.
        (GateSpec.of(PROMPTS, EnduranceGate()), answered("Paris", "Roma"), []),
    ],
)
def test_a_gate_that_comes_after_its_release_is_measured_while_that_serves(
    gates: GateSpec, found: Measured | None, expected: list[str]
) -> None:
    world = SERVED if found is None else knowing(SERVED, found)
    plan = world.plan(desired(wanted(gates=gates)))
    assert [change.action for change in plan.changes] == expected
    assert all((one.reason, one.number) == ("GateUnmeasured", 1) for one in plan.changes)


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        (GateSpec.of(PROMPTS), ["verify", "register"]),
        (GateSpec.of(TIMED), ["measure", "verify", "register"]),
        (GateSpec.of(EnduranceGate()), ["measure", "verify", "register"]),
    ],
)
def test_what_takes_long_is_measured_before_a_release_is_verified(gates: GateSpec, expected: list[str]) -> None:
    world = SERVED.without_releases()
    assert [change.action for change in world.plan(desired(wanted(gates=gates))).changes] == expected
    lost = replace(world, recorded=replace(world.recorded, measured=MeasurementSet()))
    plan = lost.plan(desired(wanted(gates=gates)))
    assert [change.action for change in plan.changes] == ["measure", "verify", "register"]


def failed_to_measure(one: DesiredRelease) -> RememberedFailure:
    return RememberedFailure(
        key=one.measure_key,
        action="measure",
        variant=one.variant,
        code="FidelityUnmeasured",
        message="too little memory",
        hint="",
        attempts=1,
        first=NOW,
        last=NOW,
        permanent=True,
        version=reconciler.__version__,
    )


def test_what_could_not_be_measured_is_held_until_its_gates_ask_for_something_else() -> None:
    world = SERVED.without_releases()
    world = replace(world, recorded=replace(world.recorded, measured=MeasurementSet()))
    one = wanted()
    world = replace(world, recorded=replace(world.recorded, failures=(failed_to_measure(one),)))
    plan = world.plan(desired(one))
    assert [hold.reason for hold in plan.held] == ["FailedBefore"]
    assert plan.changes == ()
    skipping = wanted(gates=GateSpec.of(FidelityGate(skip="no memory")))
    assert [c.action for c in world.plan(desired(skipping)).changes] == ["verify", "register"]
    barred = wanted(gates=GateSpec.of(FidelityGate(max_mean_kl=1.0)))
    assert world.plan(desired(barred)).changes == ()  # another bar measures no better


def test_what_serves_is_mended_though_it_could_not_be_measured() -> None:
    one = wanted(gates=GateSpec.of(PROMPTS))
    world = replace(SERVED, recorded=replace(SERVED.recorded, failures=(failed_to_measure(one),)))
    plan = world.plan(desired(one))
    assert (plan.changes, [hold.reason for hold in plan.held]) == ((), ["FailedBefore"])
    assert [c.action for c in world.damaged("model.onnx").plan(desired(one)).changes] == ["repair"]


def test_every_precision_that_can_be_converted_has_default_bars_of_its_own() -> None:
    assert set(DEFAULT_BARS) == set(CONVERTIBLE)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Target(), "top-1 agreement 1,"),
        (Target(device="gpu", execution_provider="CUDAExecutionProvider"), "by the processor instead of CUDA"),
    ],
)
def test_numbers_of_the_processor_say_so_where_another_provider_serves(target: Target, said: str) -> None:
    """Its recipe knows what an artifact is made for, of ready ones too; the numbers do not repeat it."""
    one = release()
    made = replace(one, recipe=replace(one.recipe, target=target))
    assert said in judge_release(GateSpec(), made, GOOD, None)[0].message
