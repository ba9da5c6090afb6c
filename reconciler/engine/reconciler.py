"""Reconciler: passes that bring one root to what git declares and never wait, and the jobs that run between them.

    reconciler = Reconciler(machine, reporter, options, wake=loop.wake)
    result = reconciler.run_pass(declared)   # any number of times; result.running are the jobs that go on
    reconciler.close()

A pass takes in the jobs that have ended, observes, plans, begins and drops jobs, carries out the quick steps, observes
again and records. Between passes only running jobs are kept in memory. One thread makes the passes. `run_pass` makes
them until no job is left, for `reconciler apply`.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from reconciler.domain.changes import (
    Change,
    Convert,
    FetchSource,
    LongWork,
    Measure,
    PruneArtifact,
    PruneSource,
    PruneVariant,
    Pull,
    RepairArtifact,
)
from reconciler.domain.desired import Desired
from reconciler.domain.errors import ReconcilerError
from reconciler.domain.failures import forgiven
from reconciler.domain.layout import WORK
from reconciler.domain.plan import Outcome, Plan
from reconciler.domain.reasons import Reason
from reconciler.engine import log
from reconciler.engine.job_queue import JobQueue
from reconciler.engine.log import best_effort
from reconciler.engine.machine import Machine, observe, recall
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_context import PassContext, Workers
from reconciler.engine.pass_result import PassResult
from reconciler.engine.planning import Declaration, Others, Snapshot, take_snapshot
from reconciler.engine.quarantine import age_quarantine, quarantine_folder
from reconciler.engine.record_writer import catch_up, record_pass
from reconciler.engine.registries import RegistryLookup, Silences, sweep_pulls
from reconciler.engine.rollouts.gate import rollout_gate
from reconciler.engine.scrub import take_doubts
from reconciler.engine.steps import NOT_WANTED, STOPPED, Steps, by_variant
from reconciler.engine.timetable import Turns
from reconciler.host import durable
from reconciler.host.ownership import make_plain
from reconciler.manifests.parsed import Parsed
from reconciler.planner.prune import plan_unused, plan_unused_artifacts


class Reconciler(contextlib.AbstractContextManager["Reconciler"]):
    """The caller holds the lock. `wake` is called from the threads of jobs when there is something to take in. `asked`:
    a user waits for the result, so back-offs from before are ignored, and child processes stay until `close`. `turns`
    let others of the fleet go first."""

    def __init__(
        self,
        machine: Machine,
        reporter: Reporter,
        options: Options,
        *,
        wake: Callable[[], None],
        asked: bool = False,
        turns: Turns | None = None,
    ) -> None:
        self._machine = machine
        self._reporter = reporter
        self._confirm = options.confirm
        self._jobs = options.jobs
        self._asked = asked
        if options.retry:
            machine.records.save_failures(())
        self._known = forgiven(machine.records.failures(), machine.records.retries()) if asked else ()
        self._queue = JobQueue(machine, reporter, options, wake)
        self._workers = Workers(machine, options)
        self._declared: Declaration | None = None
        self._turns = turns or Turns()
        self._silences = Silences()
        self._lookup = RegistryLookup(machine)
        self._rollouts = rollout_gate(machine, options.reports, None if asked else wake)

    def run_pass(self, declared: Declaration) -> PassResult:
        """As far as it can be without waiting. For a VariantDeclaration the caller records the result."""
        started = time.monotonic()
        self._declared = declared
        pulling = (job.change for job in self._queue.jobs if isinstance(job.change, Pull) and not job.ended)
        offers = {one.build_key: one.offer for one in pulling}
        self._lookup = RegistryLookup(self._machine, offers, self._silences, self._turns, patient=self._asked)
        outcomes: list[Outcome] = []
        self._take_ended(outcomes)
        result = self._pass(declared, outcomes)
        log.info("pass.done", **result.facts, seconds=round(time.monotonic() - started, 3))
        return result

    def running(self) -> tuple[LongWork, ...]:
        return tuple(job.change for job in self._queue.jobs)

    def close(self) -> None:
        """Cancels everything, and records it as cancelled; nothing of ours runs afterwards."""
        cut_off = self._queue.jobs
        self._queue.close()
        self._workers.close()
        with contextlib.suppress(ReconcilerError, OSError):
            self._clear()
            if cut_off and self._declared is not None:
                outcomes: list[Outcome] = []
                for job in cut_off:
                    Steps(self._reporter, outcomes).cancelled(job.change, job.context, STOPPED)
                last = self._snapshot(self._declared)
                self._record(self._declared, last.plan, last, outcomes)

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take_ended(self, outcomes: list[Outcome]) -> None:
        steps = Steps(self._reporter, outcomes)
        for job in self._queue.take_ended():
            steps.step(job.change, partial(self._queue.settle, job), job.context, spent=job.seconds)
            self._queue.clean(job)

    def _pass(self, declared: Declaration, outcomes: list[Outcome]) -> PassResult:
        self._sweep()
        first = self._snapshot(declared)
        with best_effort("record.lost"):  # a full disk must not keep a pass from freeing some of it
            if isinstance(declared, Parsed):
                self._machine.records.save_attempted(first.resolution.desired.revision)
            catch_up(first, self._machine)
        self._sweep_pulls(first)
        try:
            try:
                self._carry_out(first, outcomes)
            finally:
                if not (self._asked and self._queue.jobs):  # an idle daemon has no children
                    self._workers.close()
        except BaseException:
            # What was finished stays finished, also when interrupted; and the first error is the one to report.
            with contextlib.suppress(ReconcilerError, OSError):
                self._conclude(declared, first, outcomes)
            raise
        return self._conclude(declared, first, outcomes)

    def _snapshot(self, declared: Declaration) -> Snapshot:
        jobs = self._queue.jobs
        running = frozenset(
            one.measure_key if isinstance(one, Measure) else one.build_key for one in (job.change for job in jobs)
        )
        return take_snapshot(
            self._machine,
            declared,
            confirm=self._confirm,
            running=running,
            ignored=self._known,
            jobs=self._jobs,
            others=Others(self._lookup, self._rollouts),
        )

    def _carry_out(self, first: Snapshot, outcomes: list[Outcome]) -> None:
        steps = Steps(self._reporter, outcomes)
        context = PassContext(
            machine=self._machine, workers=self._workers, resolution=first.resolution, alive=self._reporter.alive
        )
        predecessors = [one for one in first.plan.changes if isinstance(one, PruneVariant) and one.makes_way_for]
        stuck = {one.makes_way_for for one in predecessors if not steps.run([one], context)}
        for change in first.plan.changes:  # afterwards: it may be what a predecessor was served from
            if isinstance(change, PruneArtifact) and change.makes_room:
                steps.run([change], context)
        self._direct_jobs(first, context, steps, stuck)
        if not first.plan:
            return
        waiting, quick = _split(first.plan)
        with best_effort("start.refused"):  # only a head start: the step that needs the child says what is wrong
            self._workers.prewarm([change for change in first.plan.changes if self._asked or change in quick])
        for change in first.plan.changes:
            if isinstance(change, RepairArtifact):
                steps.run([change], context)
        for group in by_variant(quick):
            steps.run(group, context)
        desired = first.resolution.desired
        frees = [one for one in first.plan.changes if isinstance(one, PruneArtifact | PruneSource)]
        unused: Sequence[Change] = [one for one in frees if one.reason is not Reason.DISK_SHORT]
        if waiting:  # what can be freed though the plan as a whole is not carried out yet
            unused = plan_unused_artifacts(desired, first.observed, first.recorded, quick, first.plan.held)
        steps.free(unused, context, partial(self._unused, desired))

    def _unused(self, desired: Desired) -> set[str]:
        """Build keys that nothing uses as the machine is now, whatever was to be retired or pruned."""
        observed = observe(self._machine)
        recorded = recall(self._machine, observed)
        return {change.build_key for change in plan_unused(desired, observed, recorded)}

    def _direct_jobs(self, first: Snapshot, context: PassContext, steps: Steps, stuck: set[str]) -> None:
        """Begin what the plan names, then drop what it does not name: in this order a warm worker stays. `stuck` are
        variants whose predecessor could not be removed first."""
        wanted = [one for one in first.plan.changes if isinstance(one, LongWork) and one.variant not in stuck]
        keys = {change.work_key for change in wanted}
        unwanted = [job for job in self._queue.jobs if job.change.work_key not in keys]
        dropped = [job for job in unwanted if _is_readable(job.change.variant, first.resolution.desired)]
        staying = [job.change for job in self._queue.jobs if job not in dropped]
        self._queue.begin(beginning(wanted, staying), context)
        if dropped:
            self._queue.drop(dropped)
        for job in dropped:
            steps.cancelled(job.change, job.context, NOT_WANTED)

    def _conclude(self, declared: Declaration, first: Snapshot, outcomes: list[Outcome]) -> PassResult:
        """Observe again, and record what is there."""
        if first.plan:
            self._clear()
        last = self._snapshot(declared) if first.plan else first
        return self._record(declared, first.plan, last, outcomes)

    def _record(self, declared: Declaration, plan: Plan, last: Snapshot, outcomes: list[Outcome]) -> PassResult:
        result = PassResult(
            plan=plan,
            remaining=last.plan,
            outcomes=tuple(outcomes),
            resolution=last.resolution,
            running=self.running(),
            observed=last.observed,
            recorded=last.recorded,
        )
        if isinstance(declared, Parsed):
            self._rollouts.save()
            return replace(result, unrecorded=record_pass(self._machine, last, result))
        with best_effort("record.lost"):
            self._machine.stamps.save()
        return result

    def _sweep(self) -> None:
        """Remove leftovers of a pass that died: what lies in staging and trash is used by no other process."""
        self._clear()
        with best_effort("scrub.refused"):
            take_doubts(self._machine)
        with best_effort("quarantine.refused"):
            age_quarantine(self._machine)
        for sweep in (self._machine.store.sweep, self._machine.records.sweep, self._machine.sources.sweep):
            with best_effort("sweep.refused"):
                sweep()

    def _sweep_pulls(self, seen: Snapshot) -> None:
        """What came of artifacts that nothing wants any more, or that are here (a process died when it had taken one
        in). As with jobs: not while a manifest cannot be read."""
        desired = seen.resolution.desired
        if not desired.complete or desired.unresolved:
            return
        wanted = {one.release.recipe.build_key for one in desired.wanted} - seen.observed.usable
        with best_effort("sweep.refused"):
            for folder in sweep_pulls(self._machine, {*wanted, *(one.build_key for one in self.running())}):
                durable.free(durable.unname(folder, self._machine.layout.trash))

    def _clear(self) -> None:
        keep = [WORK] if self._queue.alive else []
        layout = self._machine.layout
        for folder in (layout.trash, layout.staging):
            with best_effort("sweep.refused"):
                make_plain(layout.root, folder, quarantine_folder(layout))
                durable.empty(folder, keep=(*keep, *self._workers.folders))


def beginning(wanted: list[LongWork], running: list[LongWork]) -> list[LongWork]:
    """Of each variant only what comes first. Measurements and conversions never overlap: a conversion uses all
    cores."""
    first = {change.variant: change for change in reversed(wanted)}
    mine = [change for change in wanted if first[change.variant] is change]
    if any(isinstance(change, Measure) for change in running):
        return [change for change in mine if not isinstance(change, Convert)]
    if any(isinstance(change, Convert) for change in (*mine, *running)):
        return [change for change in mine if not isinstance(change, Measure)]
    return mine


def _split(plan: Plan) -> tuple[list[Change], list[Change]]:
    """What waits for jobs, and what does not. A variant waits as a whole; artifacts are freed separately."""
    keys = {change.build_key for change in plan.changes if isinstance(change, FetchSource | Convert | Pull)}
    waiting: list[Change] = []
    quick: list[Change] = []
    for group in by_variant(plan.changes):
        if group[0].variant and not _makes_way(group):
            waits = any(isinstance(one, LongWork) or one.build_key in keys for one in group)
            (waiting if waits else quick).extend(group)
    return waiting, quick


def _makes_way(group: Sequence[Change]) -> bool:
    """Another precision that went before all else: nothing more of it is to be done."""
    return all(isinstance(one, PruneVariant) and one.makes_way_for for one in group)


def _is_readable(variant: str, desired: Desired) -> bool:
    """As with pruning: a variant whose manifest cannot be read just now may still be declared, so its job goes on."""
    return variant not in desired.unresolved and (desired.complete or variant in desired.declared)


def run_pass(machine: Machine, parsed: Parsed, reporter: Reporter, options: Options) -> PassResult:
    """Passes until no job is left, and nothing that waited for another model can be done. The caller holds the
    lock."""
    woken = threading.Event()
    with Reconciler(machine, reporter, options, wake=woken.set, asked=True) as reconciler:
        first = result = reconciler.run_pass(parsed)
        outcomes = first.outcomes
        while result.running or result.released:
            while not result.released and not woken.wait(1.0):  # in pieces: on Windows Ctrl-C does not end a wait
                pass
            woken.clear()
            result = reconciler.run_pass(parsed)
            outcomes += result.outcomes
    return replace(result, plan=first.plan, outcomes=outcomes)
