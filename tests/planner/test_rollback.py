"""What is served instead of what git declares: each case is a row, and whoever was rolled back is left alone."""

from dataclasses import replace

import pytest

from reconciler.domain.changes import runtime_key
from reconciler.domain.desired import Desired
from reconciler.domain.failures import RememberedFailure
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.history import ROLLED_BACK, Rollback
from reconciler.domain.measured import Measured, Measurements
from reconciler.domain.plan import Plan
from reconciler.domain.release import Release
from reconciler.domain.sources.locked import Fetch, LockedFile, LockedSource
from reconciler.domain.targets.tasks import EMBEDDINGS
from reconciler.gates.fidelity import FidelityGate
from reconciler.gates.judgement import gates_of, missing_measurements
from reconciler.gates.load import LoadGate
from reconciler.planner.plan import make_plan
from reconciler.planner.rollback import effective, ended
from reconciler.reports.view import before_and_after
from tests.planner.world import World, desired, release, wanted

V = "capitals-int4"
OLD, NEW, NEXT = release(), release(block_size=128), release(template="{{ next }}")
NOW = "2026-11-22T12:00:00Z"
BAR = GateSpec.of(LoadGate(max_memory=1000))
HERE = {"foundry-local-sdk": "2.2.1"}
LOAD = Measurements(
    load_seconds=1.0,
    first_token_seconds=1.0,
    tokens_per_second=1.0,
    prompt_tokens=1,
    completion_tokens=8,
    peak_memory_bytes=1,
    takes_system=True,
    runtime=HERE,
)

SERVED = World().converge(desired(OLD)).converge(desired(NEW))


def history(world: World) -> dict[int, str]:
    return {one.number: one.outcome for one in world.recorded.history[V]}


def measured(world: World, **peaks: int) -> World:
    """What each release was measured with: by the name of the constant."""
    found = {
        globals()[name].digest: Measured(
            release=globals()[name].digest,
            build_key=globals()[name].recipe.build_key,
            load=replace(LOAD, peak_memory_bytes=peak),
        )
        for name, peak in peaks.items()
    }
    known = replace(world.recorded.measured, releases=found)
    return replace(world, recorded=replace(world.recorded, measured=known, runtime=HERE))


def by_hand(world: World, refused: tuple[str, ...] = (NEW.digest,)) -> World:
    made = Rollback(variant=V, refused=refused, to=world.recorded.history[V][0], reason="worse", since=NOW)
    return replace(world, recorded=replace(world.recorded, rollbacks={V: made}))


def planned(world: World, want: Desired) -> Plan:
    return make_plan(effective(want, world.observed, world.recorded), world.observed, world.recorded, now=NOW)


def steps(plan: Plan) -> list[str]:
    return [f"{c.action} {c.number} {c.reason}" for c in plan.changes]


def lost(world: World) -> World:
    keep = {k: a for k, a in world.observed.artifacts.items() if k != OLD.recipe.build_key}
    return world.with_observed(artifacts=keep)


BACK = ["verify 3 RolledBack", "register 3 RolledBack", "retire 2 RolledBack"]
NEW_BARRED = desired(wanted(NEW, gates=BAR))

CASES: list[tuple[str, World, Desired, list[str], list[str]]] = [
    ("nothing is rolled back", SERVED, desired(NEW), [], []),
    (
        "by hand: the old one under a new number, then the refused one goes",
        by_hand(SERVED),
        desired(NEW),
        BACK,
        ["RolledBack"],
    ),
    (
        "by hand: what git declares next ends it",
        by_hand(SERVED),
        desired(NEXT),
        ["verify 3 RecipeChanged", "register 3 RecipeChanged", "retire 2 Superseded"],
        [],
    ),
    ("by hand: without its artifact all stays as it is", by_hand(lost(SERVED)), desired(NEW), [], ["RolledBack"]),
    (
        "a bar that it misses now: the last good one",
        measured(SERVED, NEW=2000, OLD=10),
        NEW_BARRED,
        BACK,
        ["GateFailed"],
    ),
    (
        "a bar that the old one was never measured by: it is",
        measured(SERVED, NEW=2000),
        NEW_BARRED,
        BACK,
        ["GateFailed"],
    ),
    ("a bar that both miss: what serves goes on", measured(SERVED, NEW=2000, OLD=2000), NEW_BARRED, [], ["GateFailed"]),
    (
        "a bar that it misses, and no artifact: what serves goes on",
        lost(measured(SERVED, NEW=2000, OLD=10)),
        NEW_BARRED,
        [],
        ["GateFailed"],
    ),
]


