"""When predecessors go: retainFor, files in use, a clock that jumps, and disks that are short."""

from dataclasses import replace

import pytest

from reconciler.domain import history
from reconciler.domain.history import HistoryEntry
from reconciler.planner.plan import make_plan
from tests.planner.world import World, desired, release, wanted

OLD, NEW = release(), release(template="{{ other }}")
HOUR = 3600.0
SERVED = World().converge(desired(OLD))
SUPERSEDED = "2026-11-22T12:00:00Z"


def two(retain_for: float = HOUR) -> World:
    """The new release serves since SUPERSEDED, the old one is still registered."""
    want = desired(wanted(NEW, retain_for=retain_for))
    world = SERVED
    for change in make_plan(want, world.observed, world.recorded, now=SUPERSEDED).changes:
        assert change.action != "retire"
        world = world.carry_out(change, want)
    past = tuple(
        replace(one, superseded=SUPERSEDED) if one.number == 1 else one
        for one in world.recorded.history["capitals-int4"]
    )
    return replace(world, recorded=replace(world.recorded, history={"capitals-int4": past}))


CASES = [
    ("at once it stays", "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"),
    ("a second before the end it stays", "2026-11-22T12:59:59Z", "2026-11-22T13:00:00Z"),
    ("at the end it goes", "2026-11-22T13:00:00Z", None),
    (
        "a clock that was set ten years back keeps it for an hour from then",
        "2016-11-22T12:00:00Z",
        "2016-11-22T13:00:00Z",
    ),
]


@pytest.mark.parametrize(("now", "until"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_predecessor_is_kept_as_long_as_the_manifest_says(now: str, until: str | None) -> None:
    world = two()
    plan = make_plan(desired(wanted(NEW, retain_for=HOUR)), world.observed, world.recorded, now=now)
    assert [f"{c.action} {c.number}" for c in plan.changes] == ([] if until else ["retire 1"])
    assert [(h.reason, h.until) for h in plan.later] == ([("Retained", until)] if until else [])
    assert plan.held == ()


def test_a_clock_set_back_delays_the_end_once() -> None:
    early = "2016-11-22T12:00:00Z"
    past = history.not_in_the_future(two().recorded.history["capitals-int4"], early)
    assert past[0].superseded == early
    assert history.not_in_the_future(past, "2016-11-22T12:30:00Z") == past


def test_a_manifest_that_says_no_longer_ends_it_at_once() -> None:
    world = two()
    plan = make_plan(desired(NEW), world.observed, world.recorded, now=SUPERSEDED)
    assert [f"{c.action} {c.reason}" for c in plan.changes] == ["retire Superseded"]


def test_going_back_in_git_while_the_old_one_is_there_registers_nothing() -> None:
    world = two()
    plan = make_plan(desired(wanted(OLD, retain_for=HOUR)), world.observed, world.recorded, now=SUPERSEDED)
    assert [f"{c.action} {c.number}" for c in plan.changes] == ["retire 2"]


@pytest.mark.parametrize(
    ("now", "reasons"),
    [("2026-11-22T12:00:01Z", ["InUse"]), ("2026-11-23T11:59:59Z", ["InUse"]), ("2026-11-23T12:00:00Z", [])],
    ids=["used", "used for long", "used for a day"],
)
def test_what_another_process_uses_goes_when_that_ends_or_a_day_later(now: str, reasons: list[str]) -> None:
    world = two().with_observed(in_use=frozenset({"capitals-int4:1"}))
    plan = make_plan(desired(NEW), world.observed, world.recorded, now=now)
    assert [held.reason for held in plan.later] == reasons
    assert [c.action for c in plan.changes] == ([] if reasons else ["retire"])


def test_what_is_kept_to_go_back_to_goes_first_when_the_disk_is_short() -> None:
    want = desired(release(block_size=128))
    world = SERVED.converge(want).with_observed(disk_free=1000)
    more = desired(release(block_size=128), release("rivers", source="sha256:rivers"))
    plan = make_plan(more, world.observed, world.recorded)
    assert [f"{c.action} {c.reason}" for c in plan.changes][:2] == ["prune DiskShort", "convert ArtifactMissing"]
    assert plan.changes[0].build_key == OLD.recipe.build_key
    assert plan.held == ()


def test_nothing_is_given_up_for_a_conversion_that_would_not_fit_all_the_same() -> None:
    world = SERVED.converge(desired(release(block_size=128))).with_observed(disk_free=10)
    more = desired(release(block_size=128), release("rivers", source="sha256:rivers"))
    plan = make_plan(more, world.observed, world.recorded)
    assert plan.changes == ()
    assert [held.reason for held in plan.held] == ["DiskInsufficient"]


def past(number: int, template: str = "", **more: str) -> HistoryEntry:
    one = release(template=template or f"{{{{ {number} }}}}")
    when = f"2026-01-{number + 1:02}T00:00:00Z"
    return replace(
        HistoryEntry(number=number, digest=one.digest, release=one, artifact="a", revision="r", registered=when), **more
    )


def test_a_history_knows_since_when_each_was_superseded_and_retired() -> None:
    held = history.registered(history.registered((), past(1)), past(2))
    assert [one.superseded for one in held] == ["2026-01-03T00:00:00Z", ""]
    held = history.retired(held, 1, "2026-01-05T00:00:00Z")
    assert [one.retired for one in held] == ["2026-01-05T00:00:00Z", ""]
    assert [one.outcome for one in held] == ["served", "served"]


def test_what_went_and_was_never_written_down_is_told_later() -> None:
    held = history.registered(history.registered((), past(1)), past(2))
    held = history.taken_back(held, 2, "it answers badly")
    assert [(one.outcome, one.message) for one in held] == [("served", ""), ("rolled back", "it answers badly")]
    assert history.missing_retirements(held, [1, 2]) == ()
    assert history.missing_retirements(held, [1]) == (2,)
    held = history.retired(held, 2, "2026-01-05T00:00:00Z", serving=1)
    assert [one.superseded for one in held] == ["", "2026-01-05T00:00:00Z"]
    assert held[1].message == "it answers badly"
    assert history.missing_retirements(held, [1]) == ()


def test_a_history_ends_somewhere_and_never_loses_what_serves() -> None:
    held: history.History = ()
    for number in range(1, 31):
        held = history.registered(held, past(number))
    assert [one.number for one in held] == list(range(11, 31))
    for number in range(50):
        one = past(0, template=f"{{{{ no {number} }}}}", outcome="rejected")
        held = history.rejected(held, one)
        assert history.rejected(held, one) == held
    assert len(held) == history.KEPT
    assert [one.number for one in held if one.number] == [30]


def test_one_goes_back_to_what_served_and_was_not_taken_back() -> None:
    held = (past(1), past(2), past(3, outcome="rolled back"), past(0, outcome="rejected"), past(4, "{{ 1 }}"), past(5))
    assert [one.number for one in history.good_ones(held, [past(5).digest])] == [4, 2]
