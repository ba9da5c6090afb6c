"""What waits for a window, a budget, another connection or its turn; and what does not."""

from dataclasses import replace

import pytest

from reconciler.domain.changes import Pull
from reconciler.domain.desired import ReleaseOverride
from reconciler.domain.machine.maintenance_windows import Permission, Permissions
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.reasons import Reason
from reconciler.planner.conditions import judge
from reconciler.planner.plan import make_plan
from tests.planner.test_plan import FETCH, from_hub
from tests.planner.test_plan_pull import HAS, KEY
from tests.planner.world import World, desired, release, wanted

BASE = release()
OTHER = release(template="{{ other }}")  # of the same artifact
UNTIL = "2026-11-29T21:00:00Z"
CLOSED = Permission(may=False, until=UNTIL, message="outside the window: until 22:00 (Europe/Ljubljana)")
ROOMY = World().with_observed(disk_free=1 << 30)
SERVED = ROOMY.converge(desired(BASE))
PULLS = ROOMY.with_observed(convert="registry-only", answers=HAS)
SERVES = ROOMY.converge(desired(release(block_size=64))).with_observed(convert="registry-only", answers=HAS)
NEW = ["verify", "register", "retire"]
LOST = SERVED.damaged("model.onnx").with_observed(artifacts={}, convert="registry-only", answers=HAS)


def allowed(**closed: object) -> Permissions:
    return Permissions(**{name: CLOSED if value is None else value for name, value in closed.items()})  # type: ignore[arg-type]


FETCH_CLOSED, BUILD_CLOSED, ACTIVATE_CLOSED = allowed(fetch=None), allowed(build=None), allowed(activate=None)
SPENT, HOLDS, URGENT = allowed(budget=None), allowed(metered="hold"), allowed(metered="urgent")
TURN = allowed(turns={KEY: CLOSED})


def planned(world: World, permissions: Permissions, *wants: object, running: tuple[str, ...] = ()) -> list[str]:
    world = world.with_observed(permissions=permissions)
    plan = make_plan(desired(*wants), world.observed, world.recorded, running=running)  # type: ignore[arg-type]
    return [one.action for one in plan.changes] + [str(hold.reason) for hold in plan.held]


CASES = [
    ("a pull waits for its window", PULLS, FETCH_CLOSED, BASE, ["AwaitingWindow"]),
    ("and for nothing of another's", PULLS, BUILD_CLOSED, BASE, ["pull", "verify", "register"]),
    ("also where nothing serves", PULLS, FETCH_CLOSED, BASE, ["AwaitingWindow"]),
    ("a pull waits for tomorrow's budget", PULLS, SPENT, BASE, ["BudgetSpent"]),
    ("a pull waits for its turn", PULLS, TURN, BASE, ["AwaitingTurn"]),
    ("a metered connection pulls nothing", PULLS, HOLDS, BASE, ["MeteredConnection"]),
    ("or what nothing else serves for", PULLS, URGENT, BASE, ["pull", "verify", "register"]),
    ("and no upgrade", SERVES, URGENT, BASE, ["MeteredConnection"]),
    ("a conversion waits for its window", ROOMY, BUILD_CLOSED, BASE, ["AwaitingWindow"]),
    ("a conversion needs no download", ROOMY, FETCH_CLOSED, BASE, ["convert", "verify", "register"]),
    ("long work goes on before the window to activate", ROOMY, ACTIVATE_CLOSED, BASE, ["convert", "AwaitingWindow"]),
    ("so does a pull", PULLS, ACTIVATE_CLOSED, BASE, ["pull", "AwaitingWindow"]),
    ("a new template waits for its window", SERVED, ACTIVATE_CLOSED, OTHER, ["AwaitingWindow"]),
    ("and for no other", SERVED, allowed(fetch=None, build=None), OTHER, NEW),
    ("what serves is repaired at any time", SERVED.damaged("a"), ACTIVATE_CLOSED, BASE, ["repair"]),
    ("also by a pull", LOST, allowed(fetch=None, activate=None, metered="urgent"), BASE, ["pull", "repair"]),
    ("but not beyond the budget", LOST, SPENT, BASE, ["BudgetSpent"]),
    ("nor where nothing may come at all", LOST, HOLDS, BASE, ["MeteredConnection"]),
    ("a converged machine has nothing to do", SERVED, allowed(fetch=None, build=None, activate=None), BASE, []),
]


