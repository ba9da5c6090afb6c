"""GateSpec judged far from the machine, by what it told of its measurements: as it would judge them itself."""

import json
from dataclasses import replace

import pytest

from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.plan import Plan
from reconciler.fleet.inventory import Inventory
from reconciler.fleet.inventory_facts import build_keys_of, export_measurements, to_observed, to_recorded
from reconciler.fleet.inventory_form import InventoryInvalid, inventory_view, read_inventory
from reconciler.gates.endurance import EnduranceGate
from reconciler.gates.judgement import gate_statuses
from reconciler.gates.load import LoadGate
from reconciler.gates.performance import PerformanceGate
from reconciler.gates.prompts import GoldenPrompt, PromptsGate
from reconciler.planner.plan import make_plan
from tests.fleet.test_inventory import inventory
from tests.gates.test_gates import ENDURED, GOOD, PROMPTS, SERVED, SPEED, TIMED, answered, knowing, measured
from tests.planner.world import World, desired, release, wanted

BASE = GateSpec.of(PROMPTS)
MORE = PromptsGate(
    cases=(*PROMPTS.cases, GoldenPrompt(messages=(("user", "Oslo"),), check="contains", expected="Oslo")), min_pass=1
)
OTHER = replace(PROMPTS, cases=(replace(PROMPTS.cases[0], expected="Lutetia"), PROMPTS.cases[1]))
SECRET = "a canary in an answer"


def report(world: World, judged_by: GateSpec) -> Inventory:
    """Of a machine whose last pass judged by these gates; through git."""
    want = desired(wanted(gates=judged_by))
    held = build_keys_of(world.observed, world.recorded)
    told = export_measurements(world.recorded.measured, held, gate_statuses(want, world.plan(want), {}).values())
    view = inventory_view(replace(inventory(world), measured=told))
    return read_inventory(json.dumps(view, allow_nan=False).encode(), "inventory.json")


def outdated(world: World) -> World:
    """What serves was measured with another runtime than the one that is here: its numbers count for nothing."""
    recorded = replace(
        world.recorded,
        measured=replace(world.recorded.measured, releases={}),
        runtime={"onnxruntime": "2"},
        outdated={release().digest: {"onnxruntime": "1"}},
    )
    return replace(world, recorded=recorded)


def shown(plan: Plan) -> list[str]:
    """Without the words of answers, which stay on the machine."""
    lines = [f"{one.action} {one.reason}" for one in plan.changes]
    lines += [f"held {one.reason} {one.message.partition('; ')[0]}" for one in plan.held]
    found = [one for verdicts in plan.verdicts.values() for one in verdicts]
    return lines + [f"{v.gate}.{v.measure} {v.status} {v.number} {v.bar} {v.rejects}" for v in found]


WHOLE = replace(answered("Paris", "Roma"), speeds=(SPEED,), endured=ENDURED)
RELAXED = GateSpec.of(replace(PROMPTS, min_pass=1))

CASES = {
    "the same bars": (BASE, "held GateFailed"),
    "a bar relaxed": (RELAXED, "prompts.passed Successful 1.0 1.0"),
    "a bar of memory": (RELAXED.with_gate(LoadGate(max_memory=1)), "load.peakMemory Failed 1048576.0 1.0 True"),
    "a gate dropped": (GateSpec(), "load.peakMemory Successful"),
    "what was timed": (RELAXED.with_gate(TIMED), "performance.timeToFirstToken@64 Failed 0.5 0.4"),
    "another length": (RELAXED.with_gate(PerformanceGate(prompt_lengths=(9,))), "measure GateUnmeasured"),
    "what was endured": (RELAXED.with_gate(EnduranceGate()), "endurance.badInput Successful 0.0 0.0"),
    "more requests": (RELAXED.with_gate(EnduranceGate(requests=99)), "measure GateUnmeasured"),
    "a golden prompt more": (GateSpec.of(MORE), "measure GateUnmeasured"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_judged_elsewhere_as_on_the_machine(case: str) -> None:
    gates, expected = CASES[case]
    world = knowing(SERVED, WHOLE)
    read = report(world, BASE)
    want = desired(wanted(gates=gates))
    elsewhere = shown(make_plan(want, to_observed(read), to_recorded(read)))
    assert elsewhere == shown(world.plan(want))
    assert any(line.startswith(expected) for line in elsewhere), elsewhere


def test_other_answers_that_are_wanted_only_the_machine_can_judge() -> None:
    world = knowing(SERVED, WHOLE)
    read = report(world, BASE)
    plan = make_plan(desired(wanted(gates=GateSpec.of(OTHER))), to_observed(read), to_recorded(read))
    (said,) = (one for one in plan.verdicts["capitals-int4"] if one.gate == "prompts")
    assert (said.status, said.message) == ("Inconclusive", "only the machine itself knows its answers")
    assert plan.changes == ()  # nothing is asked again


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        (GateSpec(), ["verify RuntimeChanged"]),
        (BASE, ["measure GateUnmeasured", "verify RuntimeChanged"]),
        (GateSpec.of(EnduranceGate()), ["measure GateUnmeasured", "verify RuntimeChanged"]),
    ],
)
def test_a_new_gate_and_another_runtime_at_once(gates: GateSpec, expected: list[str]) -> None:
    """What serves is measured for the gate first; the numbers are then of today's runtime."""
    world = outdated(SERVED)
    want = desired(wanted(gates=gates))
    plan = world.plan(want)
    assert [f"{one.action} {one.reason}" for one in plan.changes] == expected
    assert {one.number for one in plan.changes} == {1}
    read = report(world, gates)
    assert shown(make_plan(want, to_observed(read), to_recorded(read))) == shown(plan)
    if gates == BASE:
        known = knowing(SERVED, answered("Paris", "Rome"))
        after = replace(known, recorded=replace(known.recorded, runtime=world.recorded.runtime))
        assert after.plan(want).changes == ()


