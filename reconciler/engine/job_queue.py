"""Work that may take hours, beside everything else: a slow conversion must not hold up a template change to another
model, and no pass waits for one.

A pass begins a Job for each change of a plan whose action is LONG (domain.changes) and that no job works on yet, and
drops the jobs that its plan no longer wants. A job runs in a thread of its own kind's pool. When it ends, `wake` is
called; a later pass takes its result in, in the pass's own thread, so that only that thread writes the store and the
records.

Another kind of long work is one row in KINDS and one word in LONG:

    work(job)   in a thread: do it below `job.folder` (empty, ours, removed afterwards); tell `job.progressed`; raise
                a ReconcilerError when it fails, and Cancelled soon after `job.cancelled` (`job.when_cancelled`)
    take(job)   in the pass's thread: put what lies in `job.folder` where it belongs. It must be quick
    begin(job)  in the pass's thread, before all that, where something has to be read that passes write

A change is known by its action and `build_key` (`work_key`). Variants whose changes name the same key wait for it. What
is measured is one variant's own business.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass

from reconciler.conversion.client.converter import Converter
from reconciler.conversion.client.job_client import Attempt
from reconciler.domain.changes import Convert, FetchSource, LongWork, Measure, MeasureCandidate, MeasureServed
from reconciler.domain.errors import Cancelled, ConversionFailed, ConverterLost
from reconciler.engine import log
from reconciler.engine.candidate_check import asks_fidelity
from reconciler.engine.executor import store_conversion
from reconciler.engine.fetching import fetch, publish
from reconciler.engine.job import Job
from reconciler.engine.job_progress import FOLDER
from reconciler.engine.machine import Machine
from reconciler.engine.measuring import Measuring
from reconciler.engine.options import Options
from reconciler.engine.pass_context import PassContext
from reconciler.engine.refusals import best_effort
from reconciler.engine.report import Reporter
from reconciler.host import durable

CONVERTING = "converting"  # in it: all that the converter's cage can write
CLOSE_SECONDS = 4.0
LARGER_THAN_PREDICTED, SMALL_FILES_BYTES = 4, 1 << 30  # of what a conversion may write


def _nothing(job: Job) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """`at_once`: how many of them; None for as many as the options say."""

    work: Callable[[Job], None]
    take: Callable[[Job], None]
    begin: Callable[[Job], None] = _nothing
    at_once: int | None = None


class JobQueue:
    """All jobs of one root. Called by the thread that makes passes, except `_run`."""

    def __init__(self, machine: Machine, reporter: Reporter, options: Options, wake: Callable[[], None]) -> None:
        self.machine = machine
        self.reporter = reporter
        self.options = options
        self._wake = wake
        self._pools: dict[str, ThreadPoolExecutor] = {}
        self._jobs: list[Job] = []  # wanted, and not taken yet
        self._alive: dict[Job, Future[None]] = {}  # also those that were dropped and are ending
        self._working: set[Future[None]] = set()  # until its thread has tidied up
        self._lock = threading.Lock()
        self._starting = threading.Lock()  # a worker that is put to rest is not the one that was just started
        self._converter: Converter | None = None
        self._closed = False

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Those that a pass has begun and none has taken or dropped."""
        return tuple(self._jobs)

    @property
    def alive(self) -> bool:
        """Does any job still use its folder?"""
        return bool(self._jobs or self._alive)

    def begin(self, changes: Iterable[LongWork], context: PassContext) -> None:
        begun = {job.key for job in self._jobs}
        new = [change for change in changes if change.work_key not in begun]
        with self._starting:
            self._prewarm(new, context)
            for change in new:
                self._submit(Job(change, context, self))

    def _submit(self, job: Job) -> None:
        self._jobs.append(job)
        try:
            with durable.full_disk_named(job.folder):
                os.makedirs(job.folder)
            KINDS[type(job.change)].begin(job)
        except Exception as error:  # noqa: BLE001 - judged when the job is taken in, as what happens later
            job.error, job.ended = error, True
            self._wake()
            return
        with self._lock:
            future = self._alive[job] = self._pool(job.change).submit(self._run, job)
        self._working.add(future)
        future.add_done_callback(self._working.discard)

    def drop(self, jobs: Iterable[Job]) -> None:
        """Nobody wants them any more. When that leaves nothing, the converter goes too, imports or not."""
        for job in jobs:
            self._jobs.remove(job)
            job.cancel()
            with self._lock:
                future = self._alive.get(job)
            if future is None:  # it ended, and nobody has taken it
                self.clean(job)
            elif future.cancel():  # it never began
                self._end(job)
        if not self._jobs:
            self._rest()

    def take_ended(self) -> list[Job]:
        """Each is given once, in the order in which it began; the caller calls `settle`, then `clean`."""
        ended = [job for job in self._jobs if job.ended]
        self._jobs = [job for job in self._jobs if not job.ended]
        return ended

    @staticmethod
    def settle(job: Job) -> None:
        """Take in what the job made, or raise what went wrong."""
        if job.measuring is not None:  # what was measured before something failed is not lost
            job.measuring.keep()
        if job.error is not None:
            raise job.error
        KINDS[type(job.change)].take(job)

    @staticmethod
    def clean(job: Job) -> None:
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
            if self._converter is None and self.options.make_converter is not None:
                self._converter = self.options.make_converter()
            if self._converter is None:
                from reconciler.conversion.client.converter import WORKER, Converter, say_cage

                log.info("converter.caged", **say_cage(self.options.cage))
                layout = self.machine.layout
                self._converter = Converter(
                    os.path.join(layout.staging, FOLDER, CONVERTING),
                    layout.logs,
                    jobs=self.options.jobs,
                    module=self.options.converter_module or WORKER,
                    cage_mode=self.options.cage,
                    memory=self.options.conversion_memory,
                    shown=(layout.at("sources"), layout.staging),  # in staging an artifact is compared
                )
            return self._converter

    def _prewarm(self, changes: list[LongWork], context: PassContext) -> None:
        """Begin the slow imports while cheaper work goes on."""
        converting = [change for change in changes if isinstance(change, Convert)]
        if converting:
            precisions = {change.release.recipe.precision for change in converting}
            keys = {change.build_key for change in converting} & set(context.resolution.sources)
            sources = [context.source(key) for key in keys]
            folders = {folder for one in sources for folder in (one.path, one.adapter) if folder}
            with best_effort("start.refused"):  # only a head start: the job says what is wrong
                self.converter.start(*sorted(precisions), sources=tuple(sorted(folders)))

    def _pool(self, change: LongWork) -> ThreadPoolExecutor:
        action = change.action
        if action not in self._pools:
            workers = KINDS[type(change)].at_once or self.options.jobs
            self._pools[action] = ThreadPoolExecutor(workers, thread_name_prefix=action)
        return self._pools[action]

    def _run(self, job: Job) -> None:
        started = time.monotonic()
        try:
            if job.cancelled:
                raise Cancelled("it was cancelled", delay=0)
            self.reporter.started(job.change)
            KINDS[type(job.change)].work(job)
        except BaseException as error:  # noqa: BLE001 - carried to the pass's own thread, which judges it
            job.error = error
        job.seconds = time.monotonic() - started
        self._end(job)
        if not (job.cancelled or self._closed):
            self._wake()

    def _end(self, job: Job) -> None:
        with self._lock:
            self._alive.pop(job, None)
        if job.cancelled:
            self.clean(job)
        with self._starting:
            if not self._alive:
                self._rest()
        job.ended = True  # last: whoever sees it may begin the next one

    def _rest(self) -> None:
        """No job, no worker: an idle daemon has no children."""
        converter = self._converter
        if converter is not None:
            with suppress(OSError):
                converter.close()


