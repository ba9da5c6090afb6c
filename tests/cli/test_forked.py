"""The server that forks for each command of a test (tests/forked.py): as if Python had been started for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked
from tests.machine import REPOSITORY, TestMachine

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux")


@pytest.mark.parametrize(
    "arguments", [["--version"], ["plan", "--no-such-option"], ["validate", "nowhere"], ["status", "-o", "json"]]
)
def test_it_ends_and_prints_as_a_started_one(arguments: list[str], tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.declare()
    given = os.environ | machine.environment()
    directory = tmp_path / "fleet"
    command = [sys.executable, "-m", "reconciler", *arguments]
    started = subprocess.run(command, cwd=directory, env=given, capture_output=True, text=True, check=False)
    found = forked.run(arguments, directory, given, 60)
    assert (found.returncode, found.stdout, found.stderr) == (started.returncode, started.stdout, started.stderr)


def test_one_that_takes_too_long_is_killed_and_the_next_runs(tmp_path: Path) -> None:
    given = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run(["doctor"], tmp_path, given, 0.001)
    assert forked.run(["--version"], tmp_path, given, 60).returncode == 0


def test_what_decides_an_import_is_started_the_usual_way() -> None:
    given = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    assert forked.can_fork(given)
    for name in ("PYTHONHASHSEED", "LC_ALL"):
        assert not forked.can_fork(given | {name: "3"})
    assert not forked.can_fork(given | {"PYTHONPATH": "elsewhere"})
