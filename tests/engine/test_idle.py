"""Idle means idle: a pass that finds nothing to do changes nothing, starts nothing, and leaves no temporary behind for
anybody else to see. The kernel is asked, not our own code."""

import gc
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.main import NEW_OBJECTS
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.reconciler import Reconciler
from reconciler.sources.manifests import load
from tests.at_rest import serve
from tests.engine.idle_passes import MARKS
from tests.machine import REPOSITORY, TestMachine, tree
from tests.trust import RESULTS, record
from tests.waiting import Slower

MODELS, PASSES = 100, 20
CPU = 50 if RESULTS else 150  # ms a pass, where the promises were measured; beside other tests it is given more

# Everything that changes a file system, or starts a process or a thread.
MUTATING = re.compile(
    r"\b(mkdir|rmdir|rename|unlink|link|symlink|mknod|chmod|fchmod|chown|fchown|lchown|truncate|ftruncate|fallocate"
    r"|utime|utimens|futimes|fsync|fdatasync|sync|syncfs|pwrite|write|writev|sendfile|copy_file_range|setxattr|fsetxattr|ioctl"
    r"|clone|clone3|fork|vfork|execve)(at|at2|64|s)?\("
    r"|O_(WRONLY|RDWR|CREAT|TRUNC|TMPFILE)"
)


def _traces() -> bool:
    """Some containers do not let it."""
    try:
        tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, check=False)
        return tried.returncode == 0
    except OSError:
        return False


@pytest.fixture
def as_a_daemon() -> Iterator[None]:
    usual = gc.get_threshold()
    gc.set_threshold(NEW_OBJECTS)
    yield
    gc.set_threshold(*usual)


@pytest.mark.skipif(not _traces(), reason="strace is not installed, or may not trace here")
def test_an_idle_pass_makes_no_system_call_that_changes_anything(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    for number in range(5):
        machine.declare(f"capitals-{number}")
    serve(machine)
    before = tree(tmp_path)
    trace = tmp_path.parent / f"{tmp_path.name}.trace"
    command = ["strace", "-f", "-o", str(trace), sys.executable, "-m", "tests.engine.idle_passes"]
    paths = [str(path) for path in (machine.root, machine.cache, machine.manifests)]
    done = subprocess.run(
        [*command, *paths, "3"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = trace.read_text().splitlines()
    first, last = (next(i for i, line in enumerate(lines) if mark in line) for mark in MARKS)
    assert last - first > 100, "the trace shows no passes"
    assert any(map(MUTATING.search, lines[:first])), "the lock was taken, and nothing shows it"
    assert [line for line in lines[first:last] if MUTATING.search(line)] == []
    changed = {name for name, stamp in tree(tmp_path).items() if before.get(name) != stamp}
    assert changed <= {"root/lock.holder"}  # who works here; written once a process
    record(
        "idle", "0 mutating system calls in 3 passes over 5 models", "strace, after the lock was taken", part="calls"
    )


@pytest.mark.usefixtures("as_a_daemon")
def test_an_idle_pass_over_a_hundred_models_takes_little(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    for number in range(MODELS):
        machine.declare(f"capitals-{number}")
    serve(machine)
    parsed = load(str(machine.manifests))
    spent = []
    with (
        locked_machine(str(machine.root), str(machine.cache), command="test") as opened,
        Reconciler(opened, Reporter(), Options(), wake=lambda: None) as keeping,
    ):
        assert keeping.run_pass(parsed).converged
        slower = [Slower.now().cpu]
        for _ in range(PASSES):
            began = time.process_time()
            assert not keeping.run_pass(parsed).plan
            took = (time.process_time() - began) * 1000
            slower.append(Slower.now().cpu)
            spent.append(took / max(slower[-2:]))
    milliseconds = statistics.median(spent)
    assert milliseconds <= CPU
    said = f"median of {PASSES} passes, on a machine that was {statistics.median(slower):.2f} times slower"
    record("idle", f"{milliseconds:.0f} ms of CPU a pass for {MODELS} models", said, part="cpu")
