"""Rings: who is in which, what a ring must show before the next begins, and what a plan makes of it."""

from collections import Counter
from dataclasses import replace

import pytest

from reconciler.domain.manifest import LabelSelector
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.rollout import Abortion, Evidence, Promotion, RefusedCandidate, Ring, RingEvidence, Rollout
from reconciler.planner.conditions import judge
from reconciler.planner.plan import make_plan
from reconciler.planner.rollout import decide, judge_ring, ring_of, rings_of, rollout_for, without_reports
from tests.planner.world import World, desired, release, wanted

HOUR, DAY = 3600.0, 86_400.0
NEW = "sha256:" + "1" * 64
CANARY = Ring(name="canary", node_selector=LabelSelector(match_labels={"ring": "canary"}), soak=DAY)
EARLY = Ring(name="early", share=0.1, soak=2 * DAY)
BROAD = Ring(name="broad")
ROLLOUT = Rollout(
    name="edge", file="rollout.yaml", line=1, rings=(CANARY, EARLY, BROAD), covers=frozenset({"capitals"})
)
FLEET = [f"edge-{number}" for number in range(10_000)]


def place(rollout: Rollout, machine: str = "edge-1", names: tuple[str, ...] = (), **labels: str) -> int:
    return ring_of(rollout, machine, labels, names)


def test_a_share_of_the_machines_is_in_a_ring_and_stays_there() -> None:
    found = Counter(place(ROLLOUT, machine) for machine in FLEET)
    assert found[1] == 0
    assert found[2] == pytest.approx(1000, abs=100)
    assert found[2] + found[3] == len(FLEET)
    assert [place(ROLLOUT, machine) for machine in FLEET[:20]] == [
        place(replace(ROLLOUT, rings=(CANARY, replace(EARLY, soak=1.0), BROAD)), machine) for machine in FLEET[:20]
    ]


def test_another_rollout_draws_others() -> None:
    mine = {machine for machine in FLEET if place(ROLLOUT, machine) == 2}
    others = {machine for machine in FLEET if place(replace(ROLLOUT, name="other"), machine) == 2}
    assert len(mine & others) < 200


PLACES = [
    ("a label", ROLLOUT, "edge-1", (), {"ring": "canary"}, 1),
    ("another label", ROLLOUT, "edge-1", (), {"ring": "late"}, 3),
    ("by name", replace(ROLLOUT, rings=(Ring(name="a", machines=("x", "y")), BROAD)), "y", (), {}, 1),
    ("not by name", replace(ROLLOUT, rings=(Ring(name="a", machines=("x",)), BROAD)), "y", (), {}, 2),
    ("in no ring: after the last", replace(ROLLOUT, rings=(CANARY,)), "edge-1", (), {}, 2),
    ("a count of one", replace(ROLLOUT, rings=(Ring(name="a", count=1), BROAD)), "x", ("x",), {}, 1),
    ("a count needs the names of all", replace(ROLLOUT, rings=(Ring(name="a", count=5), BROAD)), "x", (), {}, 2),
    ("and one's own among them", replace(ROLLOUT, rings=(Ring(name="a", count=5), BROAD)), "x", ("y",), {}, 2),
]


def test_who_refuses_beside_the_draw_counts_for_the_limit_and_for_no_share() -> None:
    read = tuple(Evidence(machine=f"m-{at}", serves=True, watched=DAY) for at in range(3))
    refusing = tuple(Evidence(machine=f"r-{at}", refused="too slow") for at in range(2))
    found = RingEvidence(read=read, also=refusing, members=1000)
    for limit, opens in ((1, False), (2, True)):
        state = judge_ring(replace(CANARY, failure_limit=limit, ready_share=1.0), DAY, found)
        assert (state.opens, state.stopped) == (opens, not opens)
    assert judge_ring(CANARY, DAY, replace(found, read=())).stopped


