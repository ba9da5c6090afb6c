"""What a service manager hears, at a real datagram socket: by path and abstract, as systemd offers both."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import cast

import pytest

from reconciler.daemon.pass_log import StepLog
from reconciler.daemon.sd_notify import Service
from reconciler.daemon.state import Board
from reconciler.daemon.watchdog import PATIENCE, Watchdog
from tests.at_rest import serve
from tests.daemon.process import running
from tests.machine import TestMachine
from tests.waiting import settled, until, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sd_notify is Linux's")


class Manager:
    """Keeps what it hears."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._heard: list[str] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    @property
    def heard(self) -> list[str]:
        """All that has been said until now."""
        mark = f"until now: {time.monotonic_ns()}"
        self._say(mark)
        until(lambda: mark in self._heard)
        return [line for line in list(self._heard) if not line.startswith("until now: ")]

    def close(self) -> None:
        self._say("")
        self._listener.join()
        self._socket.close()

    def _listen(self) -> None:
        """At any time, as a manager does: few messages fit into the socket, and those that do not are lost."""
        while said := self._socket.recv(4096).decode():
            self._heard.append(said)

    def _say(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine:
            mine.sendto(text.encode(), self._socket.getsockname())


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = f"@reconciler-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    one = Manager(name)
    yield one
    one.close()


@pytest.mark.parametrize("address", ["", "nonsense", "/nowhere/socket", "@nobody-listens"])
def test_a_manager_that_does_not_listen_harms_nothing(address: str) -> None:
    Service({"NOTIFY_SOCKET": address}).ready()


def test_ready_is_told_once_and_again_after_a_reload(manager: Manager) -> None:
    service = Service({"NOTIFY_SOCKET": manager.address})
    service.ready()
    service.ready()
    service.reloading()
    service.ready()
    heard = [line.split("=")[0] for line in manager.heard]
    assert heard == ["READY", "RELOADING", "READY"]
    assert manager.heard[1].splitlines()[1].startswith("MONOTONIC_USEC=")


def test_a_status_is_one_line(manager: Manager) -> None:
    Service({"NOTIFY_SOCKET": manager.address}).status("bad\nREADY=0\tname")
    assert manager.heard == ["STATUS=bad READY=0 name"]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_whom_the_watchdog_watches(environment: dict[str, str], seconds: float) -> None:
    assert Service(environment).watchdog == seconds


def test_the_watchdog_hears_of_a_loop_that_lives_and_not_of_one_that_hangs(manager: Manager) -> None:
    service = Service({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"})
    with Watchdog(service) as pulse:
        until(lambda: manager.heard.count("WATCHDOG=1") >= 3)
        pulse.alive(-PATIENCE)  # what it said that it would need is over
        hung = len(settled(lambda: manager.heard, quiet=0.5))
        StepLog(pulse.alive, cast("Board", None)).alive()  # a step that got on, and shows no progress
        until(lambda: len(manager.heard) > hung)


def test_the_life_of_a_daemon(manager: Manager, tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    serve(machine)
    named = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    with running(machine, "--interval", "1h", **named) as daemon:
        daemon.expect("ready")
        until(lambda: "WATCHDOG=1" in manager.heard)
        daemon.send(signal.SIGHUP)
        life = ["READY=1", "STATUS=converged", "RELOADING=1", "READY=1", "STATUS=converged"]
        assert wait_for(lambda: told(manager) == life), told(manager)
        assert daemon.end() == 0
    assert told(manager) == [*life, "STOPPING=1"]


def told(manager: Manager) -> list[str]:
    said = [line.partition(" at ")[0].splitlines()[0] for line in manager.heard if line != "WATCHDOG=1"]
    return [line for line, _ in groupby(said)]  # a pass that came by itself says the same once more
