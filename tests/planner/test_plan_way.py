"""delete-then-build: when what serves goes before its successor is built, row by row; and that else it never goes."""

import random
from dataclasses import replace

import pytest

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.failures import RememberedFailure
from reconciler.domain.machine.facts import StorageLimits
from reconciler.domain.machine.maintenance_windows import Permission, Permissions
from reconciler.domain.plan import Plan
from reconciler.domain.sources.locked import Fetch
from reconciler.planner.plan import make_plan
from reconciler.reports.render import plan_text
from reconciler.reports.view import plan_view
from tests.planner.test_plan import HUB
from tests.planner.world import World, desired, release, wanted

OLD, NEW = release(), release(source="sha256:new")
SERVED = World().converge(desired(OLD))
# A served folder of the toy world holds 400 bytes of its own, and its artifact 400 more; a conversion peaks at 1200.
WAY = wanted(NEW, delete_first=True)
OTHER = wanted(release(precision="int8"), delete_first=True)  # where int4 is no longer named
MADE = [
    "prune MakesWay capitals-int4",
    "prune DiskShort ",
    "convert RecipeChanged capitals-int4",
    "verify RecipeChanged capitals-int4",
    "register RecipeChanged capitals-int4",
]


def steps(plan: Plan) -> list[str]:
    return [f"{change.action} {change.reason} {change.variant}" for change in plan.changes]


def world(free: int = 400, **changes: object) -> World:
    return SERVED.with_observed(disk_free=free, **changes)


def failed(world: World, want: DesiredRelease, **changes: object) -> World:
    failure = RememberedFailure(
        key=want.release.recipe.build_key,
        action="convert",
        variant="capitals-int4",
        code="ConversionFailed",
        message="no",
        hint="",
        attempts=1,
        first="2026-11-22T00:00:00Z",
        last="2026-11-22T00:00:00Z",
        permanent=True,
        version=__import__("reconciler").__version__,
    )
    return replace(world, recorded=replace(world.recorded, failures=(replace(failure, **changes),)))


def test_it_goes_first_where_both_do_not_fit() -> None:
    plan = world(400).plan(desired(WAY))
    assert [one.replace("RecipeChanged", "x").split(" ", 1)[0] for one in steps(plan)] == [
        one.split(" ", 1)[0] for one in MADE
    ]
    assert steps(plan)[:2] == MADE[:2]
    prune, artifact, convert, *_, register = plan.changes
    assert prune.numbers == (1,)
    assert register.number == 2
    assert -(prune.cost.disk_bytes + artifact.cost.disk_bytes) == 800
    assert convert.cost.peak_disk_bytes == 1200
    assert plan.held == ()
    assert "    capitals-int4 is down until its successor is registered\n" in plan_text(plan_view(plan))


def stays(way: DesiredRelease) -> dict[str, tuple[World, DesiredRelease]]:
    """By case the world and what is wanted; in none of them what serves makes way."""
    return {
        "both fit": (world(1200), way),
        "not declared": (world(400), replace(way, delete_first=False)),
        "it would not be enough": (world(399), way),
        "prune: disabled": (world(400), replace(way, protected=True)),
        "retainFor": (world(400), replace(way, retain_for=3600.0)),
        "somebody talks to it": (world(400, in_use=frozenset({"capitals-int4:1"})), way),
        "suspended": (world(400), replace(way, suspended=True)),
        "the conversion failed before": (failed(world(400), way), way),
        "it would not go, a moment ago": (
            failed(world(400), way, key="prune capitals-int4", action="prune", permanent=False),
            way,
        ),
        "within the quota it would not be enough": (
            world(10_000, disk_used=900, limits=StorageLimits(disk_quota=1299)),
            way,
        ),
        "another owner's registration": (
            replace(world(400), observed=replace(world(400).observed, owner="f" * 32)),
            way,
        ),
        "its source is not here": (world(400), replace(way, fetch=Fetch(source=HUB, missing=600))),
        "the conversion runs already": (world(400), way),
    }


STAYS = stays(WAY) | {"only the template changed": (world(0), replace(WAY, release=release(template="{{ other }}")))}


