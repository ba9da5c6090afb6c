"""Bring the files of one locked source onto this machine. Small ones first: what is wrong with a repository shows
before its gigabytes have come. A download that was cut goes on where it stopped (`RemoteSource.download`).

Each file is hashed when it is whole and compared with the lock. Bytes that are not the locked ones are deleted and
named, and are not asked for again until the lock has other digests.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable

from reconciler.domain.errors import PermanentError
from reconciler.domain.machine.bandwidth import UNMETERED, Meter
from reconciler.domain.sources.locked import GIT, LockedFile, LockedSource
from reconciler.domain.text.units import size_text
from reconciler.host import durable
from reconciler.host.reading import size_of
from reconciler.sources.model_signature import LARGEST as LARGEST_SIGNATURE
from reconciler.sources.model_signature import NAME as SIGNATURE
from reconciler.sources.protocol import RemoteSource

PART = ".part"  # ends the name of a file that has not come whole
MISMATCH_HINT = "the source gives other bytes than were locked: ask why, then run `reconciler lock` to accept them"
_POINTED_HINT = (
    "the server gives other bytes than the pointer names: `git lfs push --all` from a clone that has them,"
    " then `reconciler retry` or `apply --retry`"
)


class Download:
    """One source into one folder (`SourceCache.begin`). Nothing is published here. `when_signed` is called before any
    file that can be signed comes: once the signature is there, or at once where there is none. `wants_signature`: it
    comes also where the lock does not name it; it proves itself, and is an empty file where the source has none."""

    def __init__(
        self,
        remote: RemoteSource,
        source: LockedSource,
        folder: str,
        on_progress: Callable[[float, str], None],
        meter: Meter = UNMETERED,
        when_signed: Callable[[], None] = lambda: None,
        *,
        wants_signature: bool = False,
    ) -> None:
        self._wants_signature = wants_signature
        self._when_signed = when_signed
        self._meter = meter
        self._remote = remote
        self._source = source
        self._folder = folder
        self._on_progress = on_progress
        self._done = 0

    def run(self) -> None:
        if not any(file.path == SIGNATURE for file in self._source.files):
            if self._wants_signature:
                self._fetch_signature(os.path.join(self._folder, SIGNATURE))
            self._when_signed()
        for file in sorted(self._source.files, key=lambda one: (one.path != SIGNATURE, one.size, one.path)):
            final = os.path.join(self._folder, file.path)
            if not _holds(final, file):
                self._fetch(file, final)
            self._done += file.size
            self._progressed(0, file)
            if file.path == SIGNATURE:
                self._when_signed()

    def _fetch_signature(self, final: str) -> None:
        """Of the locked commit, so that it is asked for once."""
        if os.path.lexists(final):
            return
        listed = next((one for one in self._remote.tree(self._source) if one["path"] == SIGNATURE), None)
        if listed is None or not 0 < listed["size"] <= LARGEST_SIGNATURE:
            durable.write_file(final, b"")
            return
        part = final + PART
        self._remote.download(
            self._source, LockedFile(path=SIGNATURE, size=listed["size"], sha256=""), part, lambda count: None
        )
        durable.adopt(part, final)

    def _fetch(self, file: LockedFile, final: str) -> None:
        part = final + PART
        for _ in range(2):  # a partial file from earlier may be of other bytes: then once more from its beginning
            began_with = size_of(part)
            self._download(file, part, self._remote.held(part))
            self._on_progress(self._fraction(file.size), f"checking {file.path}")
            if _holds(part, file):
                durable.adopt(part, final)
                return
            with contextlib.suppress(FileNotFoundError):
                durable.remove_file(part)
            if not began_with:
                break
        message = f"{self._source}: {file.path} is not the file that was locked (sha256 {file.sha256[:12]}...)"
        hint = _POINTED_HINT if self._source.kind == GIT else MISMATCH_HINT
        raise PermanentError(message, hint=hint, code="DigestMismatch")

    def _download(self, file: LockedFile, part: str, have: int) -> None:
        def moved(count: int) -> None:
            nonlocal have
            piece, have = max(count - have, 0), count  # what is left where it begins anew came before
            self._progressed(count, file)
            self._meter.moved(self._source.kind, piece)

        self._remote.download(self._source, file, part, moved, self._meter.piece)

    def _progressed(self, count: int, file: LockedFile) -> None:
        text = f"{size_text(self._done + count)} of {size_text(self._source.size)}"
        self._on_progress(self._fraction(count), f"{text}, {file.path}" if count else text)

    def _fraction(self, count: int) -> float:
        return min(1.0, (self._done + count) / max(self._source.size, 1))


def _holds(path: str, file: LockedFile) -> bool:
    """Not by stamp: this runs beside a pass, and judges what a foreign server sent."""
    if os.path.islink(path) or size_of(path) != file.size or not os.path.isfile(path):
        return False
    with open(path, "rb") as opened:
        # guard: bytes from the hub match their digest
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
