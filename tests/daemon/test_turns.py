"""`reconciler run` in a fleet: after its start it lets others go first, and its turn wakes it, not polling."""

import sys
from itertools import count
from pathlib import Path

import pytest

from reconciler.engine.machine import locked_machine
from reconciler.engine.timetable import AFTER_START, share_of
from tests.at_rest import opened
from tests.daemon.process import running, wait_for
from tests.engine.test_bandwidth import configured
from tests.engine.test_pull_job import pushed
from tests.machine import TestMachine
from tests.registry_server import FakeRegistry

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc")


def early_name(machine: TestMachine) -> str:
    """Of a machine whose turn comes after some two seconds."""
    with locked_machine(str(machine.root), str(machine.cache), command="test") as one:
        owner = one.owner
    names = (f"edge-{number}" for number in count())
    return next(name for name in names if 1.5 < share_of(f"{name} {owner}") * AFTER_START < 3.0)


def test_it_asks_and_pulls_in_its_turn(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    with FakeRegistry().running() as fake:
        key = pushed(machine, fake.origin, tmp_path)
        configuration = configured(machine, fake, f"name: {early_name(machine)}")
        fake.requests.clear()
        with running(machine, "--interval", "1h", **configuration) as daemon:
            first = daemon.expect("pass.summary")
            assert (first["held"], first["left"], first["woken"]) == (1, 0, ["start"])
            assert fake.requests == []
            status = machine.run("status", **configuration).out
            assert "AwaitingTurn" in status
            assert wait_for(lambda: set(opened(machine).store.artifacts()) == {key}), "".join(daemon.raw)
            woken = next(line for line in daemon.events("pass.summary") if line["running"])
            assert woken["woken"] == ["backoff-ended"]
            assert daemon.end() == 0
