"""What failed before: when it is tried again, in tables."""

from dataclasses import replace

import pytest

import reconciler
from reconciler.domain.changes import (
    Change,
    Convert,
    PruneArtifact,
    PruneSource,
    PruneVariant,
    Register,
    RepairRelease,
    Retire,
    VerifyCandidate,
    VerifyServed,
    runtime_key,
)
from reconciler.domain.failures import (
    KEPT,
    RememberedFailure,
    RetryRequest,
    backoff,
    forgiven,
    held_by,
    next_try,
    not_overcome,
    remember,
    still_declared,
    without_backoff,
)
from reconciler.domain.plan import Outcome
from reconciler.domain.reasons import Reason
from reconciler.planner.conditions import VariantFailure, judge
from reconciler.planner.plan import make_plan
from tests.planner.world import World, desired, release, wanted

LAST = "2026-11-22T12:00:00Z"
KEY = release().recipe.build_key
DIGEST = release().digest


def failure(**changes: object) -> RememberedFailure:
    base = RememberedFailure(
        key=KEY,
        action="convert",
        variant="capitals-int4",
        code="ConversionFailed",
        message="NaN in layer 3",
        hint="",
        attempts=1,
        first=LAST,
        last=LAST,
        permanent=True,
        version=reconciler.__version__,
    )
    return replace(base, **changes)


WAITING = {"permanent": False, "code": "ConverterLost"}
VERDICTS: list[tuple[str, dict[str, object], str, str | None]] = [
    ("permanent, at once", {}, LAST, "FailedBefore"),
    ("permanent, years later", {}, "2036-01-01T00:00:00Z", "FailedBefore"),
    ("permanent, clock set back", {}, "2016-11-22T12:00:00Z", "FailedBefore"),
    ("permanent, another program", {"version": "0.0.9"}, LAST, None),
    ("temporary, at once", WAITING, LAST, "BackoffActive"),
    ("temporary, 9 s later", WAITING, "2026-11-22T12:00:09Z", "BackoffActive"),
    ("temporary, 13 s later", WAITING, "2026-11-22T12:00:13Z", None),
    ("temporary, clock set back ten years", WAITING, "2016-11-22T12:00:00Z", None),
    ("temporary, another program", WAITING | {"version": "0.0.9"}, LAST, None),
    ("third attempt, 39 s later", WAITING | {"attempts": 3}, "2026-11-22T12:00:39Z", "BackoffActive"),
    ("third attempt, 51 s later", WAITING | {"attempts": 3}, "2026-11-22T12:00:51Z", None),
    ("hundredth, 59 minutes later", WAITING | {"attempts": 100}, "2026-11-22T12:59:00Z", "BackoffActive"),
    ("hundredth, an hour later", WAITING | {"attempts": 100}, "2026-11-22T13:00:00Z", None),
    ("no time is known", WAITING, "", None),
]
LIMITS: list[tuple[str, dict[str, object], int | None, str | None]] = [
    ("without end", WAITING | {"attempts": 99}, None, None),
    ("never again", WAITING, 0, "RetriesExceeded"),
    ("once more", WAITING, 1, None),
    ("tried again once", WAITING | {"attempts": 2}, 1, "RetriesExceeded"),
    ("within it", WAITING | {"attempts": 5}, 5, None),
    ("beyond it", WAITING | {"attempts": 6}, 5, "RetriesExceeded"),
    ("another program", WAITING | {"attempts": 6, "version": "0.0.9"}, 5, None),
    ("permanent", {"attempts": 6}, 9, "FailedBefore"),
]


@pytest.mark.parametrize(("changes", "limit", "reason"), [v[1:] for v in LIMITS], ids=[v[0] for v in LIMITS])
def test_when_it_is_given_up(changes: dict[str, object], limit: int | None, reason: str | None) -> None:
    now = "2036-01-01T00:00:00Z"
    recorded = replace(World().recorded, failures=(failure(**changes),))
    plan = make_plan(desired(wanted(release(), retry_limit=limit)), World().observed, recorded, now=now)
    assert [hold.reason for hold in plan.held] == ([reason] if reason else [])
    assert all(not hold.until for hold in plan.held)


