"""The processes below one: who they are, what they use, and their end. Linux; elsewhere nobody is found.

A process can leave its group and its session, but not its ancestors, as long as the eldest adopts orphans
(`host.confine`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

ROUNDS = 50  # of looking for more, while somebody multiplies
LAST_SECONDS, LOOK_SECONDS = 2.0, 0.005  # for the killed to be gone, and between two looks


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in _names(f"/proc/{pid}/task"):
        found += map(int, _text(f"/proc/{pid}/task/{task}/children").split())
    return found


def descendants(pid: int) -> Iterator[int]:
    for child in children(pid):
        yield child
        yield from descendants(child)


def memory_of(pid: int) -> int:
    """Bytes that nobody gets back by forgetting a file: mapped weights do not count."""
    return sum(
        int(line.split()[1]) * 1024
        for line in _text(f"/proc/{pid}/status").splitlines()
        if line.startswith(("RssAnon:", "RssShmem:"))
    )


def end(pid: int) -> None:
    """It and all below it. First they are stopped: who is stopped has no more children. Afterwards none of them does
    anything any more, unless the kernel holds it up for seconds."""
    stopped: set[int] = set()
    for _ in range(ROUNDS):
        new = {pid, *descendants(pid)} - stopped
        for one in new:
            _signal(one, signal.SIGSTOP)
        stopped |= new
        if not new:
            break
    for one in stopped:
        _signal(one, signal.SIGKILL)
    deadline = time.monotonic() + LAST_SECONDS
    while any(map(_acts, stopped)) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _acts(pid: int) -> bool:
    """Whoever waits for a zombie finds nothing but its exit code."""
    return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1] not in ([], ["Z"], ["X"])


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
