"""Request a roll-back to an earlier release, withdraw the request, or undo the roll-back; each is an event.

A request needs only the lock of the suspensions, as `suspend` does, so that a running daemon does not block it. The
process that holds the root's lock carries it out: a daemon, which the changed file wakes, or this process
(operations.rollback_executor).
"""

from reconciler.domain.errors import PermanentError
from reconciler.domain.history import HistoryEntry, Rollback, good_ones
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Recorded
from reconciler.engine.machine import Machine, machine_to_suspend, observe, recall
from reconciler.host.clock import now
from reconciler.planner.rollback import is_obtainable


def variants_named(machine: Machine, name: str) -> tuple[str, ...]:
    """The served variants with this name, or of the model with this name. Raises PermanentError for none."""
    observed = observe(machine)
    served = sorted(one for one in observed.registrations_of if observed.serving(one))
    found = tuple(one for one in served if name in (one, one.rpartition("-")[0]))
    if not found:
        hint = f"served here: {', '.join(served) or 'nothing'}"
        raise PermanentError(f"{name} is not served on this machine", hint=hint, code="NotServed")
    return found


def decide(machine: Machine, variant: str, number: int, reason: str) -> Rollback:
    """The roll-back that refuses what serves, to the release `number` or the newest good one (0). Raises PermanentError
    when there is none. Reads only."""
    observed, held = observe(machine), machine.records.rollbacks()
    _refuse_suspended(recall(machine, observed), variant)
    serving = observed.serving(variant)
    digest = serving.release if serving is not None else ""
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
    _record(machine, "rollback.asked", rollback.variant, f"is to be {rollback}")
    return held.get(rollback.variant)


def take_back(machine: Machine, rollback: Rollback, before: Rollback | None, why: str) -> None:
    """Withdraw a request that failed, so that it does not happen later: `before` holds again. A newer request stays."""
    with machine_to_suspend(machine.layout.root, machine.cache, command="rollback", traits=machine.traits) as held:
        found = held.records.rollbacks()
        if found.get(rollback.variant) == rollback:
            rest = {name: one for name, one in found.items() if name != rollback.variant}
            held.records.save_rollbacks({**rest, rollback.variant: before} if before is not None else rest)
        _record(held, "rollback.failed", rollback.variant, why)


def record_done(machine: Machine, rollback: Rollback) -> None:
    _record(machine, "rollback.done", rollback.variant, str(rollback))


def undo(machine: Machine, variant: str, *, dry_run: bool = False) -> Rollback | None:
    """Returns the roll-back that this ends; None when there was none."""
    held = machine.records.rollbacks()
    ended = held.get(variant)
    if ended is not None and not dry_run:
        machine.records.save_rollbacks({name: one for name, one in held.items() if name != variant})
        _record(machine, "rollback.undone", variant, f"was {ended}")
    return ended


def _refuse_suspended(recorded: Recorded, variant: str) -> None:
    """Checked before anything is written, because a suspended variant is not rolled back."""
    suspension = recorded.suspension_of(variant, variant.rpartition("-")[0])
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
        message = f"{found[0].id} cannot be made again here: its artifact is gone"
        raise PermanentError(message, hint=hint, code="ArtifactMissing")
    return possible[0]


def _record(machine: Machine, kind: str, variant: str, message: str) -> None:
    event = {"time": now(), "type": kind, "variant": variant, "reason": "RolledBack", "message": message}
    machine.records.append_event(event)