@pytest.mark.parametrize(
    ("here", "want", "case"),
    [(*row, case) for case, row in STAYS.items()] + [(*row, case) for case, row in stays(OTHER).items()],
)
def test_what_serves_stays(here: World, want: DesiredRelease, case: str) -> None:
    running = {want.release.recipe.build_key} if case == "the conversion runs already" else ()
    plan = make_plan(desired(want), here.observed, here.recorded, now="2026-11-22T00:00:01Z", running=running)
    assert not {"MakesWay", "Orphaned"} & {change.reason for change in plan.changes}
    first = next((change.action for change in plan.changes), "")
    assert first in ("", "convert", "verify"), "what serves goes after its successor is registered, or not at all"


def test_another_precision_makes_way_like_an_earlier_release() -> None:
    want = desired(OTHER)
    prune, artifact, *rest = world(400).plan(want).changes
    assert (prune.variant, prune.makes_way_for, prune.numbers) == ("capitals-int4", "capitals-int8", (1,))
    assert (artifact.action, [one.action for one in rest]) == ("prune", ["convert", "verify", "register"])
    assert world(400).plan(want).held == ()
    text = plan_text(plan_view(world(400).plan(want)))
    assert "    capitals-int4 is down until capitals-int8 is registered\n" in text
    assert set(world(400).converge(want).serving()) == {"capitals-int8"}


def test_of_two_outgoing_ones_one_goes_where_that_is_enough() -> None:
    both = World().converge(desired(OLD, release(precision="fp16")))
    for free, gone in ((400, 1), (0, 2)):
        plan = both.with_observed(disk_free=free).plan(desired(OTHER))
        assert len({one.variant for one in plan.changes if one.reason == "MakesWay"}) == gone
        assert "convert" in {one.action for one in plan.changes}


def test_its_successor_waits_for_no_window() -> None:
    want, closed = desired(OTHER), Permission(may=False, message="closed")
    here = world(400).carry_out(world(400).plan(want).changes[0], want)
    shut = here.with_observed(disk_free=5000, permissions=Permissions(build=closed, activate=closed))
    assert [one.action for one in shut.plan(want).changes][:1] == ["convert"]
    other = World().with_observed(permissions=Permissions(build=closed, activate=closed))
    assert other.plan(want).changes == ()  # it was never served here


def test_not_where_a_third_precision_comes_without_that() -> None:
    third = wanted(release(precision="fp16"), delete_first=True, peak_bytes=1900)
    plan = world(1200).plan(desired(OTHER, third))
    assert {(one.action, one.variant) for one in plan.changes} >= {("convert", "capitals-int8")}
    assert "MakesWay" not in {one.reason for one in plan.changes}
    assert {one.variant: one.reason for one in plan.held} == {
        "capitals-fp16": "DiskInsufficient",
        "capitals-int4": "AwaitingPrecision",
    }


def test_an_artifact_that_is_kept_to_go_back_goes_before_another_precision() -> None:
    first, second = (release("other", source=source) for source in ("sha256:a", "sha256:b"))
    here = World().converge(desired(OLD, first)).converge(desired(OLD, second))
    plan = here.with_observed(disk_free=800).plan(desired(OTHER, second))
    assert steps(plan)[0].startswith("prune DiskShort")
    assert "MakesWay" not in {one.reason for one in plan.changes}


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("not declared", "needs 1.2 KiB at the peak, 400 B are free: 800 B too little"),
        ("prune: disabled", "; what serves may not go first: its manifest says prune: disabled"),
        ("retainFor", "; what serves may not go first: its manifest says retainFor"),
        ("somebody talks to it", "; another process has files of capitals-int4:1 in its memory"),
    ],
)
def test_why_it_does_not_go_is_said(case: str, said: str) -> None:
    here, want = STAYS[case]
    (hold,) = here.plan(desired(want)).held
    assert hold.reason == "DiskInsufficient"
    assert said in hold.message
    here, want = stays(OTHER)[case]
    other, outgoing = here.plan(desired(want)).held
    assert (other.reason, outgoing.reason) == ("DiskInsufficient", "AwaitingPrecision")
    assert said in other.message


def test_the_quota_counts_too() -> None:
    here = world(10_000, disk_used=900, limits=StorageLimits(disk_quota=1300))
    assert steps(here.plan(desired(WAY)))[:2] == MADE[:2]


