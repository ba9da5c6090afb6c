"""One pass: look, plan, carry out, look again, record. It knows nothing of what woke it, and the same pass twice
changes nothing the second time. One failing variant never stops the others."""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial

from reconciler.core.changes import WISHES, Outcome
from reconciler.core.errors import DiskFull, ReconcilerError
from reconciler.core.value import value
from reconciler.engine import carry_out as steps
from reconciler.engine import log
from reconciler.engine.conversions import Conversions
from reconciler.engine.planning import Look, look
from reconciler.engine.recording import record_outcome, record_pass
from reconciler.engine.workers import Workers
from reconciler.host import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.core.changes import Change, Plan
    from reconciler.core.parse import Parsed
    from reconciler.engine.conversions import Converted
    from reconciler.engine.machine import Machine
    from reconciler.engine.report import Reporter
    from reconciler.engine.resolve import Resolution


@value
class Options:
    """`jobs` conversions at a time; `conversion_timeout` in seconds, each."""

    confirm: bool = False
    jobs: int = 1
    conversion_timeout: float = 6 * 3600.0


@value
class PassResult:
    """`remaining` is what a second look still finds to do: empty when the pass converged."""

    plan: Plan
    remaining: Plan
    outcomes: tuple[Outcome, ...]
    resolution: Resolution

    @property
    def converged(self) -> bool:
        held = [hold for hold in self.remaining.held if hold.reason not in WISHES]
        return not (self.remaining or held or self.resolution.problems or self.failed)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")


def run_pass(machine: Machine, parsed: Parsed, reporter: Reporter, options: Options) -> PassResult:
    """Bring the machine to what `parsed` declares, as far as it can be. The caller holds the lock."""
    started = time.monotonic()
    _sweep(machine)
    first = look(machine, parsed, confirm=options.confirm)
    with contextlib.suppress(DiskFull):  # a full disk must not keep a pass from freeing some of it
        machine.records.save_attempted(first.resolution.desired.revision)
    outcomes: list[Outcome] = []
    try:
        _carry_out(machine, first, reporter, options, outcomes)
    except BaseException:
        # What was finished stays finished, also when interrupted; and the first error is the one to report.
        with contextlib.suppress(ReconcilerError):
            _conclude(machine, parsed, first, options, outcomes)
        raise
    result = _conclude(machine, parsed, first, options, outcomes)
    _summarize(result, time.monotonic() - started)
    return result


def _summarize(result: PassResult, seconds: float) -> None:
    """The one line a pass leaves in the log."""
    log.info(
        "pass.done",
        revision=result.remaining.revision,
        converged=result.converged,
        changes=len(result.outcomes),
        failed=len(result.failed),
        held=len(result.remaining.held),
        problems=len(result.resolution.problems),
        seconds=round(seconds, 3),
    )


def _carry_out(
    machine: Machine, first: Look, reporter: Reporter, options: Options, outcomes: list[Outcome]
) -> None:
    if first.plan:
        with Workers(machine, jobs=options.jobs) as workers:
            execution = steps.Execution(machine=machine, workers=workers, resolution=first.resolution)
            _Run(execution, reporter, options, outcomes).run(first.plan)


def _conclude(
    machine: Machine, parsed: Parsed, first: Look, options: Options, outcomes: list[Outcome]
) -> PassResult:
    """The second look, and the records of what it sees."""
    if first.plan:
        _clear(machine)
    last = look(machine, parsed, confirm=options.confirm) if first.plan else first
    result = PassResult(
        plan=first.plan, remaining=last.plan, outcomes=tuple(outcomes), resolution=last.resolution
    )
    record_pass(machine, last, result)
    return result


def _sweep(machine: Machine) -> None:
    """Leftovers of a pass that died: nothing in staging or trash has a name that anybody else uses."""
    _clear(machine)
    machine.store.sweep()
    machine.records.sweep()


def _clear(machine: Machine) -> None:
    for folder in (machine.layout.trash, machine.layout.staging):
        if os.path.isdir(folder):
            durable.empty(folder)


