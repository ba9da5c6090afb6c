"""The memory that this process may use: the machine's, or its container's where that has less (control groups of Linux,
both versions)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from reconciler.host.processes import read_unbuffered

_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# By controller, as /proc/self/cgroup names it: the folder below _GROUPS, and the files for the limit, what is used, and
# the entry of memory.stat for what of that is only kept from files.
_FILES = {
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def memory_now() -> tuple[int, int]:
    """All of it, and what could be had of it now: what the system can drop, such as files that it keeps, is free."""
    machine, limits = psutil.virtual_memory(), [*_limits(_OWN_GROUPS, _GROUPS)]
    total = min([int(machine.total), *(limit for limit, _ in limits)])
    return total, max(0, min([int(machine.available), *(limit - used for limit, used in limits)]))


def memory_bytes() -> int:
    return memory_now()[0]


def _limits(own: Path, root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of this process's group and of those above it, where there is a limit."""
    with suppress(OSError, ValueError):
        for line in read_unbuffered(own).splitlines():
            _, controllers, group = line.split(":", 2)
            kind = next((one for one in controllers.split(",") if one in _FILES), None)
            if kind is not None:
                folder = root / _FILES[kind][0]
                inner = folder / group.lstrip("/")
                for place in (inner, *inner.parents):
                    yield from _limit(place, *_FILES[kind][1:])
                    if place == folder:
                        break


def _limit(place: Path, limit: str, used: str, dropped: str) -> Iterator[tuple[int, int]]:
    with suppress(OSError, ValueError):  # no such file, or "max"
        at_most, held = int(read_unbuffered(place / limit)), int(read_unbuffered(place / used))
        stat = dict(line.split() for line in read_unbuffered(place / "memory.stat").splitlines())
        yield at_most, held - int(stat.get(dropped, 0))
