"""A real `reconciler run` as a child process, and what its log says."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests import forked
from tests.machine import TestMachine
from tests.waiting import PATIENCE, children_of, is_alive, wait_for

__all__ = ["Daemon", "children_of", "is_alive", "running", "wait_for"]

Line = dict[str, Any]


class Daemon:
    """Its log is read by a thread, so that it never waits for us."""

    def __init__(self, machine: TestMachine, *arguments: str, **environment: str) -> None:
        self.lines: list[Line] = []
        self.raw: list[str] = []
        reading, writing = os.pipe()
        self._log = os.fdopen(reading, encoding="utf-8", errors="backslashreplace")
        given = os.environ | machine.environment() | environment
        with os.fdopen(writing, "w") as log:
            self.process = forked.start(["run", *arguments], machine.folder / "fleet", given, log)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self) -> None:
        for text in self._log:
            self.raw.append(text)
            with contextlib.suppress(ValueError):
                self.lines.append(json.loads(text))

    def events(self, name: str) -> list[Line]:
        return [line for line in self.lines if line["event"] == name]

    def expect(self, name: str, count: int = 1, seconds: float = PATIENCE) -> Line:
        """The `count`-th line of that event, as soon as it is there."""
        self._wait_for(lambda: len(self.events(name)) >= count, seconds)
        found = self.events(name)
        assert len(found) >= count, "".join(self.raw)
        return found[count - 1]

    def woken_by(self, reason: str, seconds: float = PATIENCE) -> Line:
        """The first summary of a pass that this reason woke."""
        self._wait_for(lambda: self._woken_by(reason) is not None, seconds)
        line = self._woken_by(reason)
        assert line is not None, "".join(self.raw)
        return line

    def _wait_for(self, true: Callable[[], bool], seconds: float) -> None:
        """Or until it has ended, and all that it said has been read."""
        wait_for(lambda: true() or self.process.poll() is not None, seconds)
        if self.process.poll() is not None:
            self._reader.join(PATIENCE)

    def _woken_by(self, reason: str) -> Line | None:
        return next((line for line in self.events("pass.summary") if reason in line["woken"]), None)

    def rest(self) -> None:
        """Until the pass has ended that the first one asks for, because it watches other folders: what a test does from
        now on wakes the loop by itself."""
        self.expect("ready")
        self.send(signal.SIGHUP)
        self.woken_by("sighup")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code. It has ended by itself and within its own limit, which it would tell of."""
        self.send(number)
        code = self.process.wait(PATIENCE)
        self._close()
        assert "did not end in time" not in "".join(self.raw)
        return code

    def _close(self) -> None:
        self._reader.join(PATIENCE)
        self._log.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
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
