"""The disk that a plan as a whole takes, row by row."""

import pytest

from reconciler.domain.machine.facts import Memory, StorageLimits
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Recorded
from reconciler.planner.conditions import judge
from reconciler.planner.plan import make_plan
from tests.planner.world import World, desired, release, wanted

NAMES = ("a", "b", "c")
# Three models that leave 100 bytes each and take 300 at the peak.
WANTS = [wanted(release(name, source=f"sha256:{name}"), predicted_bytes=100, peak_bytes=300) for name in NAMES]
SAME = [wanted(release(name), predicted_bytes=100, peak_bytes=300) for name in NAMES]


@pytest.mark.parametrize(
    ("free", "jobs", "limits", "begun"),
    [
        (500, 1, StorageLimits(), 3),  # 100 + 100 stay, and 300 at the peak
        (499, 1, StorageLimits(), 2),
        (399, 1, StorageLimits(), 1),
        (299, 1, StorageLimits(), 0),
        (699, 2, StorageLimits(), 2),  # two at a time: 200 of the one beside it, and 200 of those before
        (700, 2, StorageLimits(), 3),
        (900, 3, StorageLimits(), 3),
        (899, 3, StorageLimits(), 2),
        (599, 1, StorageLimits(disk_reserve=100), 2),
        (10_000, 1, StorageLimits(disk_quota=499), 2),
    ],
)
def test_what_does_not_fit_behind_the_others_is_not_begun(
    free: int, jobs: int, limits: StorageLimits, begun: int
) -> None:
    observed = Observed(disk_free=free, limits=limits)
    plan = make_plan(desired(*WANTS), observed, Recorded(), jobs=jobs)
    assert [change.action for change in plan.changes].count("convert") == begun
    assert [held.reason for held in plan.held] == ["DiskInsufficient"] * (3 - begun)


@pytest.mark.parametrize(
    ("short", "room"),
    [("DiskInsufficient", {"disk_free": 299}), ("MemoryInsufficient", {"memory": Memory(total=299, free=299)})],
)
def test_what_serves_meanwhile_is_named(short: str, room: dict[str, object]) -> None:
    successor = wanted(release(source="sha256:next"), peak_bytes=300, memory_bytes={"int4": 300})
    world, want = World().converge(desired(release())).with_observed(**room), desired(successor)
    ready = judge(want, world.observed, {}, world.plan(want), {}, "2027-01-01T00:00:00Z")["capitals-int4"]["Ready"]
    assert (ready.status, ready.reason) == ("False", short)
    assert ready.message.endswith("; capitals-int4:1 still serves")


def test_one_conversion_for_three_is_counted_once() -> None:
    plan = make_plan(desired(*SAME), Observed(disk_free=300), Recorded())
    assert [change.action for change in plan.changes].count("convert") == 1
    assert plan.held == ()


def test_what_runs_has_its_disk_and_what_waits_for_it_does_not_fail() -> None:
    running = {WANTS[0].release.recipe.build_key}
    plan = make_plan(desired(*WANTS), Observed(disk_free=300), Recorded(), running=running)
    assert [change.variant for change in plan.changes if change.action == "convert"] == ["a-int4", "b-int4"]


def test_what_a_prune_of_the_same_plan_frees_counts() -> None:
    served = World().converge(desired(release("old"), release("kept"), release("also")))
    size = sum(file.size for folder in served.observed.folders_of["old-int4"] for file in folder.marker.files)  # type: ignore[union-attr]
    want = [release("kept"), release("also"), wanted(release(source="sha256:new"), peak_bytes=1000 + size)]
    for free, begun in ((1000, 1), (999, 0)):
        plan = make_plan(desired(*want), served.with_observed(disk_free=free).observed, served.recorded)
        assert [change.action for change in plan.changes].count("convert") == begun
        assert [change.variant for change in plan.changes if change.action == "prune" and change.variant] == [
            "old-int4"
        ]


def test_what_is_missing_is_said_in_sizes_that_people_read() -> None:
    small, large = (
        wanted(release(name, source=name), predicted_bytes=3 << 29, peak_bytes=peak)
        for name, peak in (("a", 2 << 30), ("b", 5 << 29))
    )
    plan = make_plan(desired(small, large), Observed(disk_free=7 << 29), Recorded())
    assert [held.message for held in plan.held] == [
        "needs 2.5 GiB at the peak after 1.5 GiB of this plan's, 3.5 GiB are free: 512.0 MiB too little"
    ]
    alone = make_plan(desired(large), Observed(disk_free=1 << 30), Recorded())
    assert [held.message for held in alone.held] == ["needs 2.5 GiB at the peak, 1.0 GiB are free: 1.5 GiB too little"]