def test_an_artifact_that_another_one_serves_stays() -> None:
    """Then only the folder is given back, which is not enough."""
    both = World().converge(desired(OLD, release("twin")))
    plan = both.with_observed(disk_free=799).plan(desired(WAY, release("twin")))
    assert steps(plan) == []
    plan = both.with_observed(disk_free=800).plan(desired(WAY, release("twin")))
    assert steps(plan)[:2] == ["prune MakesWay capitals-int4", "convert RecipeChanged capitals-int4"] or (
        steps(plan)[0] == "prune MakesWay capitals-int4"
    )
    assert "prune DiskShort " not in steps(plan)


def test_what_does_not_fit_behind_another_makes_no_way() -> None:
    """The first takes all the room there is: the second one's predecessor goes on."""
    served = World().converge(desired(OLD, release("b")))
    other = wanted(release("b", source="sha256:b-new"), delete_first=True, peak_bytes=2400)
    plan = served.with_observed(disk_free=400).plan(desired(other, WAY))
    assert {change.variant for change in plan.changes if change.reason == "MakesWay"} == set()
    plan = served.with_observed(disk_free=800).plan(desired(other, WAY))
    gone = {change.variant for change in plan.changes if change.reason == "MakesWay"}
    built = {change.variant for change in plan.changes if change.action == "convert"}
    assert gone <= built


def test_after_it_went_its_successor_is_built_and_served() -> None:
    want = desired(WAY)
    here = world(400)
    for change in here.plan(want).changes[:2]:
        here = here.carry_out(change, want)
    here = here.with_observed(disk_free=1200)
    plan = here.plan(want)
    assert [change.action for change in plan.changes] == ["convert", "verify", "register"]
    assert plan.changes[-1].number == 2
    done = here.converge(want)
    assert done.serving() == {"capitals-int4": {NEW.digest}}
    assert not done.plan(want)


def test_git_that_goes_back_builds_the_old_one_again() -> None:
    want = desired(WAY)
    here = world(400)
    for change in here.plan(want).changes[:2]:
        here = here.carry_out(change, want)
    here = here.with_observed(disk_free=1200)
    back = here.converge(desired(wanted(OLD, delete_first=True)))
    assert back.serving() == {"capitals-int4": {OLD.digest}}


def test_over_random_worlds_nothing_goes_without_its_successor_being_built() -> None:
    ways = 0
    for seed in range(300):
        draw = random.Random(seed)
        models = [f"m{n}" for n in range(draw.randint(1, 4))]
        served = World().converge(
            desired(*(release(name, source=draw.choice((name, "sha256:source"))) for name in models))
        )
        here = served.with_observed(disk_free=draw.randint(0, 4000))
        want = desired(
            *(
                wanted(
                    release(name, source=draw.choice(("sha256:source", "sha256:new"))),
                    delete_first=draw.random() < 0.7,
                    protected=draw.random() < 0.2,
                    peak_bytes=draw.randint(400, 2000),
                )
                for name in models
            )
        )
        plan = here.plan(want)
        gone = {change.variant: change for change in plan.changes if change.reason == "MakesWay"}
        by_name = {one.variant: one for one in want.wanted}
        built = {change.build_key for change in plan.changes if change.action == "convert"}
        assert all(by_name[name].delete_first and not by_name[name].protected for name in gone), seed
        assert all(by_name[name].release.recipe.build_key in built for name in gone), seed
        freed = [change.build_key for change in plan.changes if change.reason == "DiskShort"]
        assert len(freed) == len(set(freed)), seed
        ways += len(gone)
    assert ways > 30


def test_a_model_that_somebody_talks_to_is_pruned_later() -> None:
    """It is no hold that a person must see to: it goes when that process ends."""
    here = World().converge(desired(OLD, release("a"), release("b")))
    loaded = here.with_observed(in_use=frozenset({"capitals-int4:1"}))
    want = desired(release("a"), release("b"))
    plan = loaded.plan(want)
    assert (steps(plan), plan.held) == ([], ())
    assert [(one.variant, one.reason) for one in plan.later] == [("capitals-int4", "InUse")]
    assert steps(loaded.plan(want, confirm=True))[0] == "prune Orphaned capitals-int4"
    assert steps(here.plan(want))[0] == "prune Orphaned capitals-int4"