def _convert(job: Job) -> None:
    source = job.context.source(job.change.build_key)
    attempt = Attempt()
    job.when_cancelled(attempt.cancel)
    job.progressed(0.0, "starting Olive, its imports take some seconds")
    job.team.converter.convert(
        source.recipe,
        source.path,
        _tree(job),
        adapter=source.adapter,
        on_progress=job.progressed,
        timeout=job.team.options.conversion_timeout,
        disk=LARGER_THAN_PREDICTED * job.change.cost.peak_disk_bytes + SMALL_FILES_BYTES,
        attempt=attempt,
    )
    if asks_fidelity(job.context.resolution.desired, job.change.build_key):
        job.progressed(1.0, "comparing it with its source")
        # Without it the artifact is none the worse, and its releases are told why (engine.candidate_check).
        with suppress(ConversionFailed, ConverterLost):
            job.fidelity = job.team.converter.compare(
                source.recipe,
                source.path,
                _tree(job),
                adapter=source.adapter,
                timeout=job.team.options.conversion_timeout,
                attempt=attempt,
            )


def _store(job: Job) -> None:
    store_conversion(job.change.build_key, _tree(job), job.context)
    if job.fidelity is not None:
        job.context.machine.records.save_fidelity(job.fidelity)


def _prepare_measuring(job: Job) -> None:
    assert isinstance(job.change, Measure)
    job.measuring = Measuring(job.change, job.context, job.folder)


def _measure(job: Job) -> None:
    assert job.measuring is not None
    job.progressed(0.0, "starting")
    job.measuring.run(job)


def _judge(job: Job) -> None:
    assert job.measuring is not None
    job.measuring.require()


def _tree(job: Job) -> str:
    return os.path.join(job.folder, "tree")


_MEASURING = Kind(begin=_prepare_measuring, work=_measure, take=_judge, at_once=1)

KINDS: dict[type[LongWork], Kind] = {
    Convert: Kind(work=_convert, take=_store),
    FetchSource: Kind(work=fetch, take=publish),
    MeasureCandidate: _MEASURING,
    MeasureServed: _MEASURING,
}
