"""What could not be removed: it waits alone, and is never given up."""

from dataclasses import replace

from reconciler.domain.changes import Change
from reconciler.domain.failures import REMOVALS, remember
from reconciler.domain.plan import Outcome
from reconciler.planner.removals import removals_left
from tests.planner.world import World, desired, release

NOW, LATER = "2026-11-22T12:00:00Z", "2026-11-22T12:30:00Z"


def after_failing(world: World, change: Change) -> World:
    failed = Outcome(change=change, status="failed", code="NotRemoved", message="it is busy", permanent=True)
    failures = remember(world.recorded.failures, failed, NOW)
    assert not failures[-1].permanent
    return replace(world, recorded=replace(world.recorded, failures=failures))


def planned(world: World, want: object, now: str) -> tuple[list[str], list[str]]:
    from reconciler.planner.plan import make_plan

    plan = make_plan(want, world.observed, world.recorded, now=now)  # type: ignore[arg-type]
    return [one.action for one in plan.changes], [one.reason for one in plan.held]


def test_a_release_that_will_not_go_waits_and_holds_nothing_else() -> None:
    world = World().converge(desired(release()))
    want = desired(release(template="another"))
    plan = world.plan(want)
    assert [one.action for one in plan.changes] == ["verify", "register", "retire"]
    for change in plan.changes[:2]:
        world = world.carry_out(change, want)
    world = after_failing(world, plan.changes[2])
    assert planned(world, want, NOW) == ([], ["BackoffActive"])
    assert planned(world, want, LATER) == (["retire"], [])
    third = desired(release(template="a third"))
    actions, held = planned(world, third, NOW)
    assert (actions[:2], held) == (["verify", "register"], ["BackoffActive"])
    assert plan.changes[2].failure_key in removals_left(world.observed, world.recorded)


def test_a_prune_that_fails_waits_and_its_artifact_with_it() -> None:
    both = desired(release(), release("other", source="sha256:other"))
    world, want = World().converge(both), desired(release())
    plan = world.plan(want, confirm=True)
    assert {one.action for one in plan.changes} == {"prune"}
    world = after_failing(world, plan.changes[0])
    actions, held = planned(world, want, NOW)
    assert (actions, held) == ([], ["BackoffActive"])
    assert planned(world, want, LATER)[0] == ["prune", "prune"]
    assert plan.changes[0].failure_key in removals_left(world.observed, world.recorded)
    gone = world.converge(want)
    assert not {one.key for one in gone.recorded.failures} & removals_left(gone.observed, gone.recorded)
    assert "prune" in REMOVALS
