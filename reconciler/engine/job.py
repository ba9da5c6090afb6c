"""Job: one piece of long work (a conversion, a download, a measurement) of one change. `work` runs in a thread of a
JobQueue, in a folder of its own, and can be cancelled from another thread.

While it works, a note in its folder says what on; `who_works` reads those notes for `status` and `plan`. A note is not
durable: it may be missing, old or half written, and counts only while the process lives that holds the lock.
"""

import contextlib
import json
import os
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Generic, Protocol, TypeVar

from reconciler.conversion.client.converter import Converter
from reconciler.domain.changes import LongWork, word_of
from reconciler.domain.layout import Layout
from reconciler.domain.plain_data import as_dict
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_context import PassContext
from reconciler.host.clock import now
from reconciler.host.lock import holder
from reconciler.host.reading import read_whole
from reconciler.reports.view import View

NOTE = "note.json"
PAUSE = 1.0  # seconds between two notes: a converter reports far more often
LONGEST = 4096  # bytes of a note

ChangeT = TypeVar("ChangeT", bound=LongWork)


class Team(Protocol):
    """What a job needs of the queue that runs it."""

    reporter: Reporter
    options: Options

    @property
    def converter(self) -> Converter: ...


class Job(ABC, Generic[ChangeT]):
    """`context` is that of the pass which began it: a job ends as what it began as. `folder` is empty when `work`
    begins, its own, and removed afterwards."""

    at_once: ClassVar[int] = 0  # how many of its kind; 0: as many as Options.jobs

    def __init__(self, change: ChangeT, context: PassContext, team: Team) -> None:
        self.change = change
        self.context = context
        self.team = team
        self.folder = os.path.join(context.machine.layout.work, uuid.uuid4().hex)
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.ended = False
        self._cancelled = threading.Event()
        self._act: Callable[[], None] = lambda: None
        self._since = ""
        self._next_note = 0.0

    def begin(self) -> None:
        """In the pass's thread, before `work`: read here what passes write."""

    @abstractmethod
    def work(self) -> None:
        """In a thread of its own. Raises ReconcilerError when it fails, Cancelled soon after `cancel`."""

    def keep(self) -> None:
        """In the pass's thread, also when `work` failed: record what is useful nevertheless."""

    @abstractmethod
    def take(self) -> None:
        """In the pass's thread, after `work` succeeded: put what lies in `folder` where it belongs. Must be quick."""

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def when_cancelled(self, act: Callable[[], None]) -> None:
        """`act` is called from another thread; also if it is too late already."""
        self._act = act
        if self.cancelled:
            act()

    def cancel(self) -> None:
        self._cancelled.set()
        self._act()

    def progressed(self, fraction: float, text: str) -> None:
        if time.monotonic() >= self._next_note:
            self._next_note = time.monotonic() + PAUSE
            self._write_note(fraction, text)
        self.team.reporter.progressed(self.change, fraction, text)

    def _write_note(self, fraction: float, text: str) -> None:
        self._since = self._since or now()
        change, path = self.change, os.path.join(self.folder, NOTE)
        note = {"action": change.action, "word": word_of(change), "variant": change.variant, "since": self._since}
        with contextlib.suppress(OSError):
            with open(path + "~", "wb") as file:
                file.write(json.dumps({**note, "fraction": fraction, "text": text}).encode())
            os.replace(path + "~", path)


def who_works(layout: Layout) -> View | None:
    """The holder of the lock, and its jobs in the order in which they began; None when there is no such process."""
    found = holder(layout.lock) if os.path.exists(layout.lock + ".holder") else None
    if found is None:
        return None
    jobs = sorted(_notes(layout.work), key=lambda one: str(one["since"]))
    return {**as_dict(found), "jobs": jobs}


def _notes(folder: str) -> Iterator[View]:
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                note = json.loads(read_whole(os.path.join(folder, name, NOTE), LONGEST))
                texts = {key: str(note[key]) for key in ("action", "variant", "since", "text")}
                texts["word"] = str(note.get("word") or note["action"])
                yield {**texts, "fraction": min(max(float(note["fraction"]), 0.0), 1.0)}
