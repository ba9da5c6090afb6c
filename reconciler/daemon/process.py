"""This process's memory and CPU time, and the size of a folder of files: figures to show, nothing is decided by
them."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ProcessUsage:
    """`resident` is None where the system does not tell it cheaply (it does on Linux)."""

    cpu_seconds: float
    resident: int | None
    python: str


def this_process() -> ProcessUsage:
    times = os.times()
    return ProcessUsage(
        cpu_seconds=times.user + times.system, resident=_resident(), python=sys.version.partition(" ")[0]
    )


def _resident() -> int | None:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def size_of(folder: str) -> int:
    """Of the files right in it. Those that go while we look count as gone."""
    total = 0
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
    return total
