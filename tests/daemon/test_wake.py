"""What wakes the loop: nothing is lost, nothing is said twice, and a signal handler may do it at any moment."""

import os
import signal
import sys
import threading
import time

import pytest

from reconciler.daemon.wake import Wake
from tests.waiting import PATIENCE


def test_a_reason_is_told_once() -> None:
    wake = Wake()
    for reason in ("webhook", "machine", "webhook"):
        wake.wake(reason)
    assert wake.wait(5.0) == {"webhook", "machine"}
    assert wake.wait(0.0) == set()


def test_what_comes_during_a_pass_wakes_the_next() -> None:
    wake = Wake()
    wake.wake("machine")
    wake.wait(5.0)
    wake.wake("machine")
    assert wake.wait(0.0) == {"machine"}
    assert wake.wait(0.0) == set()


def test_another_thread_ends_the_wait_at_once() -> None:
    wake = Wake()
    started = time.monotonic()
    timer = threading.Timer(0.05, wake.wake, ("webhook",))
    timer.start()
    assert wake.wait(600.0) == {"webhook"}
    assert time.monotonic() - started < PATIENCE
    timer.join()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_signal_ends_the_wait_at_once() -> None:
    wake = Wake()
    before = signal.signal(signal.SIGHUP, lambda number, frame: wake.wake("sighup"))
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGHUP))
        timer.start()
        assert wake.wait(30.0) == {"sighup"}
        timer.join()
    finally:
        signal.signal(signal.SIGHUP, before)
