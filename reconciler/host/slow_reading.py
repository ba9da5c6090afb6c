"""Read big files a slice at a time, out of everybody's way: the slices are dropped from the page cache again, and the
thread that reads has the lowest priority for processor and disk."""

import contextlib
import errno
import hashlib
import os
import stat
import sys

SLICE = 4 << 20
FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


class SlowFile:
    """Of a regular file that is open. OSError where it cannot be read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._hashing = hashlib.sha256()
        self.done = 0
        self._descriptor = os.open(path, FLAGS)
        self.status = os.fstat(self._descriptor)
        if not stat.S_ISREG(self.status.st_mode):
            self.close()
            raise OSError(errno.EINVAL, "not a regular file", path)

    def read(self, most: int) -> int:
        """Bytes that were read; 0 at the end."""
        data = os.read(self._descriptor, most)
        self._hashing.update(data)
        if data and hasattr(os, "posix_fadvise"):
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._descriptor, self.done, len(data), os.POSIX_FADV_DONTNEED)
        self.done += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        return "sha256:" + self._hashing.hexdigest()

    def ended_as(self) -> os.stat_result:
        """Its status now: another one than at the beginning when somebody wrote, linked or replaced meanwhile."""
        return os.fstat(self._descriptor)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def step_back() -> None:
    """The calling thread alone. The schedulers of disks take the lowest class from the lowest niceness."""
    if sys.platform == "linux":  # elsewhere the whole process would step back
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, 19)
