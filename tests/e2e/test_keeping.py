"""Passes that do not wait, with the real Olive and the real Foundry Local."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.engine.keeping import Keeping
from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.pass_ import Options
from reconciler.engine.report import Silent
from reconciler.engine.verify import verify
from reconciler.sources.manifests import load
from tests.machine import TestMachine

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
        assert children() == []
        assert verify(one) == ()


others: set[int] = set()  # what ran before a test began: fixtures of other files in the same process


def children() -> list[int]:
    """Processes that this one started since the test began, and what those started."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in ("Z", "X"):
            parents[int(name)] = int(parent)
    found = [os.getpid()]
    for pid in found:  # it grows meanwhile
        found.extend(child for child, parent in parents.items() if parent == pid)
    return [pid for pid in found[1:] if pid not in others]


def test_it_converts_beside_passes_and_serves_what_ended(machine: TestMachine, opened: Machine) -> None:
    woken = threading.Event()
    with Keeping(opened, Silent(), Options(), wake=woken.set) as keeping:
        result = keeping.run_pass(load(str(machine.manifests)))
        assert [change.action for change in result.running] == ["convert"]
        while not woken.wait(0.2):
            assert keeping.run_pass(load(str(machine.manifests))).outcomes == ()
        result = keeping.run_pass(load(str(machine.manifests)))
        assert [outcome.status for outcome in result.outcomes] == ["done"] * 3
        assert result.converged
        assert children() == []  # idle, and still open
        assert os.listdir(opened.layout.staging) == []


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.5], ids=["at once", "in the imports", "later"])
def test_what_nobody_wants_any_more_leaves_no_process(
    machine: TestMachine, opened: Machine, seconds: float
) -> None:
    with Keeping(opened, Silent(), Options(), wake=lambda: None) as keeping:
        keeping.run_pass(load(str(machine.manifests)))
        time.sleep(seconds)
        machine.declare(more="  suspend: true\n")
        result = keeping.run_pass(load(str(machine.manifests)))
        ended = time.monotonic()
        assert result.running == ()
        while children():
            assert time.monotonic() - ended < 3
            time.sleep(0.02)
        while os.listdir(opened.layout.staging):  # the job's thread may be ending: a later pass sweeps
            assert time.monotonic() - ended < 10
            keeping.run_pass(load(str(machine.manifests)))
