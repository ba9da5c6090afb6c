"""JobQueue: long work beside the passes, so that a slow conversion does not hold up a template change of another model.

A pass begins a Job for each change that is LongWork and that no job works on yet (`work_key`), and drops the jobs that
its plan no longer names. Each kind of job has a pool of threads. When one ends, `wake` is called; a later pass takes
its result in, so that only the thread that makes passes writes the store and the records.

Another kind of long work is a subclass of Job, one row in JOBS, and its change in domain.changes.LongWork.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

from reconciler.conversion.client.converter import WORKER, Converter, say_cage
from reconciler.domain.changes import Convert, FetchSource, LongWork, MeasureCandidate, MeasureServed, Pull
from reconciler.domain.errors import Cancelled
from reconciler.engine import log
from reconciler.engine.job import Job
from reconciler.engine.jobs import ConversionJob, DownloadJob, MeasurementJob
from reconciler.engine.machine import Machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_context import PassContext
from reconciler.engine.pull_job import PullJob
from reconciler.host import durable

CLOSE_SECONDS = 4.0

JOBS: dict[type[LongWork], type[Job[Any]]] = {
    Convert: ConversionJob,
    FetchSource: DownloadJob,
    MeasureCandidate: MeasurementJob,
    MeasureServed: MeasurementJob,
    Pull: PullJob,
}


class JobQueue:
    """All jobs of one root. Called by the thread that makes passes, except `_run`."""

    def __init__(self, machine: Machine, reporter: Reporter, options: Options, wake: Callable[[], None]) -> None:
        self.reporter = reporter
        self.options = options
        self._machine = machine
        self._wake = wake
        self._pools: dict[type[Job[Any]], ThreadPoolExecutor] = {}
        self._jobs: list[Job[Any]] = []  # wanted, and not taken yet
        self._alive: dict[Job[Any], Future[None]] = {}  # also those that were dropped and are ending
        self._working: set[Future[None]] = set()  # until its thread has tidied up
        self._lock = threading.Lock()
        self._starting = threading.Lock()  # a worker that is put to rest is not the one that was just started
        self._converter: Converter | None = None
        self._closed = False

    @property
    def jobs(self) -> tuple[Job[Any], ...]:
        """Those that a pass has begun and none has taken or dropped."""
        return tuple(self._jobs)

    @property
    def alive(self) -> bool:
        """Does any job still use its folder?"""
        return bool(self._jobs or self._alive)

    def begin(self, changes: Iterable[LongWork], context: PassContext) -> None:
        begun = {job.change.work_key for job in self._jobs}
        new = [change for change in changes if change.work_key not in begun]
        with self._starting:
            self._prewarm(new, context)
            for change in new:
                self._submit(JOBS[type(change)](change, context, self))

    def _submit(self, job: Job[Any]) -> None:
        self._jobs.append(job)
        try:
            with durable.full_disk_named(job.folder):
                os.makedirs(job.folder)
            job.begin()
        except Exception as error:  # noqa: BLE001 - judged when the job is taken in, as what happens later
            job.error, job.ended = error, True
            self._wake()
            return
        with self._lock:
            future = self._alive[job] = self._pool(type(job)).submit(self._run, job)
        self._working.add(future)
        future.add_done_callback(self._working.discard)

    def drop(self, jobs: Iterable[Job[Any]]) -> None:
        """Cancel these jobs; the converter's process goes too if no job remains, even in the middle of its imports."""
        for job in jobs:
            self._jobs.remove(job)
            job.cancel()
            with self._lock:
                future = self._alive.get(job)
            if future is None:  # it has ended
                self.clean(job)
            elif future.cancel():  # it never began
                self._end(job)
        if not self._jobs:
            self._rest()

    def take_ended(self) -> list[Job[Any]]:
        """Each is given once, in the order in which it began; the caller calls `settle`, then `clean`."""
        ended = [job for job in self._jobs if job.ended]
        self._jobs = [job for job in self._jobs if not job.ended]
        return ended

    @staticmethod
    def settle(job: Job[Any]) -> None:
        """Take in what the job made, or raise what went wrong."""
        job.keep()
        if job.error is not None:
            raise job.error
        job.take()

    @staticmethod
    def clean(job: Job[Any]) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)

    def close(self) -> None:
        """Nothing of ours runs afterwards, nor will. Within 5 s."""
        self._closed = True
        self.drop(self.jobs)
        if self._converter is not None:
            self._converter.cancel()
        wait(tuple(self._working), timeout=CLOSE_SECONDS)
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        if self._converter is not None:
            self._converter.close()

    @property
    def converter(self) -> Converter:
        """One warm worker for all conversions, as long as there are any."""
        with self._lock:
            if self._converter is None:
                self._converter = (self.options.make_converter or self._new_converter)()
            return self._converter

    def _new_converter(self) -> Converter:
        log.info("converter.caged", **say_cage(self.options.cage))
        layout = self._machine.layout
        return Converter(
            layout.converting,
            layout.logs,
            jobs=self.options.jobs,
            module=self.options.converter_module or WORKER,
            cage_mode=self.options.cage,
            memory=self.options.conversion_memory,
            shown=(layout.at("sources"), layout.staging),  # in staging an artifact is compared
            remembered=self._machine.stamps.remembered,
        )

    def _prewarm(self, changes: list[LongWork], context: PassContext) -> None:
        """Begin the slow imports while cheaper work goes on."""
        converting = [one for one in changes if isinstance(one, Convert) and not one.release.recipe.as_is]
        if converting:
            precisions = {change.release.recipe.precision for change in converting}
            keys = {change.build_key for change in converting} & set(context.resolution.sources)
            sources = [context.source(key) for key in keys]
            folders = {folder for one in sources for folder in (one.path, one.adapter) if folder}
            with log.best_effort("start.refused"):  # only a head start: the job says what is wrong
                self.converter.start(*sorted(precisions), sources=tuple(sorted(folders)))

    def _pool(self, kind: type[Job[Any]]) -> ThreadPoolExecutor:
        if kind not in self._pools:
            self._pools[kind] = ThreadPoolExecutor(kind.at_once or self.options.jobs, kind.__name__)
        return self._pools[kind]

    def _run(self, job: Job[Any]) -> None:
        started = time.monotonic()
        try:
            if job.cancelled:
                raise Cancelled("it was cancelled", delay=0)
            self.reporter.started(job.change)
            job.work()
        except BaseException as error:  # noqa: BLE001 - carried to the pass's own thread, which judges it
            job.error = error
        job.seconds = time.monotonic() - started
        self._end(job)
        if not (job.cancelled or self._closed):
            self._wake()

    def _end(self, job: Job[Any]) -> None:
        with self._lock:
            self._alive.pop(job, None)
        if job.cancelled:
            self.clean(job)
        with self._starting:
            if not self._alive:
                self._rest()
        job.ended = True  # last: a pass that sees it may begin the next one

    def _rest(self) -> None:
        """No job, no worker: an idle daemon has no children."""
        if self._converter is not None:
            with suppress(OSError):
                self._converter.close()
