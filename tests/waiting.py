"""Waiting for what another thread or process does, and looking at processes. No test depends on who is faster: it
waits for a state, with a deadline that only a hang reaches, and says of a promise in seconds only what it has seen."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

PATIENCE = 90.0  # seconds; where nothing is promised a busy machine may take long
STEP = 0.02
WORK = 4_000_000  # rounds of a loop, and the CPU seconds that they took where the promises were measured
WORK_SECONDS = 0.12
Seen = TypeVar("Seen")


def wait_for(true: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether it became true in time. There is a look after the deadline: who sleeps meanwhile has missed nothing."""
    deadline = time.monotonic() + seconds
    while True:
        late = time.monotonic() > deadline
        if true():
            return True
        if late:
            return False
        time.sleep(STEP)


def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    assert wait_for(true, seconds), f"it did not happen within {seconds:g} s"


def seconds_until(true: Callable[[], object], what: str = "it", seconds: float = PATIENCE) -> float:
    """For a promise in seconds: how long from now it was seen not to hold. That this process was not running for a
    while does not count. Compare it with `Slower.now().clock` times the promise: a busy machine takes longer."""
    began, seen = time.monotonic(), 0.0
    while True:
        looked = time.monotonic()
        if true():
            return seen
        seen = looked - began
        assert seen < seconds, f"{what}: not within {seconds:g} s"
        time.sleep(STEP)


@dataclass(frozen=True)
class Slower:
    """How many times longer a piece of work takes than on the machine where the promises were measured, when that had
    nothing else to do: by the clock (others work here too), and in CPU seconds (it is another machine)."""

    clock: float
    cpu: float

    @classmethod
    def now(cls) -> "Slower":
        clock, cpu = time.monotonic(), time.thread_time()
        for number in range(WORK):
            number & 7
        return cls(
            clock=max((time.monotonic() - clock) / WORK_SECONDS, 1.0),
            cpu=max((time.thread_time() - cpu) / WORK_SECONDS, 1.0),
        )


def settled(look: Callable[[], Seen], quiet: float = 1.0, seconds: float = PATIENCE) -> Seen:
    """What `look` gives once it has been the same for `quiet` seconds."""
    deadline = time.monotonic() + seconds
    held, since = look(), time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < deadline + quiet, f"it never rests: {held}"
        time.sleep(STEP)
        found = look()
        if found != held:
            held, since = found, time.monotonic()
    return held


def is_alive(pid: int) -> bool:
    """A zombie is not; who reaps an orphan is not our affair."""
    if sys.platform == "win32":
        return psutil.pid_exists(pid)
    return _look(pid)[0] not in ("", "Z", "X")


def children_of(pid: int) -> list[int]:
    """Also those that have ended and that nobody has waited for."""
    return [one for one in _pids() if _look(one)[1] == pid]


def descendants(pid: int) -> list[int]:
    """All that live below it. Asked of every process: not each kernel lists the children of one."""
    parents = {one: parent for one in _pids() for state, parent in [_look(one)] if state not in ("", "Z", "X")}
    found = [pid]
    for parent in found:  # it grows meanwhile
        found.extend(one for one, its in parents.items() if its == parent)
    return found[1:]


def command_line(pid: int) -> str:
    """ "" for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def cpu_seconds(pid: int) -> float:
    """Of one process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _look(pid: int) -> tuple[str, int]:
    """(state, parent); nothing for one that is gone."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return "", 0
    return state, int(parent)
