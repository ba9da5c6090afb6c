"""Order between models: what waits for what, and what is pruned before what. Tables of worlds."""

from dataclasses import replace

import pytest

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import Problem
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Suspension
from reconciler.planner.conditions import judge
from reconciler.planner.dependencies import still_known
from reconciler.planner.plan import make_plan
from tests.planner.world import World, desired, release, wanted

DRAFT, TARGET, NEXT = release("draft"), release("target", source="sha256:t"), release("next", source="sha256:n")
NEW_DRAFT = release("draft", block_size=64)
DEPENDING = wanted(TARGET, depends_on=("draft",))


def actions(world: World, want: Desired, **more: object) -> list[str]:
    plan = make_plan(want, world.observed, world.recorded, **more)  # type: ignore[arg-type]
    changes = [f"{one.action} {one.variant}" for one in plan.changes if one.variant]
    return changes + [f"{one.variant} {one.reason}" for one in plan.held]


def settled(*wants: DesiredRelease) -> World:
    """After as many passes as it takes."""
    want, world = desired(*wants), World()
    while world.plan(want):
        world = world.converge(want)
    return world


def why(world: World, want: Desired) -> str:
    held = world.plan(want).held
    return next((one.message for one in held if one.reason is Reason.DEPENDENCY_NOT_READY), "")


CONVERTED = ["convert draft-int4", "verify draft-int4", "register draft-int4"]
WAITS = "target-int4 DependencyNotReady"


def test_a_new_release_waits_until_what_it_depends_on_is_ready() -> None:
    want = desired(DRAFT, DEPENDING)
    world = World()
    assert actions(world, want) == [*CONVERTED, WAITS]
    assert "draft, which is not served as declared yet: draft-int4" in why(world, want)
    for change in world.plan(want).changes:
        assert WAITS in actions(world, want)
        world = world.carry_out(change, want)
    assert actions(world, want) == ["convert target-int4", "verify target-int4", "register target-int4"]


def test_a_chain_goes_link_by_link_and_the_end_is_stable() -> None:
    want = desired(wanted(NEXT, depends_on=("target",)), DEPENDING, DRAFT)
    world, order = World(), []
    while plan := world.plan(want):
        order += [one.variant for one in plan.changes if one.action == "register"]
        for change in plan.changes:
            world = world.carry_out(change, want)
    assert order == ["draft-int4", "target-int4", "next-int4"]
    assert not world.plan(want).held


def test_all_precisions_of_a_dependency_count() -> None:
    both = desired(DRAFT, release("draft", "int8"), DEPENDING)
    world = World().converge(desired(DRAFT))
    assert actions(world, both)[-1] == WAITS
    assert "draft-int8" in why(world, both)


def test_what_serves_already_is_repaired_and_goes_on() -> None:
    served = settled(wanted(DRAFT), DEPENDING)
    later = desired(NEW_DRAFT, DEPENDING)
    assert WAITS not in actions(served, later)
    [folder] = [one for one in served.observed.folders if one.variant == "target-int4"]
    others = [one for one in served.observed.folders if one is not folder]
    broken = served.with_observed(folders=(*others, replace(folder, damage=("model.onnx changed",))))
    assert "repair target-int4" in actions(broken, later)
    changed = wanted(release("target", source="sha256:t", template="other"), depends_on=("draft",))
    assert WAITS in actions(served, desired(NEW_DRAFT, changed))
    assert WAITS not in actions(served, desired(DRAFT, changed))


CASES = [
    ("its manifest is broken", desired(DEPENDING, complete=False), "whose manifest is not valid"),
    (
        "its source is broken",
        replace(desired(DEPENDING), unresolved={"draft-int4": Problem(code="X", file="a.yaml", message="no config")}),
        "whose source is not usable: no config",
    ),
    (
        "it is for others",
        replace(desired(DEPENDING), not_selected={"draft": "tier is not gpu"}),
        "not for this machine",
    ),
]


@pytest.mark.parametrize(("name", "want", "words"), CASES, ids=[case[0] for case in CASES])
def test_why_a_dependency_is_not_ready(name: str, want: Desired, words: str) -> None:
    assert actions(World(), want) == [WAITS]
    assert words in why(World(), want)


def test_one_that_does_not_come_harms_only_its_dependents() -> None:
    other = release("other", source="sha256:o")
    want = desired(replace(wanted(DRAFT), suspended=True), DEPENDING, other)
    assert actions(World(), want) == [
        *("convert other-int4", "verify other-int4", "register other-int4"),
        *("draft-int4 Suspended", WAITS),
    ]


