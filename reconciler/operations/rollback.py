"""Roll-backs: request one, withdraw the request, carry it out, undo it; each is an event.

A request needs only the lock of the suspensions, as `suspend` does, so that a running daemon does not block it. The
process that holds the root's lock carries it out: a daemon, which the changed file wakes, or this process, by a pass
for one variant without manifests. A roll-back that fails is withdrawn, so that no later pass carries it out.
"""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import LockHeld, PermanentError, ReconcilerError
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.history import HistoryEntry, Rollback, good_ones
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Outcome
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.domain.text.names import model_of
from reconciler.domain.text.quoting import known_hint
from reconciler.engine.machine import Machine, locked_again, observe, recall
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.planning import VariantDeclaration, take_snapshot
from reconciler.engine.reconciler import Reconciler
from reconciler.engine.record_writer import record_some
from reconciler.engine.trust import refusals
from reconciler.host.clock import now
from reconciler.planner.rollback import is_obtainable

RETAIN = 10 * 365 * 24 * 3600.0  # seconds: nothing is retired here, the next pass reads the manifest's value
PATIENCE = 15.0  # seconds to wait for a daemon
POLL = 0.1  # seconds


def variants_named(machine: Machine, name: str, *, also: Iterable[str] = ()) -> tuple[str, ...]:
    """The served variants, and `also` these, with this name, or of the model with this name. Raises PermanentError for
    none."""
    observed = observe(machine)
    served = sorted({*(one for one in observed.registrations_of if observed.serving(one)), *also})
    found = tuple(one for one in served if name in (one, model_of(one)))
    if not found:
        hint = known_hint("served", name, served)
        raise PermanentError(f"{name} is not served on this machine", hint=hint, code="NotServed")
    return found


def decide(machine: Machine, variant: str, number: int, reason: str) -> Rollback:
    """The roll-back that refuses what serves, to the release `number` or the newest good one (0). Raises PermanentError
    when there is none. Reads only."""
    observed = replace(observe(machine), refused=refusals(machine))
    held = machine.records.rollbacks()
    _refuse_suspended(recall(machine, observed), variant)
    digest = _serving(observed, variant)
    before = held[variant].refused if variant in held else ()
    refused = tuple(dict.fromkeys([*before, digest]))
    past = _target(machine, observed, variant, number, refused)
    if past.release.digest == digest:
        raise PermanentError(f"{variant} is served as what {past.id} was already", code="AlreadyServed")
    rest = tuple(one for one in refused if one not in (past.digest, past.release.digest))
    return Rollback(variant=variant, refused=rest, to=past, reason=reason, since=now())


def ask_for(machine: Machine, rollback: Rollback) -> Rollback | None:
    """Record the request. Returns the earlier request for the same variant."""
    held = machine.records.rollbacks()
    machine.records.save_rollbacks({**held, rollback.variant: rollback})
    _event(machine, "rollback.asked", rollback.variant, f"is to be {rollback}")
    return held.get(rollback.variant)


def take_back(machine: Machine, rollback: Rollback, before: Rollback | None, why: str) -> None:
    """Withdraw a request that failed, so that it does not happen later: `before` holds again. A newer request stays."""
    with locked_again(machine, command="rollback", suspends=True) as held:
        found = held.records.rollbacks()
        if found.get(rollback.variant) == rollback:
            rest = {name: one for name, one in found.items() if name != rollback.variant}
            held.records.save_rollbacks({**rest, rollback.variant: before} if before is not None else rest)
        _event(held, "rollback.failed", rollback.variant, why)


def undo(machine: Machine, variant: str, *, dry_run: bool = False) -> Rollback | None:
    """Returns the roll-back that this ends; None when there was none."""
    held = machine.records.rollbacks()
    ended = held.get(variant)
    if ended is not None and not dry_run:
        machine.records.save_rollbacks({name: one for name, one in held.items() if name != variant})
        _event(machine, "rollback.undone", variant, f"was {ended}")
    return ended


def _refuse_suspended(recorded: Recorded, variant: str) -> None:
    """Checked before anything is written, because a suspended variant is not rolled back."""
    suspension = recorded.suspension_of(variant, model_of(variant))
    if suspension is not None:
        hint = f"`reconciler resume {suspension.name}` first"
        message = f"{variant} cannot be rolled back while {suspension.name} is {suspension}"
        raise PermanentError(message, hint=hint, code="Suspended")


def _target(machine: Machine, observed: Observed, variant: str, number: int, refused: tuple[str, ...]) -> HistoryEntry:
    history = machine.records.history(variant)
    found = [one for one in history if one.number == number] if number else list(good_ones(history, refused))
    if not found:
        what = f"no release {variant}:{number}" if number else f"no earlier good release of {variant}"
        hint = f"`reconciler history {variant}` lists the known releases; otherwise revert in git"
        raise PermanentError(f"{what} is known on this machine", hint=hint, code="NothingToGoBackTo")
    possible = [one for one in found if is_obtainable(one.release, observed)]
    if not possible:
        hint = "revert in git: it is converted again; spec.revisionHistoryLimit sets how many are kept"
        message = f"{found[0].id} cannot be made again here: its artifact is gone or not trusted"
        raise PermanentError(message, hint=hint, code="ArtifactMissing")
    return possible[0]


def _event(machine: Machine, kind: str, variant: str, message: str) -> None:
    machine.records.add_event(kind, variant=variant, reason="RolledBack", message=message)


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
        _event(machine, "rollback.done", rollback.variant, str(rollback))
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
            _event(machine, "rollback.done", rollback.variant, str(rollback))
            return True
        time.sleep(POLL)
    return False


def is_served(machine: Machine, rollback: Rollback) -> bool:
    return _serving(observe(machine), rollback.variant) == rollback.to.release.digest


def _serving(observed: Observed, variant: str) -> str:
    """The digest of the release that serves, "" for none."""
    serving = observed.serving(variant)
    return serving.release if serving is not None else ""


def _record(machine: Machine, declared: VariantDeclaration, outcomes: tuple[Outcome, ...] = ()) -> None:
    """The conditions of this variant, until the next pass reads the manifests."""
    last = take_snapshot(machine, declared)
    result = PassResult(plan=last.plan, remaining=last.plan, outcomes=outcomes, resolution=last.resolution)
    record_some(machine, last, result)


def _as_served(machine: Machine, observed: Observed, variant: str) -> VariantDeclaration:
    """As if git declared exactly what is served, so that the pass changes nothing else."""
    digest = _serving(observed, variant)
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
        gates=GateSpec(task=past.release.task),
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