def test_what_was_asked_for_counts_from_there() -> None:
    one, other = failure(attempts=3), failure(key="other")
    asked = RetryRequest(key=KEY, first=LAST, attempts=3)
    assert forgiven((one, other), ()) == (one, other)
    assert forgiven((one, other), (asked,)) == (other,)
    assert forgiven((replace(one, attempts=5),), (asked,)) == (replace(one, attempts=2),)
    again = failure(attempts=1, first="2026-11-23T12:00:00Z")  # it had succeeded meanwhile
    assert forgiven((again,), (asked,)) == (again,)


@pytest.mark.parametrize(("changes", "now", "reason"), [v[1:] for v in VERDICTS], ids=[v[0] for v in VERDICTS])
def test_when_it_is_tried_again(changes: dict[str, object], now: str, reason: str | None) -> None:
    one = failure(**changes)
    found = held_by(one, "capitals-int4", now)
    assert (found.reason if found else None) == reason
    recorded = replace(World().recorded, failures=(one,))
    plan = make_plan(desired(release()), World().with_observed().observed, recorded, now=now)
    assert [hold.reason for hold in plan.held] == ([reason] if reason else [])
    assert bool(plan) == (reason is None)


def test_a_hold_says_what_failed_when_and_what_helps() -> None:
    one = held_by(failure(), "capitals-int4", LAST)
    assert one is not None
    for words in ("convert", "NaN in layer 3", LAST, "reconciler retry"):
        assert words in one.message
    other = held_by(failure(permanent=False, attempts=2), "capitals-int4", LAST)
    assert other is not None
    assert other.until == next_try(failure(permanent=False, attempts=2))
    assert other.until in other.message


@pytest.mark.parametrize("key", ["sha256:a", "sha256:b", "sha256:c"])
def test_it_waits_twice_as_long_each_time_and_at_most_an_hour(key: str) -> None:
    waits = [backoff(key, attempts) for attempts in range(1, 40)]
    for number, seconds in enumerate(waits[:9]):
        assert 10 * 2**number <= seconds <= min(3600, 12.5 * 2**number)
    assert set(waits[9:]) == {3600}
    assert waits == [backoff(key, attempts) for attempts in range(1, 40)]


def test_machines_that_fail_together_do_not_try_in_step() -> None:
    assert len({backoff(f"sha256:{n}", 8) for n in range(20)}) > 10


CONVERT = Convert(reason=Reason.ARTIFACT_MISSING, release=release())
VERIFY = VerifyCandidate(reason=Reason.RELEASE_MISSING, release=release(), number=1)
REGISTER = Register(reason=Reason.RELEASE_MISSING, release=release(), number=1)
OF_CAPITALS = {"variant": "capitals-int4", "model": "capitals"}
RETIRE = Retire(reason=Reason.SUPERSEDED, number=1, registered=True, **OF_CAPITALS)
KEYS = [
    (CONVERT, KEY),
    (VERIFY, DIGEST),
    (REGISTER, DIGEST),
    (RepairRelease(release=release(), number=1, forced_by=("model.onnx changed",)), DIGEST),
    (RETIRE, "retire capitals-int4:1"),
    (PruneVariant(reason=Reason.ORPHANED, numbers=(1,), **OF_CAPITALS), "prune capitals-int4"),
    (PruneArtifact(build_key=KEY, artifact=None, size=0), f"prune {KEY}"),
    (PruneSource(build_key=KEY, size=0), f"prune {KEY}"),
    (VerifyServed(release=release(), number=1, installed={"a": "1"}), runtime_key(DIGEST, {"a": "1"})),
]


