"""This process's memory and CPU time, and the size of a folder of files: figures for /metrics, nothing is decided by
them."""

import contextlib
import os
import sys
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, kw_only=True)
class ProcessUsage:
    """Without child processes."""

    cpu_seconds: float
    resident: int
    python: str


def this_process() -> ProcessUsage:
    process = psutil.Process()
    times = process.cpu_times()
    return ProcessUsage(
        cpu_seconds=times.user + times.system, resident=process.memory_info().rss, python=sys.version.partition(" ")[0]
    )


def size_of(folder: str) -> int:
    """Of the files directly in it. A file that goes meanwhile does not count."""
    total = 0
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
    return total
