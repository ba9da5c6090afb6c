"""Somebody sets the clock while the daemon runs. libfaketime is told so by a file, and leaves the monotonic clock
alone, as setting a real clock does."""

import glob
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from reconciler.operations.verify import verify
from tests.at_rest import opened, serve
from tests.daemon.process import running
from tests.machine import TestMachine, put

FAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), "")

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not FAKETIME, reason="libfaketime is not installed")


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clock_that_is_set_prunes_nothing_and_stops_no_pass(tmp_path: Path, capitals: Path, years: int) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare(precisions="int4, int8")
    serve(machine)
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    faked = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with running(machine, "--interval", "200ms", **faked) as daemon:
        daemon.expect("ready")
        first = daemon.expect("started")["timestamp"]
        clock.write_text(f"{years * 365:+d}d\n")
        time.sleep(1.0)
        put(machine.manifests / "capitals.yaml", "kind: Nonsense\n")
        daemon.expect("declaration.problem")
        machine.declare(precisions="int4, int8")
        assert daemon.expect("declaration.mended")["timestamp"][:4] == str(int(first[:4]) + years)
        daemon.send(signal.SIGHUP)
        assert daemon.woken_by("sighup")["converged"]
        assert len(machine.index()) == 2
        assert not daemon.events("pass.failed"), "".join(daemon.raw)
        assert daemon.end() == 0
    for left in glob.glob(f"/dev/shm/*faketime_*_{daemon.pid}"):
        os.unlink(left)
    assert verify(opened(machine)) == ()
