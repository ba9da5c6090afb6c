"""Other processes: those below one, the memory that they hold, the files that they have mapped, and their end.

A process can leave its group and its session, but not its ancestors, as long as the eldest adopts orphans
(`host.confine`). psutil answers, but where its answer is too slow or counts mapped weights as memory.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import psutil

from reconciler.domain.measured import MemorySample
from reconciler.host import system

ROUNDS = 50  # of looking for more, while a process multiplies
LAST_SECONDS, LOOK_SECONDS = 2.0, 0.005  # for the killed to be gone, and between two looks
SAMPLING = 0.02  # seconds between two samples
MOST_SAMPLES = 2000  # when there are more, every second one goes and the interval is doubled
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


def resident(pid: int) -> int:
    """Bytes that a process holds in memory, mapped files included; 0 when it is gone or may not be looked at."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def memory_of(pid: int) -> int:
    """Bytes without what the system can drop because it is in a file: mapped weights do not count. On Linux psutil's
    quick figures hold mapped files too, and its exact one leaves out memory files (tmpfs)."""
    if not IS_LINUX:
        return system.private_memory(pid)
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


def runs(pid: int) -> bool:
    """Also where another user's process may not be inspected. A zombie does not run: only its exit code is left."""
    try:
        return _runs(psutil.Process(pid))
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def mapped_folders(folders: Iterable[str]) -> frozenset[str]:
    """Those of `folders` from which another process, but none that this one started, maps a file: a runtime may serve
    from there. Only processes that this user may inspect are seen, and no model that a runtime has copied into memory.
    macOS gives no answer."""
    starts = {os.path.normcase(os.path.join(folder, "")): folder for folder in folders}
    ours = {os.getpid(), *descendants(os.getpid())}
    found: set[str] = set()
    for pid in psutil.pids():
        text = "" if pid in ours else _maps(pid)
        found |= {folder for start, folder in starts.items() if start in text}
    return frozenset(found)


def _maps(pid: int) -> str:
    """On Linux not by psutil: it reads `smaps`, for which the kernel counts every page of a mapped model."""
    if IS_LINUX:
        return _text(f"/proc/{pid}/maps")
    if sys.platform == "darwin":  # psutil has no `memory_maps` there
        return ""
    with suppress(psutil.Error, OSError):  # the second under Wine, which does not tell
        return "\n".join(os.path.normcase(one.path) for one in psutil.Process(pid).memory_maps())
    return ""


class MemorySampler:
    """A context manager that samples the memory of another process from outside: that process may be busy loading a
    model. `process` gives its id, 0 while there is none."""

    def __init__(self, process: Callable[[], int]) -> None:
        self._process = process
        self._samples: list[MemorySample] = []
        self._started = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="sampler", daemon=True)

    @property
    def samples(self) -> tuple[MemorySample, ...]:
        return tuple(self._samples)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def __enter__(self) -> "MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        interval = SAMPLING
        while not self._over.wait(interval):
            process = self._process()
            if held := resident(process) if process else 0:
                self._samples.append(MemorySample(seconds=self.elapsed, bytes=held))
            if len(self._samples) > MOST_SAMPLES:
                self._samples, interval = self._samples[::2], interval * 2


def _text(path: str) -> str:
    try:
        return read_unbuffered(path)
    except OSError:
        return ""


def read_unbuffered(path: str | os.PathLike[str]) -> str:
    """A file of /proc or /sys. With a buffer Python would ask the system whether it is a terminal, in each pass."""
    with open(path, "rb", buffering=0) as file:
        return file.read().decode(errors="surrogateescape")
