"""The log of events: one JSON object a line, newest last; when a file is full it is renamed, and two files are kept.
For people and notifications only: no plan depends on it. A crash may cost its last line, and the oldest lines go.

Readers keep a LogPosition: the digest of the log's first line and an offset. It survives restarts, and that the log is
renamed, copied, or restored from a backup. A reader whose position is gone (two renames between two reads, a log that
was emptied by hand) goes on with the oldest line that is left.

Limit: `suspend` writes beside a running daemon. If both find the file full at the same instant, the older file is lost.
"""

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

from reconciler.domain.digest import of_bytes
from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.host.system import in_use

Event = dict[str, Any]

FULL = 4 << 20  # bytes
CHUNK = 256 << 10  # bytes read at once; a longer line is no event


@dataclass(frozen=True, kw_only=True)
class LogPosition:
    """`log` is the digest of the first line of the file that `offset` counts in."""

    log: str = ""
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Line:
    """`event` is None for a line torn by a crash. `digest` is that of its bytes; `after` the position behind it."""

    event: Event | None
    digest: str
    after: LogPosition


def append(path: str, event: Event) -> None:
    durable.make_folder(os.path.dirname(path))
    if os.path.exists(path) and os.path.getsize(path) >= FULL:
        _put_aside(path)
    durable.append_line(path, json.dumps(event, separators=(",", ":"), allow_nan=False).encode())


def _put_aside(path: str) -> None:
    """On Windows not while somebody reads it: then it grows, and the next event tries again."""
    try:
        durable.rename(path, older(path))
    except OSError as error:
        if not in_use(error):
            raise


def mend(path: str) -> None:
    """Record where a line is lost; what is appended begins a line of its own in any case."""
    if is_torn(path):
        message = "the line before this one was cut off: its event is lost"
        append(path, {"time": now(), "type": "events.torn", "reason": "Torn", "message": message})


def is_torn(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 1))
            return log.read(1) not in (b"", b"\n")
    except OSError:  # missing or unreadable
        return False


def newest(path: str, limit: int | None) -> list[Event]:
    """All events or the last `limit`, in order. A log that cannot be read counts as empty."""
    try:
        found = Follower(path).read()
    except OSError:
        return []
    return found if limit is None else found[max(0, len(found) - limit) :]


class Follower:
    """Follows the log as it grows, like `tail -F`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._position = LogPosition()

    def read(self) -> list[Event]:
        """What is new since the last call; the first call gives everything that the log holds."""
        found = []
        while lines := lines_after(self._path, self._position):
            self._position = lines[-1].after
            found += [line.event for line in lines if line.event is not None]
        return found


def newest_place(path: str) -> LogPosition:
    """Behind all that has been written."""
    with ExitStack() as stack:
        file = _open(path, stack)
        if file is None:
            return LogPosition()
        return LogPosition(log=_identity(file), offset=os.fstat(file.fileno()).st_size)


def lines_after(path: str, place: LogPosition) -> list[Line]:
    """Some of the complete lines that follow, in order; none when there are no more yet."""
    with ExitStack() as stack:
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


def older(path: str) -> str:
    stem, ending = os.path.splitext(path)
    return f"{stem}.1{ending}"


def parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _open(path: str, stack: ExitStack) -> BinaryIO | None:
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
