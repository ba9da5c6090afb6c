"""One root, kept at what git declares: passes that never wait, and the long work that goes on between them.

    keeping = Reconciler(machine, reporter, options, wake=loop.wake)
    result = keeping.run_pass(declared)   # as often as one likes; result.running is what goes on beside
    keeping.close()

A pass takes in the long work that has ended since the last one, looks, plans, begins and drops long work as the plan
wants it, carries out everything quick, looks again and records. Nothing is remembered from pass to pass but what
runs: a conversion that ends calls `wake`, and the pass that follows finds its artifact in the store like any other.

One thread makes the passes. `reconciler apply` is the same with somebody who waits (engine.apply_once).
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import TracebackType

from reconciler.domain.changes import (
    Change,
    Convert,
    FetchSource,
    LongWork,
    Measure,
    PruneArtifact,
    PruneSource,
    PruneVariant,
    RepairArtifact,
)
from reconciler.domain.desired import Desired
from reconciler.domain.errors import ReconcilerError
from reconciler.domain.plan import Outcome, Plan
from reconciler.engine import log
from reconciler.engine.history_writer import catch_up
from reconciler.engine.job import Job
from reconciler.engine.job_progress import FOLDER
from reconciler.engine.job_queue import JobQueue
from reconciler.engine.machine import Machine, observe, recall
from reconciler.engine.options import Options, PassResult
from reconciler.engine.pass_context import PassContext
from reconciler.engine.planning import Declaration, Snapshot, take_snapshot
from reconciler.engine.quarantine import age_quarantine, quarantine_folder
from reconciler.engine.refusals import best_effort
from reconciler.engine.report import Reporter
from reconciler.engine.scrub import take_doubts
from reconciler.engine.status_writer import record_pass
from reconciler.engine.steps import NOT_WANTED, STOPPED, Steps, by_variant
from reconciler.engine.workers import Workers
from reconciler.host import durable
from reconciler.host.no_links import make_plain
from reconciler.manifests.parse import Parsed
from reconciler.planner.prune import plan_unused, plan_unused_artifacts


class Reconciler:
    """The caller holds the lock. `wake` is called from other threads, whenever another pass would find something to
    take in. `asked`: a person waits for the result, so back-offs are ignored that they knew of, and children stay
    until `close`."""

    def __init__(
        self, machine: Machine, reporter: Reporter, options: Options, *, wake: Callable[[], None], asked: bool = False
    ) -> None:
        self._machine = machine
        self._reporter = reporter
        self._confirm = options.confirm
        self._jobs = options.jobs
        self._asked = asked
        if options.retry:
            machine.records.save_failures(())
        self._known = machine.records.failures() if asked else ()
        self._long = JobQueue(machine, reporter, options, wake)
        self._workers = Workers(machine, options)
        self._declared: Declaration | None = None

    def run_pass(self, declared: Declaration) -> PassResult:
        """Bring the machine to what is declared, as far as it can be without waiting. Where that is one variant alone,
        the caller records what came of it."""
        started = time.monotonic()
        self._declared = declared
        outcomes: list[Outcome] = []
        self._take_ended(outcomes)
        result = self._pass(declared, outcomes)
        _summarize(result, time.monotonic() - started)
        return result

    def running(self) -> tuple[LongWork, ...]:
        """What runs beside now."""
        return tuple(job.change for job in self._long.jobs)

    def close(self) -> None:
        """Cancels everything; nothing of ours runs afterwards. What was cut off is recorded as what it is."""
        cut_off = self._long.jobs
        self._long.close()
        self._workers.close()
        with contextlib.suppress(ReconcilerError, OSError):
            self._clear()
            if cut_off and self._declared is not None:
                self._record_cut_off(cut_off, self._declared)

    def __enter__(self) -> "Reconciler":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_ended(self, outcomes: list[Outcome]) -> None:
        steps = Steps(self._reporter, outcomes)
        for job in self._long.take_ended():
            steps.step(job.change, partial(self._long.settle, job), job.context, spent=job.seconds)
            self._long.clean(job)

    def _pass(self, declared: Declaration, outcomes: list[Outcome]) -> PassResult:
        self._sweep()
        first = self._look(declared)
        with best_effort("record.lost"):  # a full disk must not keep a pass from freeing some of it
            if isinstance(declared, Parsed):
                self._machine.records.save_attempted(first.resolution.desired.revision)
            catch_up(first, self._machine)
        try:
            try:
                self._carry_out(first, outcomes)
            finally:
                self._let_children_go()
        except BaseException:
            # What was finished stays finished, also when interrupted; and the first error is the one to report.
            with contextlib.suppress(ReconcilerError, OSError):
                self._conclude(declared, first, outcomes)
            raise
        return self._conclude(declared, first, outcomes)

    def _let_children_go(self) -> None:
        """An idle daemon has none. Who waits for long work keeps them warm for what follows it."""
        if not (self._asked and self._long.jobs):
            self._workers.close()

    def _look(self, declared: Declaration) -> Snapshot:
        jobs = self._long.jobs
        running = frozenset(job.change.build_key for job in jobs if not isinstance(job.change, Measure))
        return take_snapshot(
            self._machine, declared, confirm=self._confirm, running=running, ignored=self._known, jobs=self._jobs
        )

    def _carry_out(self, first: Snapshot, outcomes: list[Outcome]) -> None:
        steps = Steps(self._reporter, outcomes)
        context = PassContext(machine=self._machine, workers=self._workers, resolution=first.resolution)
        for freed in _freed_first(first.plan):
            steps.run([freed], context)
        stuck = {one.change.variant for one in outcomes if one.status == "failed" and _makes_way(one.change)}
        self._direct_long_work(first, context, steps, stuck)
        if not first.plan:
            return
        waiting, quick = _parted(first.plan)
        with best_effort("start.refused"):  # only a head start: the step that needs the child says what is wrong
            self._workers.prewarm([change for change in first.plan.changes if self._asked or change in quick])
        for change in first.plan.changes:
            if isinstance(change, RepairArtifact):
                steps.run([change], context)
        for group in by_variant(quick):
            steps.run(group, context)
        unused = _freed(first, quick) if waiting else _planned_frees(first.plan)
        steps.free(unused, context, partial(self._unused, first.resolution.desired))

    def _unused(self, desired: Desired) -> set[str]:
        """What nothing uses as things are now, whatever was to be retired or pruned."""
        observed = observe(self._machine)
        recorded = recall(self._machine, observed)
        return {change.build_key for change in plan_unused(desired, observed, recorded)}

    def _direct_long_work(self, first: Snapshot, context: PassContext, steps: Steps, stuck: set[str]) -> None:
        """Begin what the plan wants, then drop what it does not want: in this order a warm worker stays. `stuck` are
        variants whose predecessor would not make way."""
        wanted = [one for one in first.plan.changes if isinstance(one, LongWork) and one.variant not in stuck]
        keys = {change.work_key for change in wanted}
        unwanted = [job for job in self._long.jobs if job.key not in keys]
        dropped = [job for job in unwanted if _is_understood(job, first.resolution.desired)]
        staying = [job.change for job in self._long.jobs if job not in dropped]
        self._long.begin(_beginning(wanted, staying), context)
        if dropped:
            self._long.drop(dropped)
        for job in dropped:
            steps.cancelled(job.change, job.context, NOT_WANTED)

    def _conclude(self, declared: Declaration, first: Snapshot, outcomes: list[Outcome]) -> PassResult:
        """The second look, and the records of what it sees."""
        if first.plan:
            self._clear()
        last = self._look(declared) if first.plan else first
        result = PassResult(
            plan=first.plan,
            remaining=last.plan,
            outcomes=tuple(outcomes),
            resolution=last.resolution,
            running=self.running(),
        )
        if isinstance(declared, Parsed):
            return replace(result, unrecorded=record_pass(self._machine, last, result))
        with best_effort("record.lost"):
            self._machine.stamps.save()
        return result

    def _record_cut_off(self, jobs: tuple[Job, ...], declared: Declaration) -> None:
        outcomes: list[Outcome] = []
        for job in jobs:
            Steps(self._reporter, outcomes).cancelled(job.change, job.context, STOPPED)
        last = self._look(declared)
        record_pass(
            self._machine,
            last,
            PassResult(plan=last.plan, remaining=last.plan, outcomes=tuple(outcomes), resolution=last.resolution),
        )

    def _sweep(self) -> None:
        """Leftovers of a pass that died: nothing in staging or trash has a name that anybody else uses."""
        self._clear()
        with best_effort("scrub.refused"):
            take_doubts(self._machine)
        with best_effort("quarantine.refused"):
            age_quarantine(self._machine)
        for sweep in (self._machine.store.sweep, self._machine.records.sweep, self._machine.sources.sweep):
            with best_effort("sweep.refused"):
                sweep()

    def _clear(self) -> None:
        keep = [FOLDER] if self._long.alive else []
        layout = self._machine.layout
        for folder in (layout.trash, layout.staging):
            with best_effort("sweep.refused"):
                make_plain(layout.root, folder, quarantine_folder(layout))
                durable.empty(folder, keep=(*keep, *self._workers.folders))


def _beginning(wanted: list[LongWork], running: list[LongWork]) -> list[LongWork]:
    """Of each variant only what comes first. Measurements and conversions never overlap: a conversion uses all
    cores."""
    first = {change.variant: change for change in reversed(wanted)}
    mine = [change for change in wanted if first[change.variant] is change]
    if any(isinstance(change, Measure) for change in running):
        return [change for change in mine if not isinstance(change, Convert)]
    if any(isinstance(change, Convert) for change in (*mine, *running)):
        return [change for change in mine if not isinstance(change, Measure)]
    return mine


def _freed_first(plan: Plan) -> list[PruneVariant | PruneArtifact]:
    """What makes room for long work, in this order: an artifact may be what a predecessor was served from."""
    way = [one for one in plan.changes if isinstance(one, PruneVariant) and one.makes_way]
    room = [one for one in plan.changes if isinstance(one, PruneArtifact) and one.makes_room]
    return [*way, *room]


def _makes_way(change: Change) -> bool:
    return isinstance(change, PruneVariant) and change.makes_way


def _parted(plan: Plan) -> tuple[list[Change], list[Change]]:
    """What waits for long work, and what does not. A variant waits as a whole; artifacts are freed apart."""
    keys = {change.build_key for change in plan.changes if isinstance(change, FetchSource | Convert)}
    waiting: list[Change] = []
    quick: list[Change] = []
    for group in by_variant(plan.changes):
        if group[0].variant:
            waits = any(isinstance(one, LongWork) or one.build_key in keys for one in group)
            (waiting if waits else quick).extend(group)
    return waiting, quick


def _planned_frees(plan: Plan) -> list[PruneArtifact | PruneSource]:
    return [
        one
        for one in plan.changes
        if isinstance(one, PruneSource) or (isinstance(one, PruneArtifact) and not one.makes_room)
    ]


def _freed(first: Snapshot, quick: list[Change]) -> list[PruneArtifact]:
    """What can be freed though the plan as a whole is not carried out yet."""
    desired = first.resolution.desired
    return plan_unused_artifacts(desired, first.observed, first.recorded, quick, first.plan.held)


def _is_understood(job: Job, desired: Desired) -> bool:
    """As with pruning: what nobody can read now may still be wanted, and hours of work are not thrown away for a slip
    of the pen."""
    variant = job.change.variant
    return variant not in desired.unresolved and (desired.complete or variant in desired.declared)


def _summarize(result: PassResult, seconds: float) -> None:
    """The one line a pass leaves in the log."""
    log.info(
        "pass.done",
        revision=result.remaining.revision,
        converged=result.converged,
        changes=len(result.outcomes),
        failed=len(result.failed),
        held=len(result.remaining.held),
        running=len(result.running),
        problems=len(result.resolution.problems),
        seconds=round(seconds, 3),
    )
