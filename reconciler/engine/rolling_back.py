"""Go back to an earlier release by hand, and take that back; each is an event.

Saying so takes the lock of the suspensions alone, as `suspend` does, so that no daemon stands between a person and the
brake. Whoever holds the root's lock then carries it out: a daemon, woken by the file that changes, or we ourselves, for
the one variant and without any manifest.
"""

from __future__ import annotations

import time

from reconciler.core.desired import Desired, Wanted
from reconciler.core.errors import LockHeld, PermanentError
from reconciler.core.history import good_ones
from reconciler.core.plan import make_plan
from reconciler.core.rollback import Rollback, effective, is_obtainable
from reconciler.engine.carry_out import Execution
from reconciler.engine.machine import locked_machine, observe, recall
from reconciler.engine.options import PassResult
from reconciler.engine.planning import Look
from reconciler.engine.recording import record_some
from reconciler.engine.resolve import Resolution
from reconciler.engine.steps import Steps
from reconciler.engine.workers import Workers
from reconciler.host.clock import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.core.changes import Outcome
    from reconciler.core.history import Past
    from reconciler.core.observed import Observed
    from reconciler.core.recorded import Recorded
    from reconciler.engine.machine import Machine
    from reconciler.engine.report import Reporter

YEARS = (
    10 * 365 * 24 * 3600.0
)  # how long others are retained: what the manifest says is for the next pass to read
PATIENCE = 15.0  # seconds that a daemon is given
LOOK_AGAIN = 0.1  # seconds


def variants_named(machine: Machine, name: str) -> tuple[str, ...]:
    """Those that are served under this name of a model or variant. Raises PermanentError for none."""
    observed = observe(machine)
    served = sorted(one for one in observed.registrations_of if observed.serving(one))
    found = tuple(one for one in served if name in (one, one.rpartition("-")[0]))
    if not found:
        hint = f"served here: {', '.join(served) or 'nothing'}"
        raise PermanentError(f"{name} is not served on this machine", hint=hint, code="NotServed")
    return found


def roll_back(machine: Machine, variant: str, number: int, reason: str, *, dry_run: bool = False) -> Rollback:
    """Refuse what serves now, and say what is to serve instead: `number`, or the newest good one (0). Raises
    PermanentError where nothing can."""
    observed, held = observe(machine), machine.records.rollbacks()
    _refuse_suspended(recall(machine, observed), variant)
    serving = observed.serving(variant)
    digest = serving.properties.get("reconciler_release", "") if serving is not None else ""
    before = held[variant].refused if variant in held else ()
    refused = tuple(dict.fromkeys([*before, digest]))
    past = _target(machine, observed, variant, number, refused)
    if past.release.digest == digest:
        raise PermanentError(f"{variant} is served as what {past.id} was already", code="AlreadyServed")
    rest = tuple(one for one in refused if one not in (past.digest, past.release.digest))
    made = Rollback(variant=variant, refused=rest, to=past, reason=reason, since=now())
    if not dry_run:
        machine.records.save_rollbacks({**held, variant: made})
        _tell(machine, "rollback.done", variant, str(made))
    return made


def undo(machine: Machine, variant: str, *, dry_run: bool = False) -> Rollback | None:
    """Returns what this ends; None when there was none."""
    held = machine.records.rollbacks()
    ended = held.get(variant)
    if ended is not None and not dry_run:
        machine.records.save_rollbacks({name: one for name, one in held.items() if name != variant})
        _tell(machine, "rollback.undone", variant, f"was {ended}")
    return ended


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


def _refuse_suspended(recorded: Recorded, variant: str) -> None:
    """Before anything is written: it would not be carried out."""
    suspension = recorded.suspension_of(variant, variant.rpartition("-")[0])
    if suspension is not None:
        hint = f"`reconciler resume {suspension.name}` first"
        message = f"{variant} cannot be rolled back while {suspension.name} is {suspension}"
        raise PermanentError(message, hint=hint, code="Suspended")


def _target(
    machine: Machine, observed: Observed, variant: str, number: int, refused: tuple[str, ...]
) -> Past:
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


def carry_out_now(root: str, cache: str, variant: str, reporter: Reporter) -> tuple[Outcome, ...] | None:
    """Only this variant, only what going back takes. None when another process holds the root: it does it."""
    try:
        with locked_machine(root, cache, command="rollback") as machine:
            return _carry_out(machine, variant, reporter)
    except LockHeld:
        return None


def wait_until_served(machine: Machine, rollback: Rollback) -> bool:
    """For the one who holds the root's lock to carry it out."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        serving = observe(machine).serving(rollback.variant)
        if serving and serving.properties.get("reconciler_release") == rollback.to.release.digest:
            return True
        time.sleep(LOOK_AGAIN)
    return False


def _carry_out(machine: Machine, variant: str, reporter: Reporter) -> tuple[Outcome, ...]:
    observed = observe(machine)
    recorded = recall(machine, observed)
    declared = _as_served(machine, observed, variant)
    desired = effective(declared, observed, recorded)
    plan = make_plan(desired, observed, recorded, now=now())
    held = [one for one in plan.held if one.reason != "RolledBack"]
    if held:
        raise PermanentError(f"{variant}: {held[0].message}", code=held[0].reason)
    outcomes: list[Outcome] = []
    workers = Workers(machine)
    try:
        workers.expect(plan.changes)
        execution = Execution(
            machine=machine,
            workers=workers,
            resolution=Resolution(desired=desired, problems=(), warnings=(), sources={}),
        )
        Steps(reporter, outcomes).run(plan.changes, execution)
    finally:
        workers.close()
        machine.stamps.save()
    _judge(machine, declared, tuple(outcomes))
    return tuple(outcomes)


def _judge(machine: Machine, declared: Desired, outcomes: tuple[Outcome, ...] = ()) -> None:
    """What the conditions of this one variant say until the next pass, which reads the manifests."""
    observed = observe(machine)
    recorded = recall(machine, observed)
    desired = effective(declared, observed, recorded)
    resolution = Resolution(desired=desired, problems=(), warnings=(), sources={})
    plan = make_plan(desired, observed, recorded, now=now())
    last = Look(resolution=resolution, observed=observed, recorded=recorded, plan=plan)
    result = PassResult(plan=plan, remaining=plan, outcomes=outcomes, resolution=resolution)
    record_some(machine, last, result)


def _as_served(machine: Machine, observed: Observed, variant: str) -> Desired:
    """As if git declared what serves, and nothing else could be told: so nothing else is touched."""
    serving = observed.serving(variant)
    digest = serving.properties.get("reconciler_release", "") if serving is not None else ""
    past = [one for one in machine.records.history(variant) if one.number and one.digest == digest]
    if not past:
        raise PermanentError(f"the history of {variant} does not know what serves", code="NothingToGoBackTo")
    return _declaring(machine, past[-1])


def _declaring(machine: Machine, past: Past) -> Desired:
    recorded = machine.records.load()
    release = recorded.releases.get(past.release.variant)
    wanted = Wanted(
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


def _tell(machine: Machine, kind: str, variant: str, message: str) -> None:
    event = {"time": now(), "type": kind, "variant": variant, "reason": "RolledBack", "message": message}
    machine.records.append_event(event)
