"""Reads files whose content others may have chosen: whatever is at a path, reading it ends soon. A pipe is not waited
for, a file of no sane size is not read, a file that decides whom this machine trusts must be safe from others.

Small files take four system calls: `open()` costs four times as much, and a pass reads hundreds.
"""

import contextlib
import errno
import hashlib
import os
import stat
import sys

from reconciler.domain.errors import ReconcilerError
from reconciler.host import system

LIMIT = 64 << 20  # bytes; nothing that we write for ourselves comes near
SLICE = 4 << 20
FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)  # a FIFO must not make us wait


def names_in(folder: str) -> list[str]:
    """Sorted; empty for a folder that does not exist or cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


class NotTrusted(ReconcilerError): ...


def size_of(path: str) -> int:
    """Bytes of a file, itself and not what a link leads to; 0 where there is none."""
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def open_regular(path: str, *, flags: int = 0) -> tuple[int, os.stat_result]:
    """A descriptor to read from, and its status. OSError (EINVAL) for what is no regular file."""
    descriptor = os.open(path, FLAGS | flags)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):  # guard: a pipe is not waited for
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor, status


def read_whole(path: str, limit: int = LIMIT) -> bytes:
    """OSError also for what is no regular file (EINVAL), and for one that is longer than `limit` (EFBIG)."""
    descriptor, status = open_regular(path)
    try:
        if status.st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return os.read(descriptor, status.st_size)
    finally:
        os.close(descriptor)


def read_trusted(path: str, limit: int) -> bytes:
    """OSError when it cannot be read; NotTrusted when another user can write it, or its folder."""
    descriptor = os.open(path, FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotTrusted(f"{path} is not a regular file")
        folder = os.path.dirname(os.path.realpath(path))
        if system.HAS_OWNERS:  # Windows has no modes; there the folder's own rights must do (docs/configuration.md)
            _check_owner_and_mode(path, status)
            _check_owner_and_mode(folder, os.stat(folder))
        if status.st_size > limit:
            raise NotTrusted(f"{path} is longer than {limit} bytes")
        return os.read(descriptor, limit)
    finally:
        os.close(descriptor)


def is_readable_by_all(path: str) -> bool:
    """Whether every user of this machine may read it: a file with a secret should not be."""
    try:
        return system.HAS_OWNERS and bool(os.stat(path).st_mode & stat.S_IROTH)
    except OSError:
        return False


def _check_owner_and_mode(path: str, status: os.stat_result) -> None:
    ours = (0, system.user_id())
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid not in ours:
        hint = "chown it to root or to the user that runs reconciler: it decides whom this machine trusts"
        raise NotTrusted(f"{path} belongs to another user (uid {status.st_uid})", hint=hint)
    if stat.S_ISDIR(status.st_mode) and mode & stat.S_ISVTX:
        return  # as /tmp: no user can replace another's file in there
    if (
        mode & stat.S_IWOTH  # guard: a configuration that others can write
        or (mode & stat.S_IWGRP and status.st_gid not in (0, system.group_id()))
    ):
        who = "everybody" if mode & stat.S_IWOTH else f"group {status.st_gid}"
        raise NotTrusted(f"{path} can be written by {who} (mode {mode:o})", hint=f"chmod go-w {path}")


class SlowFile:
    """Reads a big regular file a slice at a time and drops the slices from the page cache again, so that they push
    nothing else out of it. OSError where it cannot be read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._hashing = hashlib.sha256()
        self.done = 0
        self._descriptor, self.status = open_regular(path, flags=getattr(os, "O_NOFOLLOW", 0))

    def read(self, most: int) -> int:
        """Bytes that were read; 0 at the end."""
        data = os.read(self._descriptor, most)
        self._hashing.update(data)
        if data and sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._descriptor, self.done, len(data), os.POSIX_FADV_DONTNEED)
        self.done += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        return "sha256:" + self._hashing.hexdigest()

    def ended_as(self) -> os.stat_result:
        """Its status now: another one than at the beginning when it was written, linked or replaced meanwhile."""
        return os.fstat(self._descriptor)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def step_back() -> None:
    """Give the calling thread alone the lowest priority for processor and disk. The schedulers of disks take
    the lowest class from the lowest niceness."""
    if sys.platform == "linux":  # elsewhere the whole process would step back
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 19)
