"""The memory that this process may use: the machine's, or its container's where that has less (control groups of Linux,
both versions)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
# By controller, as /proc/self/cgroup names it: the folder below _GROUPS, and the files for the limit, what is used, and
# the entry of memory.stat for what of that is only kept from files.
_FILES = {
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def memory_bytes() -> int:
    """All of it, used or not."""
    return min(int(psutil.virtual_memory().total), *(limit for limit, _ in _limits(_OWN_GROUPS, _GROUPS)), 1 << 62)


def free_memory() -> int:
    """What could be had of it now: what the system can drop, such as files that it keeps, is free."""
    left = (limit - used for limit, used in _limits(_OWN_GROUPS, _GROUPS))
    return max(0, min(int(psutil.virtual_memory().available), *left, 1 << 62))


def _limits(own: Path, root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of this process's group and of those above it, where there is a limit."""
    with suppress(OSError, ValueError):
        for line in own.read_text(encoding="utf-8").splitlines():
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
        at_most = int((place / limit).read_text(encoding="ascii"))
        held = int((place / used).read_text(encoding="ascii"))
        stat = dict(line.split() for line in (place / "memory.stat").read_text(encoding="ascii").splitlines())
        yield at_most, held - int(stat.get(dropped, 0))
