"""A disk with no byte left, a real one: what serves goes on, pruning frees, and the next pass converges."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import Reconciler
from reconciler.operations.verify import verify
from reconciler.sources.manifests import load
from tests.at_rest import opened, serve
from tests.machine import TestMachine, tree
from tests.trust import record


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounts a small file system: only for root on Linux")
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> Path:
    """To the last byte."""
    path = disk / "fill"
    with open(path, "ab", buffering=0) as file:
        for size in (65_536, 1):
            while _written(file, b"x" * size):
                pass
    assert os.statvfs(disk).f_bavail == 0
    return path


def _written(file: FileIO, data: bytes) -> bool:
    try:
        return file.write(data) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


def run_pass(machine: TestMachine) -> PassResult:
    with (
        locked_machine(str(machine.root), str(machine.cache), command="test") as one,
        Reconciler(one, Reporter(), Options(), wake=lambda: None, asked=True) as keeping,
    ):
        return keeping.run_pass(load(str(machine.manifests)))


def test_with_no_byte_left(disk: Path, tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    for number, size in enumerate((16, 32, 64, 128, 256)):
        machine.declare(f"capitals-{number}", more=f"  quantization: {{blockSize: {size}}}\n")
    machine.root.symlink_to(disk / "root")
    (disk / "root").mkdir()
    serve(machine)
    served, registered = tree(machine.root / "served"), machine.index()
    filled = fill(disk)

    assert run_pass(machine).plan.changes == ()  # nothing to do, and nothing that needs room
    victim = machine.served("capitals-0-int4") / "tokenizer.json"
    victim.unlink()
    for number in (2, 3):  # what is shared with the store is not freed by it, so one may not be enough for a repair
        (machine.manifests / f"capitals-{number}.yaml").unlink()
    first = run_pass(machine)
    served_now = tree(machine.root / "served")
    assert {k: v for k, v in served_now.items() if "capitals-1" in k} == {
        k: v for k, v in served.items() if "capitals-1" in k
    }
    assert "capitals-2-int4:1" not in machine.index(), [
        (one.change.action, one.code, one.message) for one in first.outcomes
    ]
    assert not (machine.root / "served" / "capitals-2-int4" / "1").exists()
    assert {"capitals-0-int4:1", "capitals-1-int4:1"} <= registered.keys() & machine.index().keys()

    second = run_pass(machine)  # what the prune freed is enough
    assert second.converged, (second.remaining, second.outcomes)
    assert victim.exists()
    filled.unlink()
    assert run_pass(machine).converged
    assert verify(opened(machine)) == ()
    record("disk", "tmpfs at 0 bytes free: served goes on, prune freed, the next pass converged", part="tmpfs")
