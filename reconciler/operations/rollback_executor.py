"""Carry out a roll-back that somebody asked for, for the one variant and without any manifest; or wait for the process
that holds the root to do it. What does not come to serve is taken back: it would happen some other day by itself."""

from __future__ import annotations

import contextlib
import time

from reconciler.domain.changes import Change, Outcome, Plan
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import LockHeld, PermanentError, ReconcilerError
from reconciler.domain.history import HistoryEntry, Rollback
from reconciler.domain.observed import Observed
from reconciler.engine.machine import Machine, locked_machine, observe, recall
from reconciler.engine.options import PassResult
from reconciler.engine.pass_context import PassContext
from reconciler.engine.planning import Snapshot
from reconciler.engine.report import Reporter
from reconciler.engine.resolve import Resolution
from reconciler.engine.status_writer import record_some
from reconciler.engine.steps import Steps
from reconciler.engine.workers import Workers
from reconciler.host.clock import now
from reconciler.operations.rollback_requests import take_back, tell_done
from reconciler.planner.plan import make_plan
from reconciler.planner.rollback import effective

YEARS = (
    10 * 365 * 24 * 3600.0
)  # how long others are retained: what the manifest says is for the next pass to read
PATIENCE = 15.0  # seconds that a daemon is given
LOOK_AGAIN = 0.1  # seconds


def judge_undone(root: str, cache: str, ended: Rollback) -> bool:
    """The conditions after `undo`: git's release is wanted again, and not served yet. False when another process
    holds the root: its next pass judges."""
    try:
        with locked_machine(root, cache, command="rollback") as machine:
            declared = [one for one in machine.records.history(ended.variant) if one.digest in ended.refused]
            if declared:
                first = next((one for one in declared if one.digest == ended.refused[0]), declared[-1])
                _judge(machine, _declaring(machine, first))
            return True
    except LockHeld:
        return False


def carry_out_now(
    root: str, cache: str, rollback: Rollback, before: Rollback | None, reporter: Reporter
) -> tuple[Outcome, ...] | None:
    """Only this variant, only what going back takes; what does not serve then is not asked for any more, but what was
    `before`. None when another process holds the root: it does it."""
    with contextlib.ExitStack() as stack:
        try:
            machine = stack.enter_context(locked_machine(root, cache, command="rollback"))
        except LockHeld:
            return None
        return _carried_out(machine, rollback, before, reporter)


def _carried_out(
    machine: Machine, rollback: Rollback, before: Rollback | None, reporter: Reporter
) -> tuple[Outcome, ...]:
    why = "it was interrupted"
    try:
        declared = _as_served(machine, observe(machine), rollback.variant)
        outcomes = _carry_out(machine, declared, rollback, reporter)
        why = next((one.message for one in outcomes if one.status != "done"), "it does not serve")
    except ReconcilerError as error:
        why = str(error)
        raise
    finally:
        if not is_served(machine, rollback):
            take_back(machine, rollback, before, why)
    if is_served(machine, rollback):
        tell_done(machine, rollback)
        _judge(machine, declared, outcomes)
    return outcomes


def wait_until_served(machine: Machine, rollback: Rollback) -> bool:
    """For the one who holds the root's lock to carry it out."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if is_served(machine, rollback):
            tell_done(machine, rollback)
            return True
        time.sleep(LOOK_AGAIN)
    return False


def is_served(machine: Machine, rollback: Rollback) -> bool:
    serving = observe(machine).serving(rollback.variant)
    digest = serving.release if serving is not None else None
    return digest == rollback.to.release.digest


def _carry_out(
    machine: Machine, declared: Desired, rollback: Rollback, reporter: Reporter
) -> tuple[Outcome, ...]:
    observed = observe(machine)
    recorded = recall(machine, observed)
    desired = effective(declared, observed, recorded)
    changes = _of_this_alone(make_plan(desired, observed, recorded, now=now()), rollback)
    outcomes: list[Outcome] = []
    workers = Workers(machine)
    try:
        workers.prewarm(changes)
        context = PassContext(
            machine=machine,
            workers=workers,
            resolution=Resolution(desired=desired, problems=(), warnings=(), sources={}),
        )
        Steps(reporter, outcomes).run(changes, context)
    finally:
        workers.close()
        machine.stamps.save()
    return tuple(outcomes)


def _of_this_alone(plan: Plan, rollback: Rollback) -> tuple[Change, ...]:
    """Without manifests nothing can be told of any other variant: what the plan holds back of those is no news here.
    Raises PermanentError where nothing can be done for this one, with why."""
    name, key = rollback.variant, rollback.to.release.recipe.build_key
    changes = tuple(one for one in plan.changes if one.variant == name or key == one.build_key)
    held = [one for one in plan.held if one.variant == name and one.reason != "RolledBack"]
    if held and not changes:
        raise PermanentError(f"{name}: {held[0].message}", code=held[0].reason)
    return changes


def _judge(machine: Machine, declared: Desired, outcomes: tuple[Outcome, ...] = ()) -> None:
    """What the conditions of this one variant say until the next pass, which reads the manifests."""
    observed = observe(machine)
    recorded = recall(machine, observed)
    desired = effective(declared, observed, recorded)
    resolution = Resolution(desired=desired, problems=(), warnings=(), sources={})
    plan = make_plan(desired, observed, recorded, now=now())
    last = Snapshot(resolution=resolution, observed=observed, recorded=recorded, plan=plan)
    result = PassResult(plan=plan, remaining=plan, outcomes=outcomes, resolution=resolution)
    record_some(machine, last, result)


def _as_served(machine: Machine, observed: Observed, variant: str) -> Desired:
    """As if git declared what serves, and nothing else could be told: so nothing else is touched."""
    serving = observed.serving(variant)
    digest = serving.release if serving is not None else ""
    past = [one for one in machine.records.history(variant) if one.number and one.digest == digest]
    if not past:
        raise PermanentError(f"the history of {variant} does not know what serves", code="NothingToGoBackTo")
    return _declaring(machine, past[-1])


def _declaring(machine: Machine, past: HistoryEntry) -> Desired:
    recorded = machine.records.load()
    release = recorded.releases.get(past.release.variant)
    wanted = DesiredRelease(
        release=past.release,
        source_bytes=0,
        predicted_bytes=0,
        peak_bytes=0,
        protected=release.protected if release is not None else False,
        retain_for=YEARS,
    )
    revision = recorded.last_applied_revision
    return Desired(
        revision=revision, wanted=(wanted,), declared=frozenset({past.release.variant}), complete=False
    )