NEXT_BARRED = desired(wanted(NEXT, gates=BAR))
BARRED_AND_BY_HAND = by_hand(measured(SERVED, NEXT=2000, NEW=2000, OLD=2000))
SINCE = release(temperature=0.5)
SERVED_SINCE = by_hand(SERVED).converge(desired(SINCE))
CASES += [
    (
        "by hand while git's is rejected: no gate of today is asked, and what was refused goes",
        BARRED_AND_BY_HAND,
        NEXT_BARRED,
        BACK,
        ["RolledBack"],
    ),
    (
        "by hand while git's is rejected: what the gates would take is by hand as well",
        by_hand(measured(SERVED, NEXT=2000, NEW=10, OLD=10)),
        NEXT_BARRED,
        BACK,
        ["RolledBack"],
    ),
    (
        "by hand while git's is rejected, and no artifact: all stays as it is",
        lost(BARRED_AND_BY_HAND),
        NEXT_BARRED,
        [],
        ["GateFailed", "RolledBack"],
    ),
    (
        "by hand while git's was rejected: once the bar is relaxed git decides",
        BARRED_AND_BY_HAND,
        desired(NEXT),
        ["verify 3 RecipeChanged", "register 3 RecipeChanged", "retire 2 Superseded"],
        [],
    ),
    (
        "by hand long ago: another was served since, and stays while git's is rejected",
        measured(SERVED_SINCE, NEXT=2000, SINCE=10, OLD=10),
        NEXT_BARRED,
        [],
        ["GateFailed"],
    ),
]


