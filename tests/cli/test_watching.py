"""`status --watch` and `events --follow`, on a pipe and on a terminal, until Ctrl-C."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.domain.layout import Layout
from reconciler.state.records import Records
from tests.at_rest import edit_catalog, serve
from tests.machine import TestMachine
from tests.waiting import PATIENCE


class Watched:
    """A command that does not end by itself; what it has said so far is kept."""

    def __init__(self, process: subprocess.Popen[bytes], reading: int) -> None:
        self.process = process
        self.said = b""
        self._reading = reading

    def until(self, *words: str) -> None:
        """Read on until all of it has been said."""
        deadline = time.monotonic() + PATIENCE
        while not all(word.encode() in self.said for word in words):
            assert time.monotonic() < deadline, self.said
            self.look()

    def look(self) -> None:
        if select.select([self._reading], [], [], 0.1)[0]:
            self.said += os.read(self._reading, 65536)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@contextmanager
def watched(machine: TestMachine, *arguments: str, terminal: bool = False) -> Iterator[Watched]:
    reading, writing = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", *arguments],
        cwd=machine.folder / "fleet",
        env=os.environ | machine.environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    try:
        yield Watched(process, reading)
    finally:
        process.kill()
        process.communicate()
        os.close(reading)


def append(machine: TestMachine, message: str, variant: str = "capitals-int4") -> None:
    records = Records(Layout(str(machine.root)))
    records.append_event({"time": "2026-01-01T00:00:00Z", "type": "test", "variant": variant, "message": message})


def test_status_is_shown_again_and_tells_what_changed(machine: TestMachine) -> None:
    with watched(machine, "status", "--watch") as one:
        one.until("capitals-int4:1", "applied revision")
        assert b"is gone" not in one.said
        edit_catalog(machine, lambda entries: {})
        one.until("capitals-int4: registration removed")
        assert b"\x1b" not in one.said
        assert one.interrupt() == 130
        assert one.process.stderr is not None
        assert one.process.stderr.read() == b""


def test_on_a_terminal_it_is_shown_in_place(machine: TestMachine) -> None:
    with watched(machine, "status", "-w", terminal=True) as one:
        one.until("\x1b[H\x1b[2J", "capitals-int4:1")
        assert one.interrupt() == 130


def test_a_watched_machine_may_begin_empty(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    with watched(machine, "status", "--watch") as one:
        one.until("nothing is served")
        serve(machine)
        one.until("capitals-int4:1")


def test_events_are_followed_through_a_rotation(machine: TestMachine) -> None:
    append(machine, "before")
    append(machine, "of another", "rivers-int4")
    with watched(machine, "events", "capitals", "--follow", "-n", "1", "-o", "json") as one:
        one.until("before")
        append(machine, "during")
        one.until("during")
        log = machine.root / "records" / "events.jsonl"
        log.rename(log.with_name("events.1.jsonl"))
        append(machine, "after")
        one.until("after")
        assert one.interrupt() == 130
        told = [json.loads(line)["message"] for line in one.said.splitlines()]
        assert told == ["before", "during", "after"]


def test_it_ends_when_its_reader_is_gone(machine: TestMachine) -> None:
    append(machine, "before")
    with watched(machine, "events", "--follow") as one:
        one.until("before")
        os.dup2(os.open(os.devnull, os.O_RDONLY), one._reading)  # the pipe has no reader any more
        append(machine, "after")
        assert one.process.wait(PATIENCE) == 1