@pytest.mark.parametrize(("change", "key"), KEYS, ids=[type(c).__name__ for c, _ in KEYS])
def test_the_key_is_the_digest_of_what_failed(change: Change, key: str) -> None:
    assert change.failure_key == key
    after = remember((), Outcome(change=change, status="failed", code="X", message="m"), LAST)
    assert [one.key for one in after] == ([key] if key else [])


def failed(change: Change, **more: object) -> Outcome:
    return replace(Outcome(change=change, status="failed", code="X", message="m"), **more)


REMEMBERED: list[tuple[str, list[Outcome], list[tuple[str, int]]]] = [
    ("once", [failed(CONVERT)], [("convert", 1)]),
    ("three times", [failed(CONVERT)] * 3, [("convert", 3)]),
    ("success", [failed(CONVERT), Outcome(change=CONVERT, status="done")], []),
    ("cancelled", [Outcome(change=CONVERT, status="cancelled")], []),
    ("skipped", [Outcome(change=VERIFY, status="skipped")], []),
    ("cancelled later", [failed(CONVERT), Outcome(change=CONVERT, status="cancelled")], [("convert", 1)]),
    (
        "verified again, registered never",
        [failed(REGISTER), Outcome(change=VERIFY, status="done"), failed(REGISTER)],
        [("register", 2)],
    ),
    ("registered", [failed(VERIFY), Outcome(change=REGISTER, status="done")], []),
    ("another step of it", [failed(VERIFY), failed(VERIFY), failed(REGISTER)], [("register", 1)]),
    ("two things", [failed(CONVERT), failed(VERIFY)], [("convert", 1), ("verify", 1)]),
]


@pytest.mark.parametrize(("outcomes", "expected"), [r[1:] for r in REMEMBERED], ids=[r[0] for r in REMEMBERED])
def test_what_is_remembered(outcomes: list[Outcome], expected: list[tuple[str, int]]) -> None:
    held: tuple[RememberedFailure, ...] = ()
    for outcome in outcomes:
        held = remember(held, outcome, LAST)
    assert [(one.action, one.attempts) for one in held] == expected


def test_the_first_time_stays_and_the_last_follows() -> None:
    (one,) = remember(remember((), failed(CONVERT), LAST), failed(CONVERT, permanent=True), "2026-11-23T00:00:00Z")
    assert (one.first, one.last, one.permanent) == (LAST, "2026-11-23T00:00:00Z", True)


def test_a_bounded_number_is_kept() -> None:
    held: tuple[RememberedFailure, ...] = ()
    for number in range(KEPT + 5):
        held = remember(held, failed(PruneSource(build_key=f"sha256:{number}", size=0)), LAST)
    assert len(held) == KEPT
    assert held[-1].key == f"prune sha256:{KEPT + 4}"


def test_what_nothing_declares_is_dropped_unless_nobody_can_tell() -> None:
    mine, other = failure(), failure(key="sha256:other", variant="other-int4")
    assert still_declared((mine, other), {KEY}, ()) == (mine,)
    assert still_declared((mine, other), {KEY}, {"other-int4"}) == (mine, other)


def test_what_has_come_true_all_the_same_is_dropped() -> None:
    """The last write of a step was refused, so it failed; the next pass found its work done."""
    built, waits = failure(), failure(key="sha256:other")
    served, spare = failure(key=DIGEST, action="register"), failure(key=DIGEST, action="retire")
    held = (built, waits, served, spare)
    assert not_overcome(held, {KEY}, {DIGEST}) == (waits, spare)
    assert not_overcome(held, (), ()) == held
    assert not_overcome(held, {DIGEST}, {KEY}) == held


def test_another_recipe_or_template_is_tried_at_once() -> None:
    recorded = replace(World().recorded, failures=(failure(), failure(key=DIGEST, action="verify")))
    plan = make_plan(desired(release()), World().observed, recorded, now=LAST)
    assert not plan
    plan = make_plan(desired(release(block_size=64)), World().observed, recorded, now=LAST)
    assert [change.action for change in plan.changes] == ["convert", "verify", "register"]