@pytest.mark.parametrize(("world", "want", "expected", "held"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_planned(world: World, want: Desired, expected: list[str], held: list[str]) -> None:
    plan = planned(world, want)
    assert steps(plan) == expected
    assert [one.reason for one in plan.held] == held


@pytest.mark.parametrize("world", [by_hand(SERVED), measured(SERVED, NEW=2000, OLD=10)], ids=["hand", "gate"])
def test_it_is_planned_once_and_both_artifacts_stay(world: World) -> None:
    want = NEW_BARRED
    instead = effective(want, world.observed, world.recorded)
    for change in make_plan(instead, world.observed, world.recorded, now=NOW).changes:
        world = world.carry_out(change, instead)
    assert world.serving() == {V: {OLD.digest}}
    assert steps(planned(world, want)) == []
    assert world.observed.artifacts.keys() == {OLD.recipe.build_key, NEW.recipe.build_key}
    # Git decides again: what was refused comes back under a number of its own, and nothing is converted.
    unmeasured = replace(world.recorded.measured, releases={})
    world = replace(world, recorded=replace(world.recorded, rollbacks={}, measured=unmeasured))
    assert steps(planned(world, desired(NEW))) == [
        "verify 4 RecipeChanged",
        "register 4 RecipeChanged",
        "retire 3 Superseded",
    ]


def test_it_holds_once_it_is_carried_out_while_what_git_declares_is_rejected() -> None:
    world = BARRED_AND_BY_HAND
    instead = effective(NEXT_BARRED, world.observed, world.recorded)
    for change in make_plan(instead, world.observed, world.recorded, now=NOW).changes:
        world = world.carry_out(change, instead)
    assert world.serving() == {V: {OLD.digest}}
    plan = planned(world, NEXT_BARRED)
    assert steps(plan) == []
    (held,) = plan.held
    assert held.reason == "RolledBack"
    assert f"`reconciler rollback {V} --undo`" in held.message
    assert "2,000, at most 1,000 wanted" in held.message


def test_a_predecessor_that_is_still_registered_only_gets_the_name_back() -> None:
    want = desired(wanted(NEW, retain_for=3600.0))
    world = World().converge(desired(OLD))
    for change in make_plan(want, world.observed, world.recorded, now=NOW).changes:
        world = world.carry_out(change, want)
    plan = planned(by_hand(world), want)
    assert steps(plan) == ["retire 2 RolledBack"]
    assert plan.changes[0].serves_instead.number == 1


def test_what_was_taken_back_is_no_good_one_and_is_not_kept() -> None:
    past = tuple(replace(one, outcome=ROLLED_BACK) if one.number == 1 else one for one in SERVED.recorded.history[V])
    world = measured(SERVED, NEW=2000, OLD=10)
    world = replace(world, recorded=replace(world.recorded, history={V: past}))
    assert steps(planned(world, NEW_BARRED)) == ["prune 0 Unreferenced"]


def outdated(world: World) -> World:
    old = {NEW.digest: {"foundry-local-sdk": "2.1.0"}}
    return replace(world, recorded=replace(world.recorded, runtime=HERE, outdated=old))


def test_another_runtime_is_a_reason_to_verify_what_serves() -> None:
    (change,) = planned(outdated(SERVED), desired(NEW)).changes
    assert (change.action, change.reason, change.number) == ("verify", "RuntimeChanged", 2)
    before, after = before_and_after(change)
    assert before == {"runtime.foundry-local-sdk": "2.1.0"}
    assert after["runtime.foundry-local-sdk"] == "2.2.1"
    assert change.failure_key == runtime_key(NEW.digest, HERE)


def test_one_that_no_longer_loads_is_tried_once_with_a_runtime_and_makes_room_for_the_last_good_one() -> None:
    failure = RememberedFailure(
        key=runtime_key(NEW.digest, HERE),
        action="verify",
        variant=V,
        code="LoadFailed",
        message="Unknown value",
        hint="",
        attempts=1,
        first=NOW,
        last=NOW,
        permanent=True,
        version="0",
    )
    world = outdated(SERVED)
    world = replace(world, recorded=replace(world.recorded, failures=(failure,)))
    plan = planned(world, desired(NEW))
    assert steps(plan) == BACK
    assert "Unknown value" in plan.held[0].message
    other = replace(world, recorded=replace(world.recorded, runtime={"foundry-local-sdk": "2.3.0"}))
    assert steps(planned(other, desired(NEW))) == ["verify 2 RuntimeChanged"]


def embedding(one: Release) -> Release:
    return replace(one, task=EMBEDDINGS)


def names(gates: GateSpec) -> set[str]:
    return {one.name for one in gates_of(gates)}


def test_a_model_for_embeddings_that_comes_back_is_not_asked_to_chat() -> None:
    world = World().converge(desired(embedding(OLD))).converge(desired(embedding(NEW)))
    back = by_hand(world, (embedding(NEW).digest,))
    (wanted_now,) = effective(desired(embedding(NEW)), back.observed, back.recorded).wanted
    assert wanted_now.release == embedding(OLD)
    assert names(wanted_now.gates) == {"load", "tokenizer"}


def test_gates_of_another_task_do_not_judge_an_earlier_release() -> None:
    """The name was of a model for embeddings, and what git declares now chats and misses its bar."""
    world = measured(World().converge(desired(embedding(OLD))).converge(desired(NEW)), NEW=2000)
    (wanted_now,) = effective(NEW_BARRED, world.observed, world.recorded).wanted
    assert wanted_now.release == embedding(OLD)
    assert wanted_now.gates == GateSpec(task=EMBEDDINGS)
    assert [one.status for one in wanted_now.declared_verdicts if one.rejects] == ["Failed"]


FAITHFUL = GateSpec.of(FidelityGate(min_top1_agreement=0.99))
FILE = LockedFile(path="model.safetensors", size=100, sha256="0" * 64)
ORIGINAL = Fetch(source=LockedSource(repo="org/original", revision="1" * 40, files=(FILE,)), missing=100)


@pytest.mark.parametrize("went", [False, True], ids=["it serves", "it serves again"])
def test_an_earlier_release_is_not_compared_with_what_is_not_looked_for(went: bool) -> None:
    """It had no original. The one that git names since was compared, and is rejected."""
    world = World().converge(desired(OLD))
    world = world.converge(desired(NEW)) if went else world
    (numbers,) = World().compared(NEW.recipe.build_key).recorded.measured.fidelity.values()
    known = replace(world.recorded.measured, fidelity={NEW.recipe.build_key: replace(numbers, top1_agreement=0.5)})
    world = replace(world, recorded=replace(world.recorded, measured=known))
    want = desired(wanted(NEW, gates=FAITHFUL, original=ORIGINAL))
    plan = planned(world, want)
    assert steps(plan) == (BACK if went else [])
    assert [one.reason for one in plan.held] == ["GateFailed"]
    (instead,) = effective(want, world.observed, world.recorded).wanted
    assert instead.original is None
    assert not missing_measurements(instead.gates, None, None).fidelity


@pytest.mark.parametrize(
    ("served", "want", "is_over"),
    [
        (NEW, desired(NEW), False),  # what was refused
        (OLD, desired(NEW), False),
        (NEW, desired(NEXT), False),  # the change does not serve yet
        (NEXT, desired(NEXT), True),
        (OLD, desired(OLD), True),  # git went back, too
        (None, desired(release("other")), True),  # nothing declares it, and it was pruned
        (OLD, desired(release("other")), False),
        (None, desired(release("other"), complete=False), False),
        (None, desired(release("other"), declared=(V,)), False),  # it is declared, and cannot be read
        (None, desired(NEW), False),
    ],
)
def test_what_ends_one_by_hand(served: Release | None, want: Desired, is_over: bool) -> None:
    world = by_hand(SERVED if served is None else SERVED.converge(desired(served)))
    if served is None:
        world = world.with_observed(registrations=(), folders=())
    meant = effective(want, world.observed, world.recorded)
    assert ended(meant, world.observed, world.recorded.rollbacks) == ({V} if is_over else set())
