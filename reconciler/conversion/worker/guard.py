"""A thread of the worker that checks the jobs ten times a second and ends those that exceed their limits.

Memory is measured and not limited by the kernel: an address space limit would refuse the mapping of weights, which
costs nothing. Whatever a job leaves behind is ended as well, also where it has left the job's group and session.
Not caught: what a job allocates within a tenth of a second; memory files that it does not map.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

from reconciler.conversion.order import DISK_LIMIT, MEMORY_LIMIT, PROCESS_LIMIT
from reconciler.conversion.worker.running import Breach, Running
from reconciler.host import processes
from reconciler.host.system import allocated

LOOK_SECONDS = 0.1
LOOKS_A_COUNT = 5  # a folder is measured less often than memory
MOST_PROCESSES = 64  # of one job: Olive starts none


class Guard:
    """`jobs` gives the running ones. Hold `forking` from the fork of a job until it is among them, because any other
    child of this process is ended as a stray."""

    def __init__(self, jobs: Callable[[], Iterable[Running]]) -> None:
        self._jobs = jobs
        self.forking = threading.Lock()
        self._over = threading.Event()
        self._looks = 0

    def start(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        self._over.set()
        self._end_strays()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        self._looks += 1
        self._end_strays()
        for job in tuple(self._jobs()):
            breach = _breach(job, measure_disk=self._looks % LOOKS_A_COUNT == 0)
            if breach is not None and job.breach is None:
                job.breach = breach
                processes.end(job.pid)

    def _end_strays(self) -> None:
        with self.forking:
            known = {job.pid for job in self._jobs()}
            for pid in set(processes.children(os.getpid())) - known:
                processes.end(pid)
                if sys.platform != "win32":
                    with suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)


def _breach(job: Running, *, measure_disk: bool) -> Breach | None:
    bounds, pids = job.bounds, [job.pid, *processes.descendants(job.pid)]
    if len(pids) > MOST_PROCESSES:
        return PROCESS_LIMIT, f"it started more than {MOST_PROCESSES} processes"
    if bounds.memory_bytes and sum(map(processes.memory_of, pids)) > bounds.memory_bytes:
        return MEMORY_LIMIT, f"it held more than {bounds.memory_bytes} bytes of memory"
    if measure_disk and bounds.disk_bytes and size_of(job.scratch) > bounds.disk_bytes:
        return DISK_LIMIT, f"it wrote more than {bounds.disk_bytes} bytes"
    return None


def size_of(folder: str) -> int:
    """What it occupies on the disk, so that a sparse file counts little. Follows no link."""
    total = 0
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            with suppress(OSError):  # it has just gone
                total += allocated(os.lstat(os.path.join(parent, name)))
    return total