@pytest.mark.parametrize(
    ("world", "permissions", "want", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_waits(world: World, permissions: Permissions, want: object, expected: list[str]) -> None:
    assert planned(world, permissions, want) == expected


def test_what_is_held_names_the_time() -> None:
    world = PULLS.with_observed(permissions=FETCH_CLOSED)
    [held] = world.plan(desired(BASE)).held
    assert (held.until, held.message) == (UNTIL, CLOSED.message)


def test_a_source_waits_as_a_pull_does() -> None:
    want = from_hub(wanted(BASE, fetch=FETCH))
    for permissions, expected in (
        (FETCH_CLOSED, []),
        (SPENT, []),
        (BUILD_CLOSED, ["fetch"]),
        (ACTIVATE_CLOSED, ["fetch"]),
    ):
        plan = ROOMY.with_observed(permissions=permissions).plan(want)
        assert [one.action for one in plan.changes] == expected


def test_a_conversion_that_runs_ends_and_a_download_pauses() -> None:
    assert planned(ROOMY, BUILD_CLOSED, BASE, running=(KEY,)) == ["convert", "verify", "register"]
    assert planned(PULLS, FETCH_CLOSED, BASE, running=(KEY,)) == ["AwaitingWindow"]
    assert planned(PULLS, TURN, BASE, running=(KEY,)) == ["pull", "verify", "register"]


def test_a_measurement_waits_unless_it_has_begun() -> None:
    recorded = replace(SERVED.recorded, measured=MeasurementSet())
    world = replace(SERVED, recorded=recorded)
    assert planned(world, Permissions(), OTHER) == ["measure", *NEW]
    assert planned(world, BUILD_CLOSED, OTHER) == ["AwaitingWindow"]
    key = wanted(OTHER).measure_key
    assert planned(world, BUILD_CLOSED, OTHER, running=(key,)) == ["measure", *NEW]


def test_a_repair_is_marked_so_that_its_download_goes_on() -> None:
    for world, urgent in ((LOST, True), (PULLS, False)):
        [pull] = [one for one in world.plan(desired(BASE)).changes if isinstance(one, Pull)]
        assert pull.urgent == urgent


def test_a_roll_back_waits_for_no_window() -> None:
    override = ReleaseOverride(release=OTHER, reason=Reason.ROLLED_BACK, message="by hand")
    world = ROOMY.converge(desired(OTHER))
    assert planned(world, ACTIVATE_CLOSED, wanted(BASE, override=override))[:2] == ["verify", "register"]


def test_what_is_no_longer_declared_goes_in_the_window() -> None:
    two = ROOMY.converge(desired(BASE, release("rivers")))
    assert planned(two, ACTIVATE_CLOSED, BASE) == ["AwaitingWindow"]
    assert planned(two, Permissions(), BASE) == ["prune"]


def test_nothing_makes_way_before_its_successor_may_serve() -> None:
    world = SERVED.with_observed(disk_free=1000)
    want = wanted(release(block_size=64), delete_first=True)
    assert "prune" in planned(world, Permissions(), want)
    for closed in (ACTIVATE_CLOSED, BUILD_CLOSED):
        assert "prune" not in planned(world, closed, want)


def test_what_has_made_way_is_followed_at_any_time() -> None:
    """It was removed in the window, and its successor took longer than that to build: the model is down."""
    closed = allowed(fetch=None, build=None, activate=None)
    for delete_first, expected in ((True, ["verify", "register"]), (False, ["AwaitingWindow"])):
        want = wanted(BASE, delete_first=delete_first)
        down = SERVED.with_observed(folders=(), registrations=())
        assert planned(replace(down, recorded=replace(down.recorded, releases={})), closed, want) == expected
        assert planned(ROOMY, closed, want) == ["AwaitingWindow"]  # it never served


def test_a_machine_that_waits_is_not_stalled() -> None:
    world = SERVED.with_observed(permissions=ACTIVATE_CLOSED)
    want = desired(OTHER)
    found = judge(want, world.observed, {}, world.plan(want), {}, "2026-11-29T12:00:00Z")["capitals-int4"]
    assert [(found[kind].status, found[kind].reason) for kind in ("Ready", "Stalled", "Reconciling")] == [
        ("False", "AwaitingWindow"),
        ("False", "AwaitingWindow"),
        ("True", "AwaitingWindow"),
    ]
    assert found["Ready"].message == f"{CLOSED.message}; capitals-int4:1 still serves"
