"""Job: one piece of long work (a conversion, a download, a measurement) of one change. It runs in a thread of a
JobQueue, in a folder of its own, and can be cancelled from another thread."""

import os
import threading
import uuid
from collections.abc import Callable
from typing import Protocol

from reconciler.conversion.client.converter import Converter
from reconciler.domain.changes import LongWork
from reconciler.domain.measured import Fidelity
from reconciler.engine.job_progress import FOLDER, JobProgress
from reconciler.engine.options import Options
from reconciler.engine.pass_context import PassContext
from reconciler.engine.report import Reporter


class Measurement(Protocol):
    """The work of a job that measures (engine.measuring)."""

    def run(self, job: "Job") -> None: ...

    def keep(self) -> None: ...

    def require(self) -> None: ...


class Team(Protocol):
    """What a job needs of the queue that runs it."""

    reporter: Reporter
    options: Options

    @property
    def converter(self) -> Converter: ...


class Job:
    """One piece of long work. `context` is that of the pass which began it: a job ends as what it began as."""

    def __init__(self, change: LongWork, context: PassContext, team: Team) -> None:
        self.change = change
        self.context = context
        self.team = team
        self.folder = os.path.join(context.machine.layout.staging, FOLDER, uuid.uuid4().hex)
        self.error: BaseException | None = None
        self.seconds = 0.0
        self.ended = False
        self.fidelity: Fidelity | None = None
        self.measuring: Measurement | None = None
        self._cancelled = threading.Event()
        self._act: Callable[[], None] | None = None
        self._note: JobProgress | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.change.work_key

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
        if self._act is not None:
            self._act()

    def progressed(self, fraction: float, text: str) -> None:
        self._note = self._note or JobProgress(self.folder, self.change)
        self._note.say(fraction, text)
        self.team.reporter.progressed(self.change, fraction, text)
