"""The gate of one machine over its passes: what it asks, remembers and lets through. Reports are made up; the sources
that they come from have tests of their own (tests/machine_reports)."""

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import pytest

from reconciler.domain.errors import TemporaryError
from reconciler.domain.history import HistoryEntry
from reconciler.domain.layout import Layout
from reconciler.domain.machine_report import (
    FORGED,
    REJECTED,
    UNKNOWN_KEY,
    VERIFIED,
    JudgedReport,
    MachineReport,
    RefusedRelease,
    VariantReport,
)
from reconciler.domain.plan import Held
from reconciler.domain.recorded import Recorded
from reconciler.domain.rollout import Rollout, RolloutMemory
from reconciler.engine.rollouts import ring_reports
from reconciler.engine.rollouts.gate import RolloutGate
from reconciler.engine.rollouts.ring_reports import RingReports
from reconciler.planner.rollout import rings_by_name
from reconciler.state.progress import rollout_progress
from tests.fleet.rollout_world import BEGINNING, DAY, HOUR, MODEL, VARIANT, Kept
from tests.manifests.test_confirmation import parsed
from tests.planner.world import World, desired, release
from tests.waiting import wait_for

NEW = release(template="{{ new }}")
SERVED = World().converge(desired(release()))
CANARIES = ("c-1", "c-2", "c-3", "c-4")
BY_NAME = f"""\
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {{name: edge}}
spec: {{rings: [{{name: canary, machines: [{", ".join(CANARIES)}]}}, {{name: broad}}]}}
"""
BY_LABEL = BY_NAME.replace(f"machines: [{', '.join(CANARIES)}]", "nodeSelector: {matchLabels: {ring: canary}}")


class Fleet:
    """A reader of made-up reports."""

    def __init__(self) -> None:
        self.held: dict[str, JudgedReport] = {}
        self.asked: list[list[str]] = []
        self.marks: set[tuple[str, str]] = set()
        self.broken = False

    def say(
        self, machine: str, hours: float, *, serves: str = NEW.digest, standing: str = VERIFIED, **labels: str
    ) -> None:
        """A report of a machine that has served something for so long."""
        one = VariantReport(
            variant=VARIANT,
            model="capitals",
            precision="int4",
            wanted=NEW.digest,
            serves=serves,
            since="2027-01-14T00:00:00Z",
            ready=str(serves == NEW.digest),
            ready_since="2027-01-14T00:00:00Z",
        )
        days, rest = divmod(int(hours), 24)
        report = MachineReport(
            machine=machine,
            labels=labels,
            generated=f"2027-01-{14 + days:02}T{rest:02}:00:00Z",
            counter=len(self.asked) + 1,
            variants=(one,),
        )
        self.held[machine] = JudgedReport(entry=machine, standing=standing, report=report)  # type: ignore[arg-type]

    def names(self) -> Collection[str]:
        return (*CANARIES, "me", "other")

    def rings(self, rollout: Rollout) -> Mapping[str, int]:
        return rings_by_name(rollout, self.names())

    def refusing(self, releases: Collection[str], machines: Collection[str]) -> Collection[str]:
        return {one for one in machines if any((release, one) in self.marks for release in releases)}

    def read(self, machines: Iterable[str]) -> list[JudgedReport]:
        self.asked.append(sorted(machines))
        if self.broken:
            raise TemporaryError("the share is not there", code="ReportsUnreachable")
        return [self.held[name] for name in self.asked[-1] if name in self.held]


class Mine:
    """This machine: `ticks` is its monotonic clock."""

    def __init__(self, reader: Fleet | None, text: str = BY_NAME, **labels: str) -> None:
        self.ticks, self.kept, self.reader, self.labels = 1000.0, Kept(), reader, labels
        self.declared = parsed(a=MODEL + text)
        self.start()

    def start(self) -> None:
        why = "this machine reads no reports" if self.reader is None else ""
        self.gate = RolloutGate(
            "me",
            lambda: self.labels,
            self.kept,
            self.reader,
            ticks=lambda: self.ticks,
            clock=lambda: BEGINNING + self.ticks,
            why_not=why,
        )

    def held(self, recorded: Recorded = SERVED.recorded, world: World = SERVED, complete: bool = True) -> Held | None:
        want = desired(NEW, complete=complete)
        found = self.gate.holds(self.declared, want, world.observed, recorded).get(VARIANT)
        self.gate.save()
        return found

    def message(self) -> str:
        held = self.held()
        return "" if held is None else held.message


def test_without_a_source_of_reports_a_later_ring_waits_and_says_so() -> None:
    assert Mine(None).message() == "ring broad of Rollout edge waits for ring canary: this machine reads no reports"


def test_the_first_ring_asks_nobody() -> None:
    fleet = Fleet()
    mine = Mine(fleet, BY_LABEL, ring="canary")
    assert mine.held() is None
    assert fleet.asked == []


