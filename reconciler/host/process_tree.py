"""The processes below one: who they are, the memory that they hold, and their end.

A process can leave its group and its session, but not its ancestors, as long as the eldest adopts orphans
(`host.confine`).
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

ROUNDS = 50  # of looking for more, while a process multiplies
LAST_SECONDS, LOOK_SECONDS = 2.0, 0.005  # for the killed to be gone, and between two looks
IS_LINUX = sys.platform.startswith("linux")


def children(pid: int) -> list[int]:
    """On Linux from the process's own list: psutil reads every process of the machine to find the children of one, and
    the guard of conversions asks ten times a second."""
    if not IS_LINUX:
        with suppress(psutil.Error):
            return [child.pid for child in psutil.Process(pid).children()]
        return []
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, _text(f"/proc/{pid}/task/{task}/children").split())
    return found


def descendants(pid: int) -> Iterator[int]:
    for child in children(pid):
        yield child
        yield from descendants(child)


def memory_of(pid: int) -> int:
    """Bytes without what the system can drop because it is in a file: mapped weights do not count. On Linux psutil's
    quick figures hold mapped files too, and its exact one leaves out memory files (tmpfs)."""
    if not IS_LINUX:
        with suppress(psutil.Error):
            return int(psutil.Process(pid).memory_full_info().uss)
        return 0
    return sum(
        int(line.split()[1]) * 1024
        for line in _text(f"/proc/{pid}/status").splitlines()
        if line.startswith(("RssAnon:", "RssShmem:"))
    )


def end(pid: int) -> None:
    """End it and all below it. First they are stopped, because a stopped process starts no more children. Afterwards
    none of them runs, unless the kernel holds one up for longer than LAST_SECONDS."""
    stopped: dict[int, psutil.Process | None] = {}
    for _ in range(ROUNDS):
        new = {pid, *descendants(pid)} - stopped.keys()
        for one in new:
            stopped[one] = _stopped(one)
        if not new:
            break
    processes = [process for process in stopped.values() if process is not None]
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    deadline = time.monotonic() + LAST_SECONDS
    while any(map(_runs, processes)) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _stopped(pid: int) -> psutil.Process | None:
    process = None
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        process.suspend()
    return process


def _runs(process: psutil.Process) -> bool:
    """A zombie does not: only its exit code is left."""
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
