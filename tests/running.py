"""`reconciler run` as a child process, watched from outside: its log, its records, its processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.machine import TestMachine


class Running:
    """One daemon. Its log is JSON lines in `log`."""

    def __init__(self, machine: TestMachine, process: subprocess.Popen[bytes], log: Path) -> None:
        self.machine = machine
        self.process = process
        self.log = log

    def said(self, event: str = "") -> list[dict[str, Any]]:
        """Lines of the log, of one event or all."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if event in ("", entry.get("event"))]

    def until(self, holds: Callable[[], object], seconds: float, what: str) -> float:
        """Seconds until it held."""
        started = time.monotonic()
        while not holds():
            assert self.process.poll() is None, f"the daemon ended: {self.log.read_text()[-4000:]}"
            passed = time.monotonic() - started
            assert passed < seconds, f"not within {seconds} s: {what}\n{self.log.read_text()[-4000:]}"
            time.sleep(0.02)
        return time.monotonic() - started

    def served(self) -> set[str]:
        return set(self.machine.index())

    def children(self) -> list[int]:
        """Every process below the daemon (Linux)."""
        return descendants(self.process.pid)

    def ready(self, variant: str) -> bool:
        conditions = self.condition(variant)
        return conditions.get("Ready", {}).get("status") == "True"

    def condition(self, variant: str) -> dict[str, Any]:
        done = self.machine.run("status", "-o", "json")
        held = {one["variant"]: one["conditions"] for one in json.loads(done.out)["variants"]}
        return {one["type"]: one for one in held.get(variant, [])}

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


@contextlib.contextmanager
def running(machine: TestMachine, *arguments: str, **environment: str) -> Iterator[Running]:
    log = machine.folder / "daemon.log"
    (machine.folder / "fleet").mkdir(exist_ok=True)
    with open(log, "wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler", "run", *arguments],
            cwd=machine.folder / "fleet",
            env=os.environ | machine.environment() | environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        yield Running(machine, process, log)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def descendants(pid: int) -> list[int]:
    try:
        direct = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        return []
    return direct + [below for child in direct for below in descendants(child)]