def test_a_report_of_an_earlier_version_tells_nothing_and_nothing_is_made_up() -> None:
    view = inventory_view(inventory(knowing(SERVED, WHOLE)))
    for name in ("fidelity", "measured", "runtime", "outdated"):
        del view[name]
    read = read_inventory(json.dumps(view).encode(), "inventory.json")
    assert not to_recorded(read).measured.known
    for gates in (BASE, GateSpec.of(EnduranceGate()), GateSpec.of(LoadGate(max_memory=1))):
        plan = make_plan(desired(wanted(gates=gates)), to_observed(read), to_recorded(read))
        assert (plan.changes, plan.held, plan.verdicts) == ((), (), {})


def test_no_answer_leaves_the_machine() -> None:
    world = knowing(SERVED, answered(SECRET, "Rome"))
    read = report(world, BASE)
    assert SECRET not in json.dumps(inventory_view(read))
    assert read.measured is not None
    (one,) = read.measured
    assert (one.answers, set(one.asked), one.right) == ({}, set(PROMPTS.questions), {PROMPTS.key: 1})


def test_numbers_that_json_has_not_are_not_told() -> None:
    odd = replace(WHOLE, endured=replace(ENDURED, drift=float("inf"), growth_bytes=-5))
    world = knowing(SERVED, odd)
    recorded = world.recorded
    known = replace(recorded.measured, fidelity={GOOD.build_key: replace(GOOD, mean_kl=float("nan"))})
    world = replace(world, recorded=replace(recorded, measured=known))
    read = report(world, BASE)
    assert (read.measured, read.fidelity) == ((), ())
    less = report(knowing(SERVED, replace(odd, endured=replace(ENDURED, growth_bytes=-5))), BASE)
    assert less.measured
    assert less.measured[0].endured == replace(ENDURED, growth_bytes=-5)


def test_only_the_newest_of_what_is_held_is_told() -> None:
    many = [replace(measured(), release=f"sha256:{number}") for number in range(9)]
    other = replace(measured(), release="sha256:x", build_key="sha256:gone")
    known = MeasurementSet(releases={one.release: one for one in (*many, other)})
    told = export_measurements(known, {measured().build_key}, ())
    assert [one.release for one in told] == ["sha256:6", "sha256:7", "sha256:8"]


def told(**changes: object) -> bytes:
    view = inventory_view(inventory(knowing(SERVED, WHOLE)))
    view["measured"][0] |= changes
    return json.dumps(view).encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (told(answers={"q": "hello"}), "measured[0].answers: expected a mapping of at most 0"),
        (told(rendered={"x": [1]}), "measured[0].rendered.x: expected a longer list, got a list of 1"),
        (told(rendered={"x": [1, 2, 3]}), "measured[0].rendered.x: expected at most 2 entries"),
        (told(right={"x": -1}), "measured[0].right.x: expected a number of at least 0"),
        (told(asked=["a"] * 1001), "measured[0].asked: expected a list of at most 1000"),
        (told(load={}), "measured[0].load: expected every field"),
        (told(speeds=[{"wantedTokens": 1e9}]), "measured[0].speeds[0].wantedTokens: expected a whole number"),
    ],
)
def test_what_is_not_of_the_form_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InventoryInvalid) as caught:
        read_inventory(data, "i.json")
    assert said in str(caught.value)