class _Run:
    """The steps of one plan, grouped by variant: within a variant a failure skips what follows it."""

    def __init__(
        self, execution: steps.Execution, reporter: Reporter, options: Options, outcomes: list[Outcome]
    ) -> None:
        self._execution = execution
        self._reporter = reporter
        self._outcomes = outcomes
        self._conversions = Conversions(
            execution, reporter, jobs=options.jobs, timeout=options.conversion_timeout
        )

    def run(self, plan: Plan) -> None:
        self._execution.workers.expect(plan)
        converting = {change.build_key for change in plan.changes if change.action == "convert"}
        groups = _by_variant(plan)
        waiting = [group for group in groups if any(change.build_key in converting for change in group)]
        try:
            for change in plan.changes:
                if change.action == "convert":
                    self._conversions.submit(change)
            self._run_groups([g for g in groups if g not in waiting and g[0].variant])
            for converted in self._conversions.finished():
                self._take(converted, waiting)
            self._free([change for group in groups for change in group if not change.variant])
        except BaseException:
            self._conversions.cancel()
            raise
        finally:
            self._conversions.close()

    def _run_groups(self, groups: Sequence[Sequence[Change]]) -> None:
        for group in groups:
            self._run_group(group)

    def _free(self, changes: Sequence[Change]) -> None:
        """Artifacts that nothing uses once all has gone well. After a failure something still may: the next pass
        tells."""
        failure = next((outcome for outcome in self._outcomes if outcome.status == "failed"), None)
        for change in changes:
            if failure is not None:
                self._skip(change, because=failure)
            else:
                self._run_group([change])

    def _run_group(self, group: Sequence[Change]) -> None:
        broken: Outcome | None = None
        for change in group:
            if broken is not None:
                self._skip(change, because=broken)
                continue
            outcome = self._step(change, partial(steps.carry_out, change, self._execution))
            broken = outcome if outcome.status == "failed" else None

    def _take(self, converted: Converted, waiting: Sequence[Sequence[Change]]) -> None:
        """A conversion ended: store it, then go on with every variant that waited for it."""
        stored = self._finish_conversion(converted)
        for group in waiting:
            rest = [c for c in group if c.action != "convert"]
            if not rest or group_key(group) != converted.change.build_key:
                continue
            if stored.status == "failed":
                for change in rest:
                    self._skip(change, because=stored)
            else:
                self._run_group(rest)

    def _finish_conversion(self, converted: Converted) -> Outcome:
        def store() -> None:
            if converted.error is not None:
                raise converted.error
            steps.store_conversion(converted.change.build_key, converted.tree, self._execution)

        return self._step(converted.change, store, spent=converted.seconds, announced=True)

    def _step(
        self, change: Change, act: Callable[[], None], *, spent: float = 0.0, announced: bool = False
    ) -> Outcome:
        if not announced:
            self._reporter.started(change)
        started = time.monotonic()
        try:
            act()
        except ReconcilerError as error:
            failure: dict[str, str] = {"code": error.code, "message": str(error), "hint": error.hint}
        except Exception as error:  # noqa: BLE001 - one bad object harms only itself; the log gets the traceback
            failure = {"code": "Bug", "message": f"{type(error).__name__}: {error}", "hint": _BUG_HINT}
            log.bug("change.bug", error, action=change.action, variant=change.variant)
        else:
            failure = {}
        seconds = spent + time.monotonic() - started
        return self._tell(
            Outcome(change=change, status="failed" if failure else "done", seconds=seconds, **failure)
        )

    def _skip(self, change: Change, *, because: Outcome) -> None:
        message = f"{because.change.action} failed: {because.message}"
        self._tell(Outcome(change=change, status="skipped", code=because.code, message=message))

    def _tell(self, outcome: Outcome) -> Outcome:
        self._outcomes.append(outcome)
        record_outcome(self._execution, outcome)
        self._reporter.finished(outcome)
        return outcome


_BUG_HINT = "this is a bug in reconciler: please report it with the log"


def group_key(group: Sequence[Change]) -> str:
    """The build key that a variant's changes are about."""
    return next((change.build_key for change in group if change.build_key), "")


def _by_variant(plan: Plan) -> list[list[Change]]:
    """Changes of one variant together, in plan order. Those without a variant (freed artifacts) are one group each."""
    groups: dict[str, list[Change]] = {}
    for change in plan.changes:
        groups.setdefault(change.variant or change.build_key, []).append(change)
    return list(groups.values())