def test_only_the_ring_before_is_read_and_seldom() -> None:
    fleet = Fleet()
    mine = Mine(fleet)
    assert "0 of 4 machines serve it" in mine.message()
    for _ in range(10):
        mine.ticks += 60.0
        mine.held()
    assert fleet.asked == [list(CANARIES)]
    mine.ticks += HOUR
    mine.held()
    assert len(fleet.asked) == 2


def test_by_label_the_reports_say_who_is_in_the_ring() -> None:
    fleet = Fleet()
    for name in CANARIES:
        fleet.say(name, 30, ring="canary")
    fleet.say("other", 1, ring="late", serves="sha256:old")
    assert Mine(fleet, BY_LABEL).held() is None


def test_who_chose_another_precision_shows_nothing_of_this_one() -> None:
    fleet = Fleet()
    for name in CANARIES:
        fleet.say(name, 30)
    mine = Mine(fleet)
    mine.declared = parsed(a=MODEL.replace("[int4]", "auto") + BY_NAME)
    assert mine.held() is None
    for name, judged in fleet.held.items():
        assert judged.report is not None
        other = replace(judged.report.variants[0], variant="capitals-int8")
        fleet.held[name] = replace(judged, report=replace(judged.report, variants=(other,)))
    mine.start()
    mine.kept = Kept()
    mine.start()
    assert mine.message().endswith(
        f"no machine of it has chosen {VARIANT}: `reconciler rollout promote` when that is meant"
    )


def test_what_all_say_opens_a_ring_for_who_was_away() -> None:
    fleet = Fleet()
    for name in CANARIES:
        fleet.say(name, 25)
    assert Mine(fleet).held() is None


def test_who_was_there_knows_how_old_the_release_can_be() -> None:
    """A pass before it came, a minute ago: no machine has served it for a day, whatever all of them say."""
    fleet = Fleet()
    for name in CANARIES:
        fleet.say(name, 25)
    mine = Mine(fleet)
    mine.gate.holds(mine.declared, desired(release()), SERVED.observed, SERVED.recorded)
    mine.ticks += 60.0
    assert "for 1m of 24h (soak)" in mine.message()
    held = mine.held()
    assert held is not None
    assert held.until  # time alone may open it


@pytest.mark.parametrize("standing", [FORGED, UNKNOWN_KEY])
def test_a_report_that_is_not_verified_shows_nothing(standing: str) -> None:
    fleet = Fleet()
    for name in CANARIES:
        fleet.say(name, 25, standing=standing)
    message = Mine(fleet).message()
    assert "0 of 4 machines serve it" in message
    assert f"not counted: c-1 ({standing})" in message


def test_a_clock_that_is_set_while_it_waits_changes_nothing() -> None:
    """`time.time` leaps a day; the monotonic clock, which the watch goes by, does not."""
    fleet = Fleet()
    mine = Mine(fleet)
    mine.gate.holds(mine.declared, desired(release()), SERVED.observed, SERVED.recorded)
    for name in CANARIES:
        fleet.say(name, 1)
    mine.held()
    mine.gate._clock = lambda: BEGINNING + mine.ticks + DAY
    mine.ticks += HOUR
    assert "of 24h (soak)" in mine.message() or "nothing new" in mine.message()
    for _ in range(24):
        mine.ticks += HOUR
        for name in CANARIES:
            fleet.say(name, 2)
        held = mine.held()
    mine.ticks += HOUR
    held = mine.held()
    assert held is None


def test_the_watch_goes_on_over_restarts_and_never_ahead() -> None:
    fleet = Fleet()
    for name in CANARIES:
        fleet.say(name, 30)
    mine = Mine(fleet)
    mine.gate.holds(mine.declared, desired(release()), SERVED.observed, SERVED.recorded)
    mine.held()
    mine.ticks += 20 * HOUR
    mine.start()  # the process
    assert "for 20h of 24h" in mine.message()
    mine.ticks = 2 * HOUR  # the system: its monotonic clock began anew two hours ago
    mine.start()
    assert "for 22h of 24h" in mine.message()


def test_a_source_that_does_not_answer_opens_nothing_and_is_asked_again_later() -> None:
    fleet = Fleet()
    for name in CANARIES:
        fleet.say(name, 25)
    fleet.broken = True
    mine = Mine(fleet)
    assert "the reports cannot be read: the share is not there" in mine.message()
    mine.ticks += 30.0
    mine.held()
    assert len(fleet.asked) == 1
    fleet.broken = False
    mine.ticks += 100.0
    assert mine.held() is None


def refusing(fleet: Fleet, machine: str, standing: str = VERIFIED) -> None:
    """Its report, and the mark that leads to it."""
    fleet.say(machine, 25, serves="sha256:old", standing=standing)
    held = fleet.held[machine]
    assert held.report is not None
    (variant,) = held.report.variants
    why = RefusedRelease(release=NEW.digest, outcome=REJECTED, message="too slow")
    report = replace(held.report, variants=(replace(variant, refused=(why,)),))
    fleet.held[machine] = replace(held, report=report)
    fleet.marks.add((NEW.digest, machine))


