"""What happened, one JSON object a line, newest last. It is for people: a crash may cost its last line, and
the oldest lines go when two files are full. Nothing is ever decided from it.

Limit: `suspend` tells its event beside a running daemon. If both find the file full in the same instant, the older file
is lost."""

import json
import os
from typing import Any

from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.host.reading import read_whole

Event = dict[str, Any]

FULL = 4 << 20  # bytes


def append(path: str, event: Event) -> None:
    durable.make_folder(os.path.dirname(path))
    if _size(path) >= FULL:
        durable.rename(path, older(path))
    durable.append_line(path, json.dumps(event, separators=(",", ":"), allow_nan=False).encode())


def mend(path: str) -> None:
    """Say where a line is lost; what is appended begins a line of its own in any case."""
    if is_torn(path):
        message = "the line before this one was cut off: its event is lost"
        append(path, {"time": now(), "type": "events.torn", "reason": "Torn", "message": message})


def is_torn(path: str) -> bool:
    """Was its last line cut off?"""
    try:
        with open(path, "rb", buffering=0) as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 1))
            return log.read(1) not in (b"", b"\n")
    except OSError:  # not there, or no log of ours
        return False


def newest(path: str, limit: int | None) -> list[Event]:
    """All of them or the last `limit`, in order. Lines that are no events (torn by a crash) are left out."""
    found: list[Event] = []
    for file in (path, older(path)):
        for line in reversed(_lines(file)):
            if limit is not None and len(found) >= limit:
                return found[::-1]
            event = parse(line)
            if event is not None:
                found.append(event)
    return found[::-1]


def older(path: str) -> str:
    stem, ending = os.path.splitext(path)
    return f"{stem}.1{ending}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _lines(path: str) -> list[bytes]:
    try:
        return read_whole(path).split(b"\n")
    except OSError:  # not there, or no log of ours: a diary that cannot be read is an empty one
        return []


def parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None
