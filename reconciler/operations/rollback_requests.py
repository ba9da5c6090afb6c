"""Go back to an earlier release by hand, and take that back; each is an event.

Saying so takes the lock of the suspensions alone, as `suspend` does, so that no daemon stands between a person and the
brake. Whoever holds the root's lock then carries it out: a daemon, woken by the file that changes, or we ourselves
(operations.rollback_executor), who forget it again where it cannot be done.
"""

from __future__ import annotations

from reconciler.domain.errors import PermanentError
from reconciler.domain.history import HistoryEntry, Rollback, good_ones
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Recorded
from reconciler.engine.machine import Machine, machine_to_suspend, observe, recall
from reconciler.host.clock import now
from reconciler.planner.rollback import is_obtainable


def variants_named(machine: Machine, name: str) -> tuple[str, ...]:
    """Those that are served under this name of a model or variant. Raises PermanentError for none."""
    observed = observe(machine)
    served = sorted(one for one in observed.registrations_of if observed.serving(one))
    found = tuple(one for one in served if name in (one, one.rpartition("-")[0]))
    if not found:
        hint = f"served here: {', '.join(served) or 'nothing'}"
        raise PermanentError(f"{name} is not served on this machine", hint=hint, code="NotServed")
    return found


def decide(machine: Machine, variant: str, number: int, reason: str) -> Rollback:
    """What serves now is refused; instead `number` is to serve, or the newest good one (0). Raises PermanentError where
    nothing can. Reads only."""
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
    """From now on whoever holds the root carries it out. Returns what was asked for before."""
    held = machine.records.rollbacks()
    machine.records.save_rollbacks({**held, rollback.variant: rollback})
    _tell(machine, "rollback.asked", rollback.variant, f"is to be {rollback}")
    return held.get(rollback.variant)


def take_back(machine: Machine, rollback: Rollback, before: Rollback | None, why: str) -> None:
    """It cannot be done, and must not happen by itself some other day: `before` holds again. What somebody asked for
    meanwhile stays."""
    with machine_to_suspend(machine.layout.root, machine.cache, command="rollback") as held:
        found = held.records.rollbacks()
        if found.get(rollback.variant) == rollback:
            rest = {name: one for name, one in found.items() if name != rollback.variant}
            held.records.save_rollbacks({**rest, rollback.variant: before} if before is not None else rest)
        _tell(held, "rollback.failed", rollback.variant, why)


def tell_done(machine: Machine, rollback: Rollback) -> None:
    _tell(machine, "rollback.done", rollback.variant, str(rollback))


def undo(machine: Machine, variant: str, *, dry_run: bool = False) -> Rollback | None:
    """Returns what this ends; None when there was none."""
    held = machine.records.rollbacks()
    ended = held.get(variant)
    if ended is not None and not dry_run:
        machine.records.save_rollbacks({name: one for name, one in held.items() if name != variant})
        _tell(machine, "rollback.undone", variant, f"was {ended}")
    return ended


def _refuse_suspended(recorded: Recorded, variant: str) -> None:
    """Before anything is written: it would not be carried out."""
    suspension = recorded.suspension_of(variant, variant.rpartition("-")[0])
    if suspension is not None:
        hint = f"`reconciler resume {suspension.name}` first"
        message = f"{variant} cannot be rolled back while {suspension.name} is {suspension}"
        raise PermanentError(message, hint=hint, code="Suspended")


def _target(
    machine: Machine, observed: Observed, variant: str, number: int, refused: tuple[str, ...]
) -> HistoryEntry:
    history = machine.records.history(variant)
    found = [one for one in history if one.number == number] if number else list(good_ones(history, refused))
    if not found:
        what = f"no release {variant}:{number}" if number else f"no earlier good release of {variant}"
        hint = f"`reconciler history {variant}` lists what is remembered; otherwise revert in git"
        raise PermanentError(f"{what} is remembered on this machine", hint=hint, code="NothingToGoBackTo")
    possible = [one for one in found if is_obtainable(one.release, observed)]
    if not possible:
        hint = "revert in git: it is converted again; spec.revisionHistoryLimit says how many are kept"
        raise PermanentError(
            f"{found[0].id} cannot be made again here: its artifact is gone",
            hint=hint,
            code="ArtifactMissing",
        )
    return possible[0]


def _tell(machine: Machine, kind: str, variant: str, message: str) -> None:
    event = {"time": now(), "type": kind, "variant": variant, "reason": "RolledBack", "message": message}
    machine.records.append_event(event)
