"""Bring the files of one locked source onto this machine. Small ones first: what is wrong with a repository shows
before its gigabytes have come. A download that was cut goes on where it stopped (`RemoteSource.download`).

Each file is hashed when it is whole and compared with the lock. Bytes that are not the locked ones are deleted and
named, and are not asked for again until the lock says something else.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable

from reconciler.domain.errors import PermanentError
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.domain.text.units import size_text
from reconciler.host import durable
from reconciler.sources.protocol import RemoteSource

PART = ".part"  # ends the name of a file that has not come whole


class Download:
    """One source into one folder (`SourceCache.begin`). Nothing is published here."""

    def __init__(
        self, remote: RemoteSource, source: LockedSource, folder: str, on_progress: Callable[[float, str], None]
    ) -> None:
        self._remote = remote
        self._source = source
        self._folder = folder
        self._on_progress = on_progress
        self._done = 0

    def run(self) -> None:
        for file in sorted(self._source.files, key=lambda one: (one.size, one.path)):
            self._have(file)
            self._done += file.size
            self._tell(0, file)

    def _have(self, file: LockedFile) -> None:
        final = os.path.join(self._folder, file.path)
        if _holds(final, file):
            return
        part = final + PART
        for _ in range(2):  # a partial file from earlier may be of other bytes: then once more from its beginning
            began_with = _size(part)
            self._remote.download(self._source, file, part, lambda count: self._tell(count, file))
            self._on_progress(self._fraction(file.size), f"checking {file.path}")
            if _holds(part, file):
                durable.adopt(part, final)
                return
            _remove(part)
            if not began_with:
                break
        raise self._mismatch(file)

    def _mismatch(self, file: LockedFile) -> PermanentError:
        return PermanentError(
            f"{self._source}: {file.path} is not the file that was locked (sha256 {file.sha256[:12]}...)",
            hint="the source gives other bytes than were locked: ask why, then run `reconciler lock` to accept them",
            code="DigestMismatch",
        )

    def _tell(self, count: int, file: LockedFile) -> None:
        done = self._done + count
        text = f"{size_text(done)} of {size_text(self._source.size)}"
        self._on_progress(self._fraction(count), f"{text}, {file.path}" if count else text)

    def _fraction(self, count: int) -> float:
        return min(1.0, (self._done + count) / max(self._source.size, 1))


def _holds(path: str, file: LockedFile) -> bool:
    """Not by stamp: this runs beside a pass, and judges what a foreign server sent."""
    if os.path.islink(path) or _size(path) != file.size or not os.path.isfile(path):
        return False
    with open(path, "rb") as opened:
        # guard: bytes from the hub match their digest
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        durable.remove_file(path)
