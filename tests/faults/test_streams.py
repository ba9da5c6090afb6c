"""What we say has nowhere to go: the log's disk is full, or a stream was closed before we began. The work goes on."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.machine import TestMachine

FULL = Path("/dev/full")
PATIENCE = 60.0  # seconds

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "reconciler", *arguments]


def damaged(machine: TestMachine) -> Path:
    path = machine.served("capitals-int4") / "tokenizer.json"
    path.unlink()
    return path


def test_apply_mends_though_nobody_can_be_told(machine: TestMachine) -> None:
    victim = damaged(machine)
    (machine.manifests / "bad.yaml").write_text("kind: x\n")
    with FULL.open("w") as full:
        done = subprocess.run(
            command("apply"),
            cwd=machine.folder / "fleet",
            env=os.environ | machine.environment(),
            stderr=full,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert victim.exists()
    assert done.returncode == 3
    assert "problems in the manifests" in done.stdout


def test_the_daemon_outlives_its_log(machine: TestMachine) -> None:
    """It ended with the first line that it could not write, on the very disk that it was to free."""
    run = command("run", "--path", str(machine.manifests), "--interval", "1s", "--scrub-period", "off")
    with (
        FULL.open("w") as full,
        subprocess.Popen(run, env=os.environ | machine.environment(), stdout=full, stderr=full) as daemon,
    ):
        try:
            for _ in range(2):
                victim, until = damaged(machine), time.monotonic() + PATIENCE
                while not victim.exists() and time.monotonic() < until and daemon.poll() is None:
                    time.sleep(0.05)
                assert daemon.poll() is None
                assert victim.exists()
        finally:
            daemon.terminate()
        assert daemon.wait(PATIENCE) == 0


@pytest.mark.parametrize("verb", [["--help"], ["plan", "-o", "json"], ["verify"]])
def test_what_cannot_be_shown_is_an_error_in_words(machine: TestMachine, verb: list[str]) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            command(*verb),
            cwd=machine.folder / "fleet",
            env=os.environ | machine.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: No space left on device")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["2>&-", "0<&- 1>&- 2>&-"])
def test_a_stream_that_is_closed_gives_its_number_to_nobody(machine: TestMachine, closed: str) -> None:
    """The first file that we opened got it, and was written to by whoever prints."""
    victim = damaged(machine)
    (machine.manifests / "bad.yaml").write_text("kind: x\n")
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command("apply")],
        cwd=machine.folder / "fleet",
        env=os.environ | machine.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert victim.exists()
    assert machine.run("verify").code == 0
