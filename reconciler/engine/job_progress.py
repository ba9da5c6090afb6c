"""Who works on this root right now, and what on: told by whoever works, for whoever only looks (`status`, `plan`).

A note lies in the folder of each piece of long work, in staging, and goes with it. It is not durable and nobody depends
on it: it may be missing, old or half there, and counts only while the process lives that says it holds the lock.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator

from reconciler.domain.changes import LongWork
from reconciler.domain.layout import Layout
from reconciler.domain.plain_data import as_dict
from reconciler.host.clock import now
from reconciler.host.lock import holder
from reconciler.host.reading import read_whole
from reconciler.reports.view import View

FOLDER = "work"  # in staging; whoever empties staging leaves it alone while a job lives
NOTE = "note.json"
PAUSE = 1.0  # seconds between two notes: a converter tells more often than anybody looks
LONGEST = 4096  # bytes of a note


class JobProgress:
    """One job's own. Written by the job's thread alone."""

    def __init__(self, folder: str, change: LongWork) -> None:
        self._path = os.path.join(folder, NOTE)
        self._said = {"action": change.action, "variant": change.variant, "since": now()}
        self._next = 0.0

    def say(self, fraction: float, text: str) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PAUSE
        said = json.dumps({**self._said, "fraction": fraction, "text": text}).encode()
        with contextlib.suppress(OSError):
            with open(self._path + "~", "wb") as file:
                file.write(said)
            os.replace(self._path + "~", self._path)


def who_works(layout: Layout) -> View | None:
    """The holder of the lock, and its jobs in the order in which they began; None when nobody works here."""
    if not os.path.exists(layout.lock + ".holder"):
        return None
    found = holder(layout.lock)
    if found is None:
        return None
    jobs = sorted(_notes(os.path.join(layout.staging, FOLDER)), key=lambda one: str(one["since"]))
    return {**as_dict(found), "jobs": jobs}


def _notes(folder: str) -> Iterator[View]:
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            if note := _note(os.path.join(folder, name, NOTE)):
                yield note


def _note(path: str) -> View | None:
    try:
        said = json.loads(read_whole(path, LONGEST))
        texts = {name: str(said[name]) for name in ("action", "variant", "since", "text")}
        return {**texts, "fraction": min(max(float(said["fraction"]), 0.0), 1.0)}
    except (OSError, ValueError, KeyError, TypeError):
        return None
