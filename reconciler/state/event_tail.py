"""Read the log of events from where one left off, also after a restart. A place in it is told by the log's first line
and an offset, so it survives that the log is renamed when it is full, copied, or restored from a backup.

What a place no longer points at (two such renames, a lost log) is read from the oldest line that is left.
"""

import contextlib
import os
from dataclasses import dataclass
from typing import BinaryIO

from reconciler.domain.digest import of_bytes
from reconciler.state.events import Event, older, parse

CHUNK = 256 << 10  # bytes read at once; a longer line is no event of ours


@dataclass(frozen=True, kw_only=True)
class LogPosition:
    """`log` is the digest of the first line of the file that `offset` counts in."""

    log: str = ""
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Line:
    """`event` is None for what is none: a line torn by a crash. `digest` is that of its bytes."""

    event: Event | None
    digest: str
    after: LogPosition


def newest_place(path: str) -> LogPosition:
    """Behind all that has been written."""
    with contextlib.ExitStack() as stack:
        file = _open(path, stack)
        return (
            LogPosition() if file is None else LogPosition(log=_identity(file), offset=os.fstat(file.fileno()).st_size)
        )


def lines_after(path: str, place: LogPosition) -> list[Line]:
    """Some of what follows, in order; none when there is nothing yet."""
    with contextlib.ExitStack() as stack:
        # The current file first: if it is renamed just now, it is met again as the older one, and nothing is missed.
        current, old = _open(path, stack), _open(older(path), stack)
        logs = {_identity(file): file for file in (old, current) if file is not None}
        names = list(logs)
        unread = names[names.index(place.log) :] if place.log in logs else names
        for name in unread:
            lines = _read(logs[name], name, place.offset if name == place.log else 0)
            if lines:
                return lines
    return []


def _open(path: str, stack: contextlib.ExitStack) -> BinaryIO | None:
    try:
        return stack.enter_context(open(path, "rb"))
    except FileNotFoundError:
        return None


def _identity(file: BinaryIO) -> str:
    """ "" while there is no first line."""
    file.seek(0)
    line = file.readline(CHUNK)
    return of_bytes(line) if line.endswith(b"\n") else ""


def _read(file: BinaryIO, name: str, offset: int) -> list[Line]:
    file.seek(offset)
    data = file.read(CHUNK)
    whole = data[: data.rfind(b"\n") + 1]
    if not whole and len(data) == CHUNK:
        return [Line(event=None, digest="", after=LogPosition(log=name, offset=offset + CHUNK))]
    found = []
    for line in whole.splitlines(keepends=True):
        offset += len(line)
        after = LogPosition(log=name, offset=offset)
        found.append(Line(event=parse(line), digest=of_bytes(line), after=after))
    return found