def test_variants_that_share_a_conversion_are_all_held_and_others_are_not() -> None:
    recorded = replace(World().recorded, failures=(failure(),))
    want = desired(release(), release(model="cities"), release(model="rivers", source="sha256:else"))
    plan = make_plan(want, World().observed, recorded, now=LAST)
    assert {hold.variant for hold in plan.held} == {"capitals-int4", "cities-int4"}
    assert {change.variant for change in plan.changes} == {"rivers-int4"}


def test_running_work_is_neither_held_nor_short_of_disk() -> None:
    recorded = replace(World().recorded, failures=(failure(permanent=False),))
    observed = World().with_observed(disk_free=1).observed
    want = desired(release())
    assert make_plan(want, observed, World().recorded).held
    assert make_plan(want, observed, recorded, now=LAST, running={KEY}).changes


def test_who_asks_is_not_kept_waiting_but_not_for_ever() -> None:
    waiting, lasting = failure(permanent=False), failure(key=DIGEST)
    assert without_backoff((waiting, lasting), (waiting, lasting)) == (lasting,)
    again = replace(waiting, attempts=2)
    assert without_backoff((again,), (waiting,)) == (again,)
    assert without_backoff((again,), (again,), {again.key: again.attempts}) == ()
    assert without_backoff((again,), (again,), {again.key: again.attempts - 1}) == (again,)  # given up


CONDITIONS = [
    (
        failure(),
        {"Ready": "False ConversionFailed", "Stalled": "True ConversionFailed", "Reconciling": "False Settled"},
    ),
    (
        failure(permanent=False, code="ConverterLost"),
        {"Ready": "False ConverterLost", "Stalled": "False BackoffActive", "Reconciling": "True BackoffActive"},
    ),
]


@pytest.mark.parametrize(("one", "expected"), CONDITIONS, ids=["permanent", "temporary"])
def test_conditions_say_who_is_needed(one: RememberedFailure, expected: dict[str, str]) -> None:
    want = desired(release())
    plan = make_plan(want, World().observed, replace(World().recorded, failures=(one,)), now=LAST)
    reason = VariantFailure(action=one.action, code=one.code, message=one.message)
    judged = judge(want, World().observed, {}, plan, {"capitals-int4": reason}, LAST)["capitals-int4"]
    assert {kind: f"{judged[kind].status} {judged[kind].reason}" for kind in expected} == expected


def test_what_serves_during_an_upgrade_is_said() -> None:
    served = World().converge(desired(release()))
    want = desired(release(block_size=128))
    key = want.wanted[0].release.recipe.build_key
    plan = make_plan(want, served.observed, served.recorded)
    for running, reason in (
        ({key: "convert"}, "Converting"),
        ({"capitals-int4": "measure"}, "Measuring"),
        ({}, "NotServed"),
    ):
        ready = judge(want, served.observed, {}, plan, {}, LAST, running=running)["capitals-int4"]["Ready"]
        assert (ready.status, ready.reason) == ("False", reason)
        assert ready.message.endswith("; capitals-int4:1 still serves")
    empty = judge(want, World().observed, {}, plan, {}, LAST, running={key: "convert"})["capitals-int4"]
    assert (empty["Ready"].reason, empty["Ready"].message) == ("NotServed", "not served yet")


def test_a_running_conversion_is_told_from_work_that_is_left() -> None:
    want = desired(release())
    plan = make_plan(want, World().observed, World().recorded)
    for running, reason in (({KEY: "convert"}, "Converting"), ({KEY: "fetch"}, "Fetching"), ({}, "ChangesLeft")):
        judged = judge(want, World().observed, {}, plan, {}, LAST, running=running)["capitals-int4"]
        assert (judged["Reconciling"].status, judged["Reconciling"].reason) == ("True", reason)
        assert judged["Stalled"].status == "False"
