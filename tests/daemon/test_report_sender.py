"""Reports go out after a change and once a day, each machine at its own time; a place that does not answer is tried
again, and no pass waits for it."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from reconciler.daemon import report_sender
from reconciler.daemon.report_sender import AFTER_CHANGE, DAILY, ReportSender
from reconciler.daemon.state import Moment, State
from reconciler.domain.errors import TemporaryError
from reconciler.domain.machine_report import VERIFIED, JudgedReport, ReportSettings
from reconciler.engine.timetable import share_of
from reconciler.host.clock import now
from reconciler.machine_reports.keys import KeyFolder
from reconciler.machine_reports.select import open_place
from reconciler.machine_reports.verify import order_of, read_report
from tests.at_rest import serve
from tests.daemon.process import running
from tests.machine import TestMachine
from tests.machine_reports.documents import key_of, know
from tests.waiting import until

STATE = State(started=Moment(unix=0.0, ticks=0.0), interval=60.0)
WAIT = share_of("edge-7", "report") * AFTER_CHANGE
EVERY = DAILY * (1.0 - 0.1 * share_of("edge-7", "report"))


class Recorder:
    """In the place of operations.report.Reporting: counts, and refuses as long as it shall."""

    def __init__(self, world: "World") -> None:
        self.to, self.sent, self.refuse, self._world = "x", list[bool](), 0, world

    def last_sent(self) -> float:
        return self._world.last

    def failed(self, why: str) -> None:
        self.why = why

    def send(self, *, unchanged: bool) -> int:
        if self.refuse:
            self.refuse -= 1
            raise TemporaryError("it does not answer", code="ReportsUnreachable")
        self.sent.append(unchanged)
        self._world.last = self._world.ticks
        return 7


class World:
    """One clock for both: seconds."""

    def __init__(self) -> None:
        self.ticks, self.last = 1e9, 1e9
        self.recorder = Recorder(self)
        clock = lambda: self.ticks  # noqa: E731
        self.sender = ReportSender(self.recorder, "edge-7", ticks=clock, wall=clock)  # type: ignore[arg-type]

    def passed(self, attempted: str) -> None:
        self.sender.passed(replace(STATE, attempted=attempted))

    def go(self, seconds: float) -> list[bool]:
        """What was sent meanwhile: whether an unchanged one should go too."""
        before, end = len(self.recorder.sent), self.ticks + seconds
        while self.ticks < end:
            rest = self.sender.step()
            assert rest is not None
            self.ticks = min(self.ticks + max(rest, 0.001), end)
        return self.recorder.sent[before:]


def test_a_change_goes_out_after_its_share_of_the_spread_and_once() -> None:
    world = World()
    world.passed("a")
    assert world.go(WAIT - 0.1) == []
    world.passed("b")
    assert world.go(1.0) == [False]
    assert not world.sender.passed(replace(STATE, attempted="b"))
    assert world.go(3600.0) == []


def test_a_report_goes_out_each_day_without_a_change() -> None:
    world = World()
    assert world.go(EVERY - 1.0) == []
    assert world.go(2.0) == [True]
    assert len(world.go(3 * DAILY)) == 3


def test_a_fleet_whose_power_comes_back_does_not_write_at_once() -> None:
    world = World()
    world.last = 0.0
    assert world.go(WAIT - 0.1) == []
    assert world.go(1.0) == [True]


def test_a_place_that_does_not_answer_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(report_sender.log, "warning", lambda event, **facts: said.append(event))
    world = World()
    world.recorder.refuse = 5
    world.passed("a")
    assert world.go(WAIT + 60.0) == [False]
    assert said == ["report.failed"]
    assert world.recorder.why == "ReportsUnreachable: it does not answer"


def test_machines_of_a_fleet_do_not_write_at_once() -> None:
    waits = sorted(share_of(f"edge-{number}", "report") * AFTER_CHANGE for number in range(1000))
    assert max(later - earlier for earlier, later in pairwise(waits)) < AFTER_CHANGE / 100


def test_a_daemon_reports_what_it_serves(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path / "machine")
    machine.folder.mkdir()
    machine.give_model(capitals)
    machine.declare()
    serve(machine)
    key_of("edge-7", tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(
        "apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\nname: edge-7\nlabels: {site: lab}\n"
        f"reports: {{to: {tmp_path}/reports}}\nbandwidth: {{splay: 1s}}\nsigning: {{key: {tmp_path}/edge-7.key}}\n"
    )
    with running(machine, "--interval", "1h", RECONCILER_CONFIG=str(config)) as daemon:
        daemon.expect("report.sent")
        first = _only(tmp_path)
        machine.declare(template="phi3")
        until(lambda: _wanted(tmp_path) != _wanted_in(first))
    after = _only(tmp_path)
    assert (first.standing, after.standing) == (VERIFIED, VERIFIED)
    assert first.report is not None
    assert after.report is not None
    assert first.report.variants[0].is_ready
    assert first.report.labels["site"] == "lab"
    assert order_of(after.report) > order_of(first.report)
    assert json.loads((tmp_path / "reports" / "edge-7.json").read_bytes())["machine"] == "edge-7"


def _wanted_in(one: JudgedReport) -> list[str]:
    return [variant.wanted for variant in one.report.variants] if one.report else []


def _wanted(tmp_path: Path) -> list[str]:
    return _wanted_in(_only(tmp_path))


def _only(tmp_path: Path) -> JudgedReport:
    keys = KeyFolder(know(tmp_path / "keys", ("edge-7",)))
    (one,) = open_place(ReportSettings(to=str(tmp_path / "reports"))).each()
    return read_report(one.entry, one.data, one.signature, keys, now=now()).judged
