"""One root, kept at what git declares: passes that never wait, and the long work that goes on between them.

    keeping = Reconciler(machine, reporter, options, wake=loop.wake)
    result = keeping.run_pass(parsed)     # as often as one likes; result.running is what goes on beside
    keeping.close()

A pass takes in the long work that has ended since the last one, looks, plans, begins and drops long work as the plan
wants it, carries out everything quick, looks again and records. Nothing is remembered from pass to pass but what
runs: a conversion that ends calls `wake`, and the pass that follows finds its artifact in the store like any other.

One thread makes the passes. `reconciler apply` is the same with somebody who waits (engine.apply_once).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import TracebackType

from reconciler.domain.changes import LONG, MAKES_ROOM, MAKES_WAY, PRUNE_GUARDS, Change, Outcome, Plan
from reconciler.domain.desired import Desired
from reconciler.domain.errors import ReconcilerError
from reconciler.engine import log
from reconciler.engine.history_writer import remember_served
from reconciler.engine.job import Job, work_key
from reconciler.engine.job_progress import FOLDER
from reconciler.engine.job_queue import JobQueue
from reconciler.engine.machine import Machine, observe, recall
from reconciler.engine.options import Options, PassResult
from reconciler.engine.pass_context import PassContext
from reconciler.engine.planning import Snapshot, take_snapshot
from reconciler.engine.quarantine import age_quarantine, quarantine_folder
from reconciler.engine.refusals import best_effort
from reconciler.engine.report import Reporter
from reconciler.engine.scrub import take_doubts
from reconciler.engine.status_writer import record_pass
from reconciler.engine.steps import NOT_WANTED, STOPPED, Steps, by_variant
from reconciler.engine.workers import Workers
from reconciler.host import durable
from reconciler.host.own_path import make_plain
from reconciler.manifests.parse import Parsed
from reconciler.planner.plan_fetch import plan_unused_sources
from reconciler.planner.prune import plan_unreferenced


class Reconciler:
    """The caller holds the lock. `wake` is called from other threads, whenever another pass would find something to
    take in. `asked`: a person waits for the result, so back-offs are ignored that they knew of, and children stay
    until `close`."""

    def __init__(
        self,
        machine: Machine,
        reporter: Reporter,
        options: Options,
        *,
        wake: Callable[[], None],
        asked: bool = False,
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
        self._parsed: Parsed | None = None

    def run_pass(self, parsed: Parsed) -> PassResult:
        """Bring the machine to what `parsed` declares, as far as it can be without waiting."""
        started = time.monotonic()
        self._parsed = parsed
        outcomes: list[Outcome] = []
        self._take_ended(outcomes)
        result = self._pass(parsed, outcomes)
        _summarize(result, time.monotonic() - started)
        return result

    def running(self) -> tuple[Change, ...]:
        """What runs beside now."""
        return tuple(job.change for job in self._long.jobs)

    def close(self) -> None:
        """Cancels everything; nothing of ours runs afterwards. What was cut off is recorded as what it is."""
        cut_off = self._long.jobs
        self._long.close()
        self._workers.close()
        with contextlib.suppress(ReconcilerError, OSError):
            self._clear()
            if cut_off and self._parsed is not None:
                self._record_cut_off(cut_off, self._parsed)

    def __enter__(self) -> Reconciler:
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

    def _pass(self, parsed: Parsed, outcomes: list[Outcome]) -> PassResult:
        self._sweep()
        first = self._look(parsed)
        with best_effort("record.lost"):  # a full disk must not keep a pass from freeing some of it
            self._machine.records.save_attempted(first.resolution.desired.revision)
            remember_served(first, self._machine)
        try:
            try:
                self._carry_out(first, outcomes)
            finally:
                self._let_children_go()
        except BaseException:
            # What was finished stays finished, also when interrupted; and the first error is the one to report.
            with contextlib.suppress(ReconcilerError, OSError):
                self._conclude(parsed, first, outcomes)
            raise
        return self._conclude(parsed, first, outcomes)

    def _let_children_go(self) -> None:
        """An idle daemon has none. Who waits for long work keeps them warm for what follows it."""
        if not (self._asked and self._long.jobs):
            self._workers.close()

    def _look(self, parsed: Parsed) -> Snapshot:
        begun = [job.change for job in self._long.jobs if job.change.action != "measure"]
        running = frozenset(change.build_key for change in begun)
        return take_snapshot(
            self._machine,
            parsed,
            confirm=self._confirm,
            running=running,
            ignored=self._known,
            jobs=self._jobs,
        )

    def _carry_out(self, first: Snapshot, outcomes: list[Outcome]) -> None:
        steps = Steps(self._reporter, outcomes)
        context = PassContext(machine=self._machine, workers=self._workers, resolution=first.resolution)
        for reason in (MAKES_WAY, MAKES_ROOM):  # what is freed may be what made way was served from
            for change in first.plan.changes:
                if change.reason == reason:
                    steps.run([change], context)
        stuck = {
            one.change.variant
            for one in outcomes
            if one.status == "failed" and one.change.reason == MAKES_WAY
        }
        self._direct_long_work(first, context, steps, stuck)
        if not first.plan:
            return
        waiting, quick = _parted(first.plan)
        with best_effort(
            "start.refused"
        ):  # only a head start: the step that needs the child says what is wrong
            self._workers.prewarm([change for change in first.plan.changes if self._asked or change in quick])
        for change in _without_variant(first.plan, "repair"):
            steps.run([change], context)
        for group in by_variant(quick):
            steps.run(group, context)
        freed = _freed(first, quick) if waiting else _without_variant(first.plan, "prune")
        steps.free(freed, context, partial(self._unused, first.resolution.desired))

    def _unused(self, desired: Desired) -> set[str]:
        """What nothing uses as things are now, whatever was to be retired or pruned."""
        observed = observe(self._machine)
        artifacts = plan_unreferenced(desired, observed, recall(self._machine, observed), ())
        return {change.build_key for change in (*artifacts, *plan_unused_sources(desired, observed))}

    def _direct_long_work(self, first: Snapshot, context: PassContext, steps: Steps, stuck: set[str]) -> None:
        """Begin what the plan wants, then drop what it does not want: in this order a warm worker stays. `stuck` are
        variants whose predecessor would not make way."""
        wanted = [one for one in first.plan.changes if one.action in LONG and one.variant not in stuck]
        keys = {work_key(change) for change in wanted}
        unwanted = [job for job in self._long.jobs if job.key not in keys]
        dropped = [job for job in unwanted if _is_understood(job, first.resolution.desired)]
        staying = [job.change for job in self._long.jobs if job not in dropped]
        self._long.begin(_beginning(wanted, staying), context)
        if dropped:
            self._long.drop(dropped)
        for job in dropped:
            steps.cancelled(job.change, job.context, NOT_WANTED)

    def _conclude(self, parsed: Parsed, first: Snapshot, outcomes: list[Outcome]) -> PassResult:
        """The second look, and the records of what it sees."""
        if first.plan:
            self._clear()
        last = self._look(parsed) if first.plan else first
        result = PassResult(
            plan=first.plan,
            remaining=last.plan,
            outcomes=tuple(outcomes),
            resolution=last.resolution,
            running=self.running(),
        )
        return replace(result, unrecorded=record_pass(self._machine, last, result))

    def _record_cut_off(self, jobs: tuple[Job, ...], parsed: Parsed) -> None:
        outcomes: list[Outcome] = []
        for job in jobs:
            Steps(self._reporter, outcomes).cancelled(job.change, job.context, STOPPED)
        last = self._look(parsed)
        record_pass(
            self._machine,
            last,
            PassResult(
                plan=last.plan, remaining=last.plan, outcomes=tuple(outcomes), resolution=last.resolution
            ),
        )

    def _sweep(self) -> None:
        """Leftovers of a pass that died: nothing in staging or trash has a name that anybody else uses."""
        self._clear()
        with best_effort("scrub.refused"):
            take_doubts(self._machine)
        with best_effort("quarantine.refused"):
            age_quarantine(self._machine)
        for sweep in (self._machine.store.sweep, self._machine.records.sweep, self._machine.shelf.sweep):
            with best_effort("sweep.refused"):
                sweep()

    def _clear(self) -> None:
        keep = [FOLDER] if self._long.alive else []
        layout = self._machine.layout
        for folder in (layout.trash, layout.staging):
            with best_effort("sweep.refused"):
                make_plain(layout.root, folder, quarantine_folder(layout))
                durable.empty(folder, keep=(*keep, *self._workers.folders))


def _beginning(wanted: list[Change], running: list[Change]) -> list[Change]:
    """Of each variant only what comes first. Nothing is timed beside a conversion, which takes every core there is, so
    each of the two waits for the other."""
    first = {change.variant: change for change in reversed(wanted)}
    mine = [change for change in wanted if first[change.variant] is change]
    if any(change.action == "measure" for change in running):
        return [change for change in mine if change.action != "convert"]
    if any(change.action == "convert" for change in (*mine, *running)):
        return [change for change in mine if change.action != "measure"]
    return mine


def _parted(plan: Plan) -> tuple[list[Change], list[Change]]:
    """What waits for long work, and what does not. A variant waits as a whole; artifacts are freed apart."""
    keys = {change.build_key for change in plan.changes if change.action in LONG - {"measure"}} - {""}
    groups = [group for group in by_variant(plan.changes) if group[0].variant]
    waits = [any(c.action in LONG or c.build_key in keys for c in group) for group in groups]
    waiting = [change for group, wait in zip(groups, waits, strict=True) if wait for change in group]
    return waiting, [
        change for group, wait in zip(groups, waits, strict=True) if not wait for change in group
    ]


def _without_variant(plan: Plan, action: str) -> list[Change]:
    return [
        change
        for change in plan.changes
        if not change.variant and change.action == action and change.reason != MAKES_ROOM
    ]


def _freed(first: Snapshot, quick: list[Change]) -> list[Change]:
    """What can be freed though the plan as a whole is not carried out yet."""
    if any(hold.reason in PRUNE_GUARDS for hold in first.plan.held):
        return []
    return plan_unreferenced(first.resolution.desired, first.observed, first.recorded, quick)


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
