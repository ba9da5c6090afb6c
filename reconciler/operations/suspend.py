"""Suspend a model or variant on this machine, and resume it; each is an event.

The caller holds the lock of the suspensions, not the root's: a running pass finishes its plan, and its second look sees
the suspension. The changed file wakes a daemon.
"""

from reconciler.domain.errors import PermanentError
from reconciler.domain.recorded import Suspension, still_on
from reconciler.domain.text.names import model_of
from reconciler.domain.text.quoting import known_hint
from reconciler.engine.machine import Machine, observe, recall
from reconciler.host.clock import now


def suspend(machine: Machine, suspension: Suspension, *, dry_run: bool = False) -> None:
    """Replaces an earlier suspension of the same name. Raises PermanentError for an unknown name."""
    _require_known(machine, suspension.name)
    if not dry_run:
        others = [one for one in _current(machine) if one.name != suspension.name]
        machine.records.save_suspensions(sorted([*others, suspension], key=lambda one: one.name))
        event = {"variant": suspension.name, "reason": "Suspended", "message": str(suspension)}
        machine.records.add_event("suspend.done", **event)


def resume(machine: Machine, name: str, *, dry_run: bool = False) -> Suspension | None:
    """Returns the suspension that this ends; None when there was none."""
    current = _current(machine)
    ended = next((one for one in current if one.name == name), None)
    if ended is not None and not dry_run:
        machine.records.save_suspensions([one for one in current if one is not ended])
        machine.records.add_event("resume.done", variant=name, reason="Suspended", message=f"was {ended}")
    return ended


def _current(machine: Machine) -> tuple[Suspension, ...]:
    return still_on(machine.records.load().suspensions, now())


def _require_known(machine: Machine, name: str) -> None:
    """A misspelt name would silently suspend nothing."""
    observed = observe(machine)
    variants = {one.name for one in observed.registrations if one.owner == machine.owner}
    variants |= recall(machine, observed).releases.keys() | machine.records.conditions().keys()
    known = variants | {model_of(variant) for variant in variants}
    if name not in known:
        hint = f"{known_hint('known', name, known)}; before its first pass, use spec.suspend in git"
        message = f"no model or variant {name} is known on this machine"
        raise PermanentError(message, hint=hint, code="NotKnown")