def test_more_who_say_to_refuse_than_can_be_read_open_nothing() -> None:
    """False marks, which anyone may put who can write to the place, must not hide a true one."""
    read = tuple(Evidence(machine=f"m-{at}", serves=True, watched=DAY) for at in range(3))
    state = judge_ring(CANARY, DAY, RingEvidence(read=read, members=1000, unread=7))
    assert (state.opens, state.stopped, state.wait) == (False, False, None)
    assert "7 machines say to refuse it" in state.message


@pytest.mark.parametrize(("case", "rollout", "machine", "names", "labels", "expected"), PLACES)
def test_which_ring_a_machine_is_in(
    case: str, rollout: Rollout, machine: str, names: tuple[str, ...], labels: dict[str, str], expected: int
) -> None:
    assert ring_of(rollout, machine, labels, names) == expected, case


def test_a_count_is_exact_and_counts_follow_each_other() -> None:
    rollout = replace(ROLLOUT, rings=(Ring(name="a", count=5), Ring(name="b", count=50), BROAD))
    assert Counter(ring_of(rollout, one, {}, FLEET[:500]) for one in FLEET[:500]) == {1: 5, 2: 50, 3: 445}
    many = rings_of(rollout, {one: {} for one in [*FLEET[:500], "unknown"]}, FLEET[:500])
    assert many == {one: ring_of(rollout, one, {}, FLEET[:500]) for one in [*FLEET[:500], "unknown"]}


def good(number: int, hours: float = 25.0, **more: object) -> Evidence:
    """Of a machine that has served it for so long, by its own clock; its reader has just begun to look."""
    return replace(Evidence(machine=f"c-{number}", serves=True, claimed=hours * HOUR), **more)  # type: ignore[arg-type]


def bad(number: int, **more: object) -> Evidence:
    return replace(Evidence(machine=f"c-{number}"), **more)  # type: ignore[arg-type]


GOOD = [good(number) for number in range(10)]
REFUSES = bad(10, refused="GateFailed: fidelity 0.3 beside 0.9")
WATCHED = 25 * HOUR
WAITS = False

