"""One running git, watched to its end: its output, its time and what it writes are bounded, and whatever happens, it
and all that it started are gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import IO, Any

from reconciler.domain.errors import PermanentError, TemporaryError

COMPLAINT = 8192  # bytes kept of what git says on stderr


class OutOfBounds(PermanentError):
    """A repository larger than anything that we would serve from."""

    code = "GitTooLarge"


def watched(process: Any, out: Reader, name: str, seconds: float, growing: tuple[str, int] | None) -> bytes:
    """The end of stderr. The process and what it started are dead when this returns or raises."""
    errors = Reader(process.stderr, COMPLAINT, keep_last=True)
    deadline = time.monotonic() + seconds
    try:
        while out.is_alive() or errors.is_alive():
            (out if out.is_alive() else errors).join(0.05)
            if growing and _size(growing[0]) > growing[1]:
                raise OutOfBounds(f"git {name}: more than {growing[1]:,} bytes came")
            if time.monotonic() > deadline:
                raise TemporaryError(f"git {name} took more than {seconds:.0f} s", code="GitTimeout")
            if out.full:
                break
        out.check(name)
        process.wait()
    finally:
        _end(process, out, errors)
    return bytes(errors.held)


class Reader(threading.Thread):
    """Reads a pipe to its end, so that the writer never waits; keeps (or passes on) no more than `limit` bytes."""

    def __init__(
        self, pipe: IO[bytes], limit: int, *, keep_last: bool = False, sink: IO[bytes] | None = None
    ) -> None:
        super().__init__(daemon=True)
        self.pipe, self._limit, self._keep_last, self._sink = pipe, limit, keep_last, sink
        self.held = bytearray()
        self.full = False
        self._failure: OSError | None = None
        self.start()

    def run(self) -> None:
        left = self._limit
        while chunk := self.pipe.read1(65536):  # type: ignore[attr-defined]
            left -= len(chunk)
            if left < 0 and not self._keep_last:
                self.full = True
                return
            try:
                self._keep(chunk)
            except OSError as error:
                self._failure, self.full = error, True
                return

    def check(self, name: str) -> None:
        if self._failure is not None:
            raise self._failure
        if self.full:
            raise OutOfBounds(f"git {name}: more than {self._limit:,} bytes of output")

    def _keep(self, chunk: bytes) -> None:
        if self._sink is not None:
            self._sink.write(chunk)
            return
        self.held += chunk
        if self._keep_last:
            del self.held[: -self._limit]


def _end(process: Any, *readers: Reader) -> None:
    if process.poll() is None:
        with contextlib.suppress(OSError):
            if os.name == "nt":
                process.kill()
            else:
                os.killpg(
                    process.pid, signal.SIGKILL
                )  # its own group: the transport and index-pack end with it
        process.wait()
    for reader in readers:
        reader.join(1.0)
        if not reader.is_alive():
            reader.pipe.close()


def _size(folder: str) -> int:
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
    return total