def test_what_runs_is_not_cancelled_for_it() -> None:
    key = TARGET.recipe.build_key
    assert "convert target-int4" in actions(World(), desired(DRAFT, DEPENDING), running={key})


def test_a_suspension_stands_before_it() -> None:
    want = desired(DRAFT, replace(DEPENDING, suspended=True))
    assert "target-int4 Suspended" in actions(World(), want)


def test_waiting_is_no_stall() -> None:
    want, world = desired(DRAFT, DEPENDING), World()
    found = judge(want, world.observed, {}, world.plan(want), {}, "2026-01-01T00:00:00Z")["target-int4"]
    assert {kind: (found[kind].status, found[kind].reason) for kind in ("Ready", "Reconciling", "Stalled")} == {
        "Ready": ("False", "DependencyNotReady"),
        "Reconciling": ("True", "DependencyNotReady"),
        "Stalled": ("False", "Progressing"),
    }


def test_what_it_comes_to_in_the_end() -> None:
    assert "register target-int4" in actions(World(), desired(DRAFT, DEPENDING), to_the_end=True)


def served(*wants: DesiredRelease, knows: bool = True) -> World:
    """With a model that stays, and more of them, so that no guard asks."""
    stays = [release(f"stays{n}", source=f"sha256:{n}") for n in range(6)]
    world = settled(*wants, *map(wanted, stays))
    depends_on = {one.release.model: one.depends_on for one in wants if one.depends_on} if knows else {}
    return replace(world, recorded=replace(world.recorded, depends_on=depends_on))


def staying(*wants: DesiredRelease) -> Desired:
    return desired(*wants, *(release(f"stays{n}", source=f"sha256:{n}") for n in range(6)))


def test_what_others_depend_on_is_pruned_after_them() -> None:
    world = served(wanted(DRAFT), DEPENDING)
    assert actions(world, staying()) == ["prune target-int4", "draft-int4 HasDependents"]
    [prune] = [one for one in world.plan(staying()).changes if one.variant]
    assert actions(world.carry_out(prune, staying()), staying()) == ["prune draft-int4"]
    assert actions(served(wanted(DRAFT), DEPENDING, knows=False), staying()) == [
        "prune draft-int4",
        "prune target-int4",
    ]


def test_a_dependent_that_stays_keeps_what_it_depends_on() -> None:
    world = served(wanted(DRAFT), DEPENDING)
    suspension = Suspension(name="target", reason="fair", since="2026-01-01T00:00:00Z")
    suspended = replace(world, recorded=replace(world.recorded, suspensions=(suspension,)))
    assert actions(suspended, staying()) == ["target-int4 Suspended", "draft-int4 HasDependents"]
    elsewhere = replace(staying(DEPENDING), not_selected={"draft": "tier is not gpu"})
    assert "draft-int4 HasDependents" in actions(world, elsewhere)


def test_a_variant_goes_although_others_depend_on_its_model_once_another_variant_serves() -> None:
    """As when a machine chooses another precision, or one is taken out of the list."""
    other = release("draft", precision="int8")
    world, want = settled(wanted(DRAFT), wanted(other), DEPENDING), desired(other, DEPENDING)
    assert actions(world, want) == ["prune draft-int4"]
    unready, later = settled(wanted(DRAFT), DEPENDING), desired(other, DEPENDING)
    assert "draft-int4 AwaitingPrecision" in actions(unready, later)


def test_the_guards_count_both() -> None:
    world = settled(wanted(DRAFT), DEPENDING, wanted(NEXT))
    world = replace(world, recorded=replace(world.recorded, depends_on={"target": ("draft",)}))
    assert {one.reason for one in world.plan(desired(NEXT)).held} == {Reason.CONFIRMATION_NEEDED}
    confirmed = make_plan(desired(NEXT), world.observed, world.recorded, confirm=True)
    assert [one.variant for one in confirmed.changes if one.variant] == ["target-int4"]


def test_what_is_recorded_of_it() -> None:
    want = desired(DRAFT, DEPENDING)
    assert still_known({}, want, ()) == {"target": ("draft",)}
    old = {"target": ("draft",), "gone": ("draft",), "was": ("target",)}
    assert still_known(old, desired(TARGET), {"target", "was"}) == {"was": ("target",)}
