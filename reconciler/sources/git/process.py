"""Watching a running git: its output, its time and what it writes are bounded, and afterwards it and all that it
started are gone."""

import contextlib
import os
import threading
import time
from typing import IO, Any

from reconciler.domain.errors import PermanentError, TemporaryError

COMPLAINT = 8192  # bytes kept of what git writes to stderr


class OutOfBounds(PermanentError):
    """A repository larger than anything that we would serve from."""

    code = "GitTooLarge"


def watched(process: Any, out: "Reader", name: str, seconds: float, growing: tuple[str, int] | None) -> bytes:
    """The end of stderr. The process and what it started are dead when this returns or raises."""
    errors = Reader(process.stderr, COMPLAINT, keep_last=True)
    deadline = time.monotonic() + seconds
    try:
        while not out.full and (out.is_alive() or errors.is_alive()):
            (out if out.is_alive() else errors).join(0.05)
            if growing and folder_size(growing[0]) > growing[1]:
                raise OutOfBounds(f"git {name}: more than {growing[1]:,} bytes came")
            if time.monotonic() > deadline:
                raise TemporaryError(f"git {name} took more than {seconds:.0f} s", code="GitTimeout")
        if out.full:
            raise OutOfBounds(f"git {name}: more than {out.limit:,} bytes of output")
        process.wait()
    finally:
        end(process, out, errors)
    return bytes(errors.held)


class Reader(threading.Thread):
    """Reads a pipe to its end, so that the writer never waits; keeps no more than `limit` bytes."""

    def __init__(self, pipe: IO[bytes], limit: int, *, keep_last: bool = False) -> None:
        super().__init__(daemon=True)
        self.pipe, self.limit, self._keep_last = pipe, limit, keep_last
        self.held = bytearray()
        self.full = False
        self.start()

    def run(self) -> None:
        left = self.limit
        while chunk := self.pipe.read1(65536):  # type: ignore[attr-defined]
            left -= len(chunk)
            if left < 0 and not self._keep_last:
                self.full = True
                return
            self.held += chunk
            if self._keep_last:
                del self.held[: -self.limit]


def end(process: Any, *readers: Reader) -> None:
    """Kill it with its whole group (the transport and index-pack are in it), and close its pipes."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            process.group.end()
        process.wait()
    for reader in readers:
        reader.join(1.0)
    busy = {reader.pipe for reader in readers if reader.is_alive()}
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None and pipe not in busy:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def folder_size(folder: str) -> int:
    """Of its files in bytes, while a git may write there."""
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
    return total
