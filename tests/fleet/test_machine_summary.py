"""Each variant in short, as a report says it."""

from dataclasses import replace

from reconciler.domain.history import REJECTED, ROLLED_BACK, HistoryEntry, Rollback
from reconciler.domain.machine_report import VariantReport
from reconciler.domain.recorded import Condition
from reconciler.domain.verdict import Verdict, at_least
from reconciler.fleet.inventory import Inventory
from reconciler.fleet.machine_summary import report_of, summary_of
from reconciler.gates.judgement import GateStatus
from tests.fleet.test_inventory import CONDITION, inventory, through_git
from tests.planner.world import World, desired, release

OLD, NEW = release(), release(template="{{ x }}")
NAME = "capitals-int4"


def _past(outcome: str, digest: str, number: int = 0) -> HistoryEntry:
    return HistoryEntry(
        number=number,
        digest=digest,
        release=OLD,
        artifact="",
        revision="",
        registered="2026-11-01T00:00:00Z",
        outcome=outcome,
        message=f"why {digest}",
    )


def _summary(
    world: World,
    wanted: str,
    *,
    verdicts: tuple[Verdict, ...] = (),
    ready: Condition | None = CONDITION,
    history: tuple[HistoryEntry, ...] = (),
) -> VariantReport:
    found = summary_of(
        world.observed,
        world.recorded,
        {NAME: {"Ready": ready}} if ready else {},
        wanted={NAME: wanted},
        judged={NAME: GateStatus(release=wanted, verdicts=verdicts)},
        histories={NAME: history},
    )
    assert [one.variant for one in found] == [NAME]
    return found[0]


def test_what_serves_and_what_is_wanted() -> None:
    world = World().converge(desired(OLD))
    one = _summary(world, OLD.digest)
    assert (one.model, one.precision, one.serves, one.number) == ("capitals", "int4", OLD.digest, 1)
    assert one.since == world.recorded.releases[NAME].registered
    assert one.is_ready
    behind = _summary(world, NEW.digest)
    assert (behind.serves, behind.wanted, behind.is_ready) == (OLD.digest, NEW.digest, False)


def test_what_never_served() -> None:
    one = _summary(World(), OLD.digest, ready=None)
    assert (one.serves, one.number, one.ready, one.model) == ("", 0, "Unknown", "capitals")


def test_a_gate_that_rejects_refuses_its_release() -> None:
    one = _summary(World(), NEW.digest, verdicts=(at_least("prompts", "passed", 1, 2, "passed"),))
    refused = one.refuses(NEW.digest)
    assert refused is not None
    assert (refused.outcome, refused.message) == (REJECTED, "prompts: passed 1, at least 2 wanted")
    assert [(gate.number, gate.bar, bool(gate.message)) for gate in one.failed_gates] == [(1, 2, True)]


def test_each_refused_release_once_and_the_newest_word_on_it() -> None:
    past = (_past(REJECTED, "sha256:1"), _past(ROLLED_BACK, "sha256:2", 2), _past("served", "sha256:3", 3))
    by_hand = Rollback(variant=NAME, refused=("sha256:2",), to=past[2], reason="slow", since="2026-11-02T00:00:00Z")
    world = World().converge(desired(OLD))
    world = replace(world, recorded=replace(world.recorded, rollbacks={NAME: by_hand}))
    one = _summary(world, OLD.digest, history=past)
    assert [(r.release, r.outcome, r.message) for r in one.refused] == [
        ("sha256:2", ROLLED_BACK, "slow"),
        ("sha256:1", REJECTED, "why sha256:1"),
    ]


def test_a_report_of_an_earlier_version_is_read_from_its_releases() -> None:
    world = World().converge(desired(OLD, release(precision="int8")))
    found = {one.variant: one for one in report_of(through_git(world)).variants}
    assert found[NAME].serves == OLD.digest
    assert (found[NAME].ready, found[NAME].wanted, found[NAME].is_ready) == ("True", "", False)
    assert found["capitals-int8"].number == 1


def test_a_summary_says_the_same_after_it_was_read() -> None:
    world = World().converge(desired(OLD))
    one = _summary(world, NEW.digest, verdicts=(at_least("prompts", "passed", 1, 2, "passed"),))
    before: Inventory = inventory(world, summary=(one,), conditions=(CONDITION,), counter=7, left_out=("timings",))
    import json

    from reconciler.fleet.inventory_form import inventory_view, read_inventory

    assert read_inventory(json.dumps(inventory_view(before)).encode(), "x") == before
