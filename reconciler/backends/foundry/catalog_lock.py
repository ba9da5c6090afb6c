"""Which process holds the lock of Foundry Local's catalog, read from the kernel's list of locks without taking it.
Linux only; elsewhere the holder is unknown.

Any application that shares the cache may hold it, and while one does, every call of every other one waits, up to ten
minutes.
"""

import contextlib
import os
import time

from reconciler.backends.foundry.index import LOCK
from reconciler.domain.text.escape import one_line

LOCKS = "/proc/locks"
LOOK_AGAIN = 0.25  # seconds


def holder(cache_dir: str) -> str:
    """`pid 123 (name)`; "" when it is free, or the holder is unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = os.stat(os.path.join(cache_dir, LOCK))
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        with open(LOCKS, encoding="ascii") as file:
            for line in file:
                words = line.split()
                if words[1] == "FLOCK" and words[5] == place:
                    return f"pid {words[4]}{_named(words[4])}"
    return ""


def wait_until_free(cache_dir: str, seconds: float) -> str:
    """The holder that is left after that long; "" as soon as it is free."""
    until = time.monotonic() + seconds
    while (held_by := holder(cache_dir)) and time.monotonic() < until:
        time.sleep(LOOK_AGAIN)
    return held_by


def _named(pid: str) -> str:
    """A process of another namespace has no name here."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return f" ({one_line(file.read().strip())})"
    except OSError:
        return ""
