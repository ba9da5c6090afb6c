"""A real `reconciler run` as a child process, and what its log says."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.machine import TestMachine

Line = dict[str, Any]


class Daemon:
    """Its log is read by a thread, so that it never waits for us."""

    def __init__(self, machine: TestMachine, *arguments: str, **environment: str) -> None:
        self.lines: list[Line] = []
        self.raw: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "run", *arguments],
            cwd=machine.folder / "fleet",
            env=os.environ | machine.environment() | environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.raw.append(text)
            with contextlib.suppress(ValueError):
                self.lines.append(json.loads(text))

    def events(self, name: str) -> list[Line]:
        return [line for line in self.lines if line["event"] == name]

    def expect(self, name: str, count: int = 1, seconds: float = 20.0) -> Line:
        """The `count`-th line of that event, as soon as it is there."""
        wait_for(lambda: len(self.events(name)) >= count or self.process.poll() is not None, seconds)
        found = self.events(name)
        assert len(found) >= count, "".join(self.raw)
        return found[count - 1]

    def woken_by(self, reason: str, seconds: float = 20.0) -> Line:
        """The first summary of a pass that this reason woke."""
        wait_for(lambda: self._woken_by(reason) is not None, seconds)
        line = self._woken_by(reason)
        assert line is not None, "".join(self.raw)
        return line

    def _woken_by(self, reason: str) -> Line | None:
        return next((line for line in self.events("pass.summary") if reason in line["woken"]), None)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 12.0) -> int:
        self.send(number)
        code = self.process.wait(seconds)
        self._close()
        return code

    def _close(self) -> None:
        self._reader.join(10.0)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10.0)
        self._close()

    def children(self) -> list[int]:
        return children_of(self.pid)


@contextlib.contextmanager
def running(machine: TestMachine, *arguments: str, **environment: str) -> Iterator[Daemon]:
    daemon = Daemon(machine, *arguments, **environment)
    try:
        yield daemon
    finally:
        daemon.kill()


def wait_for(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def children_of(pid: int) -> list[int]:
    """Linux: of all its threads."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, tasks.read_text().split())
    return found


def is_alive(pid: int) -> bool:
    """A zombie is not; who reaps an orphan is not our affair."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
