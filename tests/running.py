"""`reconciler run` as a child process, watched from outside: its log, its records, its processes."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests import forked
from tests.machine import TestMachine
from tests.waiting import PATIENCE, descendants, seconds_until


class Running:
    """One daemon. Its log is JSON lines in `log`."""

    def __init__(self, machine: TestMachine, process: subprocess.Popen[bytes] | forked.Forked, log: Path) -> None:
        self.machine = machine
        self.process = process
        self.log = log

    def said(self, event: str = "") -> list[dict[str, Any]]:
        """Lines of the log, of one event or all."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if event in ("", entry.get("event"))]

    def until(self, holds: Callable[[], object], what: str, seconds: float = 2 * PATIENCE) -> float:
        """The seconds for which it was seen not to hold (see `waiting.seconds_until`)."""

        def ended_or_holds() -> object:
            return holds() or self.process.poll() is not None

        try:
            took = seconds_until(ended_or_holds, what, seconds)
            assert self.process.poll() is None, "the daemon ended"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text()[-4000:]}") from None
        return took

    def served(self) -> set[str]:
        return set(self.machine.index())

    def children(self) -> list[int]:
        """Every process below the daemon that lives (Linux)."""
        return descendants(self.process.pid)

    def ready(self, variant: str) -> bool:
        conditions = self.condition(variant)
        return conditions.get("Ready", {}).get("status") == "True"

    def condition(self, variant: str) -> dict[str, Any]:
        done = self.machine.run("status", "-o", "json")
        held = {one["variant"]: one["conditions"] for one in json.loads(done.out)["variants"]}
        return {one["type"]: one for one in held.get(variant, [])}

    def stop(self) -> int:
        """Its exit code. It has ended by itself and within its own limit, which it would tell of."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        assert "did not end in time" not in self.log.read_text()
        return code


@contextlib.contextmanager
def running(machine: TestMachine, *arguments: str, **environment: str) -> Iterator[Running]:
    log = machine.folder / "daemon.log"
    (machine.folder / "fleet").mkdir(exist_ok=True)
    given = os.environ | machine.environment() | environment
    with open(log, "wb") as said:
        process = forked.start(["run", *arguments], machine.folder / "fleet", given, said)
    try:
        yield Running(machine, process, log)
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)
            raise
