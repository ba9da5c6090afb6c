"""Digests for the full check: every byte is read, whatever a stamp remembers.

A file with several names (a blob and the served folders that share it) is read once. What was remembered is only
compared: a file whose stamp vouches for other bytes is one that the quick check of each pass takes for whole.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable

from reconciler.host.stamps import StampBook

CHUNK = 4 << 20


class EveryByte(StampBook):
    """Never saved. `told` hears of bytes as they are read."""

    def __init__(self, remembered: StampBook, told: Callable[[int], None]) -> None:
        super().__init__("", {})
        self._remembered = remembered
        self._told = told
        self._read: dict[tuple[int, int], str] = {}
        self._rotten: set[tuple[int, int]] = set()

    def known(self, path: str) -> str | None:
        """Nothing is, until it has been read."""
        return self._read.get(_identity(os.stat(path)))

    def is_rotten(self, path: str) -> bool:
        """The bytes changed and the stamp did not: no pass will notice."""
        try:
            return _identity(os.stat(path)) in self._rotten
        except OSError:
            return False

    def _hash(self, path: str) -> str:
        hashing = hashlib.sha256()
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            while chunk := file.read(CHUNK):
                hashing.update(chunk)
                self._told(len(chunk))
        digest = "sha256:" + hashing.hexdigest()
        self._read[_identity(status)] = digest
        if self._remembered.known(path) not in (None, digest):  # guard: rot is found
            self._rotten.add(_identity(status))
        return digest


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