@pytest.mark.parametrize(
    ("standing", "limit", "expected"),
    [(VERIFIED, 0, "refused it: rejected: too slow"), (FORGED, 0, ""), (VERIFIED, 1, "")],
)
def test_of_a_large_ring_who_refuses_is_read_too(
    standing: str, limit: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as any refusal does; beside that, the share that is ready is one of the draw alone."""
    monkeypatch.setattr(ring_reports, "MOST_READ", 3)
    fleet = Fleet()
    for name in CANARIES:
        fleet.say(name, 25)
    text = BY_NAME.replace("name: canary,", f"name: canary, readyShare: 1, failureLimit: {limit},")
    mine = Mine(fleet, text)
    mine.held()
    (other,) = set(CANARIES).difference(fleet.asked[0])
    refusing(fleet, other, standing)
    again = Mine(fleet, text)
    message = again.message()
    assert expected in message
    assert bool(message) == bool(expected)
    assert sorted(fleet.asked[-1]) == list(CANARIES)


def test_marks_that_are_too_many_to_be_read_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_reports, "MOST_READ", 1)
    fleet = Fleet()
    for name in CANARIES:
        fleet.say(name, 25)
        fleet.marks.add((NEW.digest, name))
    mine = Mine(fleet)
    mine.held()
    assert f"{len(CANARIES) - 2} machines say to refuse it" in mine.message()


def test_a_ring_by_labels_that_is_too_large_is_searched_for_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_reports, "MOST_UNDECIDED", 1)
    fleet = Fleet()
    fleet.say("c-1", 25, ring="canary")
    refusing(fleet, "other")
    fleet.held["other"] = replace(
        fleet.held["other"], report=replace(fleet.held["other"].report, labels={"ring": "canary"})
    )
    assert "other refused it" in Mine(fleet, BY_LABEL).message()


def test_a_release_that_begins_to_wait_has_a_look_of_its_own() -> None:
    """An earlier look, for another release, has not searched for its refusals."""
    fleet = Fleet()
    mine = Mine(fleet)
    asked = (mine.declared.rollouts[0], 1)
    reports = RingReports(fleet, "me", ticks=lambda: mine.ticks, why_not="")
    key = ("edge", "canary")
    reports.wait_for({key: frozenset({"sha256:a"})})
    assert reports.look(*asked, "sha256:a").asked == {"sha256:a"}
    assert reports.look(*asked, "sha256:b").why_not == "its reports are being read"
    reports.wait_for({key: frozenset({"sha256:a", "sha256:b"})})
    assert reports.look(*asked, "sha256:b").why_not == ""
    assert len(fleet.asked) == 2


def test_in_a_daemon_a_look_keeps_no_pass_waiting() -> None:
    fleet, woken, reading = Fleet(), threading.Event(), threading.Event()
    for name in CANARIES:
        fleet.say(name, 25)
    read = fleet.read

    def slow(machines: Iterable[str]) -> list[JudgedReport]:
        assert reading.wait(30)
        return read(machines)

    fleet.read = slow  # type: ignore[method-assign]
    mine = Mine(fleet)
    mine.gate = RolloutGate("me", dict, mine.kept, fleet, wake=woken.set, ticks=lambda: mine.ticks)
    assert mine.message().endswith("its reports are being read")
    reading.set()
    wait_for(woken.is_set)
    assert mine.held() is None


def test_what_served_here_before_waits_for_no_ring() -> None:
    past = HistoryEntry(
        number=1, digest=NEW.digest, release=NEW, artifact="", revision="", registered="2027-01-01T00:00:00Z"
    )
    mine = Mine(Fleet())
    assert mine.held(replace(SERVED.recorded, history={VARIANT: (past,)})) is None
    taken_back = replace(past, outcome="rolled back")
    assert mine.held(replace(SERVED.recorded, history={VARIANT: (taken_back,)})) is not None


def test_a_first_release_waits_too_and_what_serves_does_not() -> None:
    mine = Mine(Fleet())
    assert mine.held(Recorded(), World()) is not None
    new = SERVED.converge(desired(NEW))
    assert mine.held(new.recorded, new) is None


def test_a_rollout_that_cannot_be_read_any_more_still_holds() -> None:
    mine = Mine(Fleet())
    mine.held()
    mine.declared = replace(parsed(a=MODEL), problems=())
    held = mine.held(complete=False)
    assert held is not None
    assert "its file cannot be read while manifests have problems" in held.message
    assert mine.held() is None  # it was taken out on purpose


def test_its_memory_is_a_record(tmp_path: object) -> None:
    stored = rollout_progress(Layout(str(tmp_path)))
    assert stored.read() == RolloutMemory()
    fleet = Fleet()
    fleet.say("c-1", 0)
    mine = Mine(fleet)
    mine.held()
    stored.write(mine.kept.value)
    assert rollout_progress(Layout(str(tmp_path))).read() == mine.kept.value
    assert mine.kept.value.watched[0].machines[0].machine == "c-1"
    writes = mine.kept.writes
    for _ in range(4):
        mine.ticks += 60.0
        mine.held()
    assert mine.kept.writes == writes  # time alone is written every five minutes