RINGS: list[tuple[str, Ring, list[Evidence], float | None, bool, str]] = [
    ("all have served it", CANARY, GOOD, None, True, "10 of 10"),
    ("one in ten may be missing", CANARY, [*GOOD[:9], bad(9)], None, True, "9 of 10"),
    ("two may not", CANARY, [*GOOD[:8], bad(8), bad(9)], None, WAITS, "8 of 10 machines serve it and are Ready, 9"),
    ("no report at all", CANARY, [], None, WAITS, "no machine of it has reported"),
    ("one refuses it", CANARY, [*GOOD, REFUSES], None, WAITS, "c-10 refused it: GateFailed: fidelity"),
    ("which the limit allows", replace(CANARY, failure_limit=1), [*GOOD, REFUSES], None, True, "10 of 11"),
    ("two refuse it", replace(CANARY, failure_limit=1), [*GOOD, REFUSES, bad(11, refused="x")], None, WAITS, "at most"),
    ("the soak is not over", CANARY, [good(n, 23) for n in range(10)], None, WAITS, "for 23h of 24h (soak)"),
    ("nor for enough of them", CANARY, [*GOOD[:8], good(8, 23), good(9, 23)], None, WAITS, "for 23h of 24h"),
    ("no soak", replace(CANARY, soak=0.0), [good(0, 0)], None, True, "1 of 1"),
    ("silent ones are not ready", CANARY, [*GOOD[:8], good(8, unchanged=3 * DAY), good(9, behind=3 * DAY)], None, WAITS,
     "8 of 10 machines serve it and are Ready, 9 must (readyShare 0.9); nothing new for 48h from c-8, c-9"),
    ("one of many may be silent", CANARY, [*GOOD[:9], good(9, unchanged=3 * DAY)], None, True, "9 of 10"),
    # Clocks: what one machine says of its own time decides nothing.
    ("one clock a day ahead, alone in its ring", CANARY, [good(0, 25)], None, WAITS, "for 0s of 24h"),
    ("two of two", CANARY, [good(0), good(1)], None, WAITS, "for 0s of 24h"),
    ("which the reader has watched", CANARY, [good(0, 0, watched=WATCHED)], None, True, "1 of 1"),
    ("one clock a day ahead among ten", CANARY, [good(0, 25), *(good(n, 1) for n in range(1, 10))], None, WAITS,
     "for 1h of 24h"),
    ("one clock a day behind among ten", CANARY, [good(0, 0), *GOOD[1:]], None, True, "10 of 10"),
    ("all clocks a day ahead, and the release is an hour old", CANARY, GOOD, HOUR, WAITS, "for 1h of 24h"),
    ("all have served it, and it is old enough", CANARY, GOOD, 26 * HOUR, True, "10 of 10"),
    ("the reader has watched for longer than they say", CANARY, [good(n, 0, watched=WATCHED) for n in range(10)], HOUR,
     True, "10 of 10"),
    ("a machine counts once", CANARY, [good(0), good(0), good(0)], None, WAITS, "1 of 1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "ring", "read", "known_for", "opens", "message"), RINGS, ids=[one[0] for one in RINGS]
)
def test_what_a_ring_must_show(
    case: str, ring: Ring, read: list[Evidence], known_for: float | None, opens: bool, message: str
) -> None:
    for given in (read, read[::-1]):
        found = RingEvidence(read=tuple(given), members=len(given), known_for=known_for)
        state = judge_ring(ring, 2 * DAY, found)
        assert state.opens == opens, case
        assert message in state.message


def test_time_alone_is_told_and_only_where_it_is_all_that_is_lacking() -> None:
    watched = [good(number, 0, watched=float(number) * HOUR) for number in range(4)]
    assert judge_ring(CANARY, DAY, RingEvidence(read=tuple(watched))).wait == DAY  # all four must, one has just begun
    half = replace(CANARY, ready_share=0.5)
    assert judge_ring(half, DAY, RingEvidence(read=tuple(watched))).wait == DAY - 2 * HOUR
    assert judge_ring(CANARY, DAY, RingEvidence(read=(good(0), bad(1)))).wait is None


STOPPED = RefusedCandidate(release=NEW, rollout="edge", ring="canary", message="c-1 refused it")
ABORTED = replace(ROLLOUT, aborted=(Abortion(release=NEW, reason="bad answers"),))
PAUSED = replace(ROLLOUT, paused=True)
PROMOTED = replace(PAUSED, promoted=(Promotion(release=NEW, ring="early"),))
BROKEN = replace(ROLLOUT, broken="it is not valid", rings=())

DECISIONS: list[tuple[str, Rollout, int, bool, Reason | str | None]] = [
    ("the first ring waits for nothing", ROLLOUT, 1, False, None),
    ("a later one asks", ROLLOUT, 2, False, "asks"),
    ("unless it stopped before", ROLLOUT, 2, True, Reason.ROLLOUT_FAILED),
    ("which another rollout of a later day forgets", replace(ROLLOUT, name="other"), 2, True, "asks"),
    ("paused", PAUSED, 1, False, Reason.ROLLOUT_PAUSED),
    ("aborted, in the first ring too", ABORTED, 1, False, Reason.ROLLOUT_FAILED),
    ("promoted, though paused", PROMOTED, 2, False, None),
    ("promoted, though it stopped", PROMOTED, 2, True, None),
    ("but not so far", PROMOTED, 3, False, Reason.ROLLOUT_PAUSED),
    ("to all", replace(PROMOTED, promoted=(Promotion(release=NEW),)), 4, True, None),
    ("another release is promoted", replace(ROLLOUT, promoted=(Promotion(release="sha256:2"),)), 2, False, "asks"),
    ("aborted wins", replace(ABORTED, promoted=(Promotion(release=NEW),)), 1, False, Reason.ROLLOUT_FAILED),
    ("a broken one holds everything", BROKEN, 1, False, Reason.AWAITING_RING),
]


@pytest.mark.parametrize(
    ("case", "rollout", "ring", "remembered", "expected"), DECISIONS, ids=[o[0] for o in DECISIONS]
)
def test_what_needs_no_report(
    case: str, rollout: Rollout, ring: int, remembered: bool, expected: Reason | str | None
) -> None:
    found = without_reports(rollout, ring, NEW, {NEW: STOPPED} if remembered else {})
    assert ("asks" if found is None else found.reason) == expected, case


def test_a_ring_that_waits_names_both_rings_and_what_is_lacking() -> None:
    waits = decide(ROLLOUT, 3, NEW, RingEvidence(why_not="this machine reads no reports"))
    assert waits.message == "ring broad of Rollout edge waits for ring early: this machine reads no reports"
    assert waits.reason is Reason.AWAITING_RING
    outside = decide(replace(ROLLOUT, rings=(CANARY,)), 2, NEW, RingEvidence())
    assert outside.message.startswith("a machine in no ring of Rollout edge waits for ring canary: no machine")


def test_what_stopped_is_to_be_remembered() -> None:
    stopped = decide(ROLLOUT, 2, NEW, RingEvidence(read=(*GOOD, REFUSES)))
    assert stopped.reason is Reason.ROLLOUT_FAILED
    assert stopped.refused == RefusedCandidate(
        release=NEW, rollout="edge", ring="canary", message="c-10 refused it: GateFailed: fidelity 0.3 beside 0.9"
    )
    assert without_reports(ROLLOUT, 2, NEW, {NEW: stopped.refused}) == replace(stopped, refused=None)


def test_a_broken_rollout_wins_where_it_may_be_about_a_model() -> None:
    anything = replace(BROKEN, covers=None)
    assert rollout_for((ROLLOUT, anything), "capitals") is anything
    assert rollout_for((ROLLOUT, replace(BROKEN, covers=frozenset({"x"}))), "capitals") is ROLLOUT
    assert rollout_for((ROLLOUT,), "x") is None


BASE, NEXT = release(), release(template="{{ other }}")
HOLD = Held(variant="capitals-int4", reason=Reason.AWAITING_RING, message="ring broad of Rollout edge waits")
SERVED = World().converge(desired(BASE))
EMPTY = World()

PLANS = [
    ("a new release waits", SERVED, NEXT, ["AwaitingRing"]),
    ("so does the first one, with its conversion", EMPTY, BASE, ["AwaitingRing"]),
    ("what serves is repaired", SERVED.damaged("model.onnx"), BASE, ["repair"]),
    ("nothing to do is nothing to wait for", SERVED, BASE, []),
]


@pytest.mark.parametrize(("case", "world", "want", "expected"), PLANS)
def test_what_a_plan_holds(case: str, world: World, want: object, expected: list[str]) -> None:
    world = world.with_observed(rings={"capitals-int4": HOLD})
    plan = world.plan(desired(want))  # type: ignore[arg-type]
    assert [one.action for one in plan.changes] + [str(one.reason) for one in plan.held] == expected, case


def test_the_condition_says_what_serves_meanwhile() -> None:
    world, want = SERVED.with_observed(rings={"capitals-int4": HOLD}), desired(wanted(NEXT))
    plan = make_plan(want, world.observed, world.recorded)
    held = judge(want, world.observed, {}, plan, {}, "2027-01-01T00:00:00Z")["capitals-int4"]
    assert held["Ready"].status == "False"
    assert held["Ready"].reason == "AwaitingRing"
    assert held["Ready"].message == f"{HOLD.message}; capitals-int4:1 still serves"
    assert held["Stalled"].status == "False"
    assert held["Reconciling"].status == "True"
