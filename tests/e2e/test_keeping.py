"""Passes that do not wait, with the real Olive and the real Foundry Local."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.reconciler import Reconciler
from reconciler.operations.verify import verify
from reconciler.sources.manifests import load
from tests import forked
from tests.machine import TestMachine
from tests.waiting import Slower, descendants, seconds_until, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="children are counted in /proc"),
]


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare(precisions="int4")
    return one


@pytest.fixture
def opened(machine: TestMachine) -> Iterator[Machine]:
    others.clear()
    others.update(children())
    with locked_machine(str(machine.root), str(machine.cache), command="test") as one:
        yield one
        until(lambda: children() == [])
        assert verify(one) == ()


others: set[int] = set()  # what ran before a test began: fixtures of other files in the same process


def children() -> list[int]:
    """Processes that this one started since the test began, and what those started."""
    shared = {pid for server in forked.servers() for pid in (server, *descendants(server))}
    workers = {pid for worker in forked.Worker.alive() for pid in (worker, *descendants(worker))}
    return [pid for pid in {*descendants(os.getpid())} - shared | workers if pid not in others]


def test_it_converts_beside_passes_and_serves_what_ended(machine: TestMachine, opened: Machine) -> None:
    woken = threading.Event()
    with Reconciler(opened, Reporter(), Options(), wake=woken.set) as keeping:
        while not (result := keeping.run_pass(load(str(machine.manifests)))).outcomes:
            assert [change.action for change in result.running] == ["convert"]
            woken.wait(0.2)
        until(woken.is_set)  # it may have ended while that pass looked
        assert [outcome.status for outcome in result.outcomes] == ["done"] * 3
        assert result.converged
        until(lambda: children() == [])  # idle, and still open
        until(lambda: empty(keeping, machine, opened))


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.5], ids=["at once", "in the imports", "later"])
def test_what_nobody_wants_any_more_leaves_no_process(machine: TestMachine, opened: Machine, seconds: float) -> None:
    with Reconciler(opened, Reporter(), Options(), wake=lambda: None) as keeping:
        keeping.run_pass(load(str(machine.manifests)))
        time.sleep(seconds)
        machine.declare(more="  suspend: true\n")
        result = keeping.run_pass(load(str(machine.manifests)))
        assert result.running == ()
        assert seconds_until(lambda: not children(), "they end") < 3 * Slower.now().clock
        until(lambda: empty(keeping, machine, opened))


def empty(keeping: Reconciler, machine: TestMachine, opened: Machine) -> bool:
    """The staging folder. A job's own thread may still be ending: a later pass sweeps."""
    keeping.run_pass(load(str(machine.manifests)))
    return os.listdir(opened.layout.staging) == []
