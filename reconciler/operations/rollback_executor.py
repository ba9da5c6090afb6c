"""Carry out a requested roll-back by a pass for one variant, without manifests; or wait for the process that holds the
root's lock to do it. A roll-back that fails is withdrawn, so that no later pass carries it out."""

import contextlib
import time

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import LockHeld, PermanentError, ReconcilerError
from reconciler.domain.history import HistoryEntry, Rollback
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Outcome
from reconciler.domain.reasons import Reason
from reconciler.engine.machine import Machine, locked_again, observe
from reconciler.engine.options import Options, PassResult
from reconciler.engine.planning import VariantDeclaration, take_snapshot
from reconciler.engine.reconciler import Reconciler
from reconciler.engine.report import Reporter
from reconciler.engine.status_writer import record_some
from reconciler.operations.rollback_requests import record_done, take_back

RETAIN = 10 * 365 * 24 * 3600.0  # seconds: nothing is retired here, the next pass reads the manifest's value
PATIENCE = 15.0  # seconds to wait for a daemon
POLL = 0.1  # seconds


def judge_undone(opened: Machine, ended: Rollback) -> bool:
    """Record the conditions after `undo`: the release that git declares is not served yet. False when another process
    holds the root, because its next pass does it."""
    try:
        with locked_again(opened, command="rollback") as machine:
            declared = [one for one in machine.records.history(ended.variant) if one.digest in ended.refused]
            if declared:
                first = next((one for one in declared if one.digest == ended.refused[0]), declared[-1])
                _record(machine, _declaring(machine, first))
            return True
    except LockHeld:
        return False


def carry_out_now(
    opened: Machine, rollback: Rollback, before: Rollback | None, reporter: Reporter
) -> tuple[Outcome, ...] | None:
    """Roll back this variant only. When it fails, the earlier request `before` holds again. None when another process
    holds the root's lock: it carries out the request."""
    with contextlib.ExitStack() as stack:
        try:
            machine = stack.enter_context(locked_again(opened, command="rollback"))
        except LockHeld:
            return None
        return _carried_out(machine, rollback, before, reporter)


def _carried_out(
    machine: Machine, rollback: Rollback, before: Rollback | None, reporter: Reporter
) -> tuple[Outcome, ...]:
    why = "it was interrupted"
    try:
        declared = _as_served(machine, observe(machine), rollback.variant)
        outcomes = _apply(machine, declared, reporter)
        why = next((one.message for one in outcomes if one.status != "done"), "it does not serve")
    except ReconcilerError as error:
        why = str(error)
        raise
    finally:
        if not is_served(machine, rollback):
            take_back(machine, rollback, before, why)
    if is_served(machine, rollback):
        record_done(machine, rollback)
        _record(machine, declared, outcomes)
    return outcomes


def _apply(machine: Machine, declared: VariantDeclaration, reporter: Reporter) -> tuple[Outcome, ...]:
    """A pass for one variant, in which the roll-back overrides the declared release. Raises PermanentError when it is
    held."""
    with Reconciler(machine, reporter, Options(), wake=lambda: None) as reconciler:
        result = reconciler.run_pass(declared)
    held = [one for one in result.plan.held if one.reason is not Reason.ROLLED_BACK]
    if held and not result.plan.changes:
        raise PermanentError(f"{declared.variant}: {held[0].message}", code=held[0].reason)
    return result.outcomes


def wait_until_served(machine: Machine, rollback: Rollback) -> bool:
    """Wait for the process that holds the root's lock. False after `PATIENCE`."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if is_served(machine, rollback):
            record_done(machine, rollback)
            return True
        time.sleep(POLL)
    return False


def is_served(machine: Machine, rollback: Rollback) -> bool:
    serving = observe(machine).serving(rollback.variant)
    return serving is not None and serving.release == rollback.to.release.digest


def _record(machine: Machine, declared: VariantDeclaration, outcomes: tuple[Outcome, ...] = ()) -> None:
    """The conditions of this variant, until the next pass reads the manifests."""
    last = take_snapshot(machine, declared)
    result = PassResult(plan=last.plan, remaining=last.plan, outcomes=outcomes, resolution=last.resolution)
    record_some(machine, last, result)


def _as_served(machine: Machine, observed: Observed, variant: str) -> VariantDeclaration:
    """As if git declared exactly what is served, so that the pass changes nothing else."""
    serving = observed.serving(variant)
    digest = serving.release if serving is not None else ""
    past = [one for one in machine.records.history(variant) if one.number and one.digest == digest]
    if not past:
        raise PermanentError(f"the history of {variant} has no entry for what serves", code="NothingToGoBackTo")
    return _declaring(machine, past[-1])


def _declaring(machine: Machine, past: HistoryEntry) -> VariantDeclaration:
    recorded = machine.records.load()
    variant = past.release.variant
    release = recorded.releases.get(variant)
    wanted = DesiredRelease(
        release=past.release,
        source_bytes=0,
        predicted_bytes=0,
        peak_bytes=0,
        protected=release is not None and release.protected,
        retain_for=RETAIN,
    )
    desired = Desired(
        revision=recorded.last_applied_revision,
        wanted=(wanted,),
        declared=frozenset({variant}),
        complete=False,  # nothing else is pruned
    )
    return VariantDeclaration(variant=variant, desired=desired)
