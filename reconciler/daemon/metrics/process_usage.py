"""This process's memory and CPU time: figures for /metrics, nothing is decided by them."""

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
