"""SIGKILL at the steps of everything that changes a machine: no partial or wrong release is ever visible, and acting
again, once, leads to the tree of a run that nobody disturbed. In `make test` one of 144 points of a third of the
scenarios, in `make trust` a third of all points, each five times with RECONCILER_TEST_SIZE=nightly."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.matrix import RUNS
from tests.crash.scenarios import SCENARIOS
from tests.trust import FULL, NIGHTLY, record, third

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")]

CHECKOUT = str(Path(__file__).parents[2])
SHARE = RUNS if NIGHTLY else -3 if FULL else -144
TRIED = third(SCENARIOS, 0)
POINTS, KILLS = (200, 1000) if FULL else (len(TRIED), 7)
UNREACHED = 50  # one of so many may have ended before its step


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """In memory where the system has that: a process that is killed loses nothing there either."""
    shared = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as folder:
        yield Path(os.path.realpath(folder))


def killed(folder: Path) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.crash.matrix", str(folder), str(SHARE), *TRIED]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        for line in running.stdout:
            yield json.loads(line)
        said = running.stderr.read().decode()
    assert running.returncode == 0, said


def test_killed_anywhere_it_shows_no_half_and_ends_where_an_undisturbed_run_ends(quick_folder: Path) -> None:
    began = time.monotonic()
    runs = list(killed(quick_folder))
    seconds = time.monotonic() - began
    wrong = [f"{one['scenario']} killed at {one['kills']}: {said}" for one in runs for said in one["problems"]]
    points = {(one["scenario"], one["step"]) for one in runs}
    kills = sum(len(one["kills"]) for one in runs)
    assert wrong == []
    assert {scenario for scenario, _ in points} == {*TRIED}
    assert len(points) >= POINTS
    assert kills >= KILLS
    assert sum(not one["kills"] for one in runs) <= len(runs) // UNREACHED
    record(
        "kill",
        f"{kills:,} SIGKILLs at {len(points):,} points, {len(wrong)} wrong",
        f"{len(SCENARIOS)} scenarios in {seconds:.0f} s; 0 partial or wrong releases visible, 0 manual steps",
    )
