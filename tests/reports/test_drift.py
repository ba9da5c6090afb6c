"""Pending, drifted, not checked: every case is a row. No file, no clock."""

from dataclasses import replace

import pytest

from reconciler.domain.desired import Desired
from reconciler.domain.observed import Registration
from reconciler.domain.recorded import Condition, Recorded, Suspension
from reconciler.reports.drift import drift_text, drift_view, find_drift
from tests.planner.world import World, desired, release, wanted

BASE = release()
EMPTY = World()
SERVED = EMPTY.converge(desired(BASE))
TWO = EMPTY.converge(desired(BASE, release("rivers")))
NEW = release(template="{{ other }}")


def found(world: World, want: Desired) -> list[str]:
    divergences = find_drift(want, world.observed, world.recorded, world.plan(want), {})
    return [
        " ".join([one.variant, one.state, one.reason, *(one.details if one.state == "drifted" else ())])
        for one in divergences
    ]


def repointed(world: World) -> World:
    return world.with_observed(
        registrations=tuple(replace(one, path="/elsewhere") for one in world.observed.registrations)
    )


def without_registrations(world: World) -> World:
    return world.with_observed(registrations=())


def suspended(world: World) -> World:
    suspension = Suspension(name="capitals", reason="demo", since="2026-01-01T00:00:00Z")
    return replace(world, recorded=replace(world.recorded, suspensions=(suspension,)))


def taken_over(world: World) -> World:
    theirs = Registration(id="capitals-int4:1", path="/elsewhere", properties={})
    return world.with_observed(registrations=(theirs,))


DRIFTED = "capitals-int4 drifted DriftDetected"
CHANGED = "capitals-int4 pending TemplateChanged"
CASES: list[tuple[str, World, Desired, list[str]]] = [
    ("nothing declared, nothing served", EMPTY, desired(), []),
    ("a converged machine", SERVED, desired(BASE), []),
    ("a new variant is pending", EMPTY, desired(BASE), ["capitals-int4 pending ArtifactMissing"]),
    ("a changed template is pending", SERVED, desired(NEW), [CHANGED]),
    ("a file changed by hand is drift", SERVED.damaged("a changed"), desired(BASE), [f"{DRIFTED} a changed"]),
    ("both at once", SERVED.damaged("a changed"), desired(NEW), [f"{DRIFTED} a changed", CHANGED]),
    (
        "a removed registration is drift",
        without_registrations(SERVED),
        desired(BASE),
        [f"{DRIFTED} registration removed"],
    ),
    (
        "a removed registration is drift also where git has moved on",
        without_registrations(SERVED),
        desired(NEW),
        [f"{DRIFTED} registration removed", CHANGED],
    ),
    (
        "a re-pointed registration is drift",
        repointed(SERVED),
        desired(BASE),
        [f"{DRIFTED} registration points elsewhere"],
    ),
    (
        "everything gone but the records",
        without_registrations(SERVED).with_observed(folders=(), artifacts={}),
        desired(BASE),
        [f"{DRIFTED} registration removed served folder missing"],
    ),
    (
        "everything gone with the records is a new machine",
        replace(without_registrations(SERVED).with_observed(folders=()), recorded=Recorded()),
        desired(BASE),
        ["capitals-int4 pending ReleaseMissing"],
    ),
    (
        "a name taken over by hand is drift, and nothing is pending",
        taken_over(SERVED),
        desired(BASE),
        [f"{DRIFTED} registration removed"],
    ),
    (
        "a name that was always somebody's is pending, held back",
        taken_over(EMPTY),
        desired(BASE),
        ["capitals-int4 pending NameTaken"],
    ),
    (
        "a suspended variant with a change in git is pending",
        suspended(SERVED),
        desired(NEW),
        ["capitals-int4 pending Suspended"],
    ),
    (
        "a suspended variant that was damaged is drifted and not pending",
        suspended(SERVED.damaged("a changed")),
        desired(BASE),
        [f"{DRIFTED} a changed"],
    ),
    (
        "a repair that does not fit on the disk is drift and not pending",
        SERVED.damaged("a changed").with_observed(artifacts={}, disk_free=1),
        desired(BASE),
        [f"{DRIFTED} a changed"],
    ),
    ("what is no longer declared is pending", TWO, desired(BASE), ["rivers-int4 pending Orphaned"]),
    (
        "with an unreadable manifest nobody can tell what is still declared",
        TWO,
        desired(BASE, complete=False),
        ["rivers-int4 unchecked ManifestsUnreadable"],
    ),
    (
        "a broken source is not checked against git",
        SERVED,
        desired(declared=("capitals-int4",)),
        ["capitals-int4 unchecked SourceInvalid"],
    ),
    (
        "but drift shows also there",
        SERVED.damaged("a changed"),
        desired(declared=("capitals-int4",)),
        [f"{DRIFTED} a changed", "capitals-int4 unchecked SourceInvalid"],
    ),
    (
        "a protected orphan is pending, held back",
        EMPTY.converge(desired(wanted(BASE, protected=True), release("rivers"))),
        desired(release("rivers")),
        ["capitals-int4 pending Protected"],
    ),
]


@pytest.mark.parametrize(("world", "want", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_drift(world: World, want: Desired, expected: list[str]) -> None:
    assert found(world, want) == expected


def test_the_text_tells_since_when_something_was_not_checked_and_who_suspended_it() -> None:
    world = suspended(SERVED)
    want = desired(declared=("capitals-int4",))
    ready = Condition(type="Ready", status="True", reason="", message="", last_transition_time="2026-02-02T00:00:00Z")
    known = find_drift(want, world.observed, world.recorded, world.plan(want), {"capitals-int4": {"Ready": ready}})
    view = drift_view("main@sha1:0", known)
    assert view["counts"] == {"drifted": 0, "pending": 0, "unchecked": 1}
    assert drift_text(view) == (
        "capitals-int4: not checked since 2026-02-02T00:00:00Z (SourceInvalid) "
        "[suspended since 2026-01-01T00:00:00Z: demo]\n"
        "Drift: 0 drifted, 0 pending, 1 not checked.\n"
    )
    unknown = drift_view("", find_drift(want, EMPTY.observed, EMPTY.recorded, EMPTY.plan(want), {}))
    assert drift_text(unknown).startswith("capitals-int4: never checked (SourceInvalid)\n")


def test_pending_tells_the_steps_and_the_fields_that_forced_them() -> None:
    want = desired(NEW)
    (one,) = find_drift(want, SERVED.observed, SERVED.recorded, SERVED.plan(want), {})
    assert one.details[:3] == ("verify", "register", "retire")
    assert len(one.details) > 3
