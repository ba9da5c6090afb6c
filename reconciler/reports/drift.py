"""How a machine differs from git: pending (git is ahead of the machine), drifted (something else changed the machine)
or unchecked (it could not be compared). Pure.

Drift is judged from the machine and its records alone, so it is also seen where git has moved on, where a model is
suspended, and where its source is broken.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.domain.changes import word_of
from reconciler.domain.desired import Desired
from reconciler.domain.errors import Problem
from reconciler.domain.observed import Observed
from reconciler.domain.plain_data import as_dict, grouped
from reconciler.domain.plan import Plan
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.domain.text.names import model_of
from reconciler.planner.conditions import Conditions
from reconciler.planner.precision_choice import OF_MACHINE
from reconciler.reports.text import Shown, terminal_lines
from reconciler.reports.view import FORMAT_VERSION, View

STATES = ("drifted", "pending", "unchecked")
_UNKNOWN = Reason.MANIFESTS_UNREADABLE  # what is still declared


@dataclass(frozen=True, kw_only=True)
class DriftFinding:
    """`variant` is empty for an artifact. `since` is when the records last saw a change of it, "" if never."""

    variant: str
    state: str  # drifted | pending | unchecked
    reason: str
    details: tuple[str, ...] = ()
    since: str = ""
    suspension: str = ""


def find_drift(
    desired: Desired, observed: Observed, recorded: Recorded, plan: Plan, conditions: Conditions
) -> tuple[DriftFinding, ...]:
    """By state, then by name. One variant can be pending and drifted at once."""
    unresolved = desired.declared - {one.variant for one in desired.wanted}

    def diverges(variant: str, state: str, reason: str, details: Iterable[str] = ()) -> DriftFinding:
        suspension = recorded.suspension_of(variant, model_of(variant))
        return DriftFinding(
            variant=variant,
            state=state,
            reason=reason,
            details=tuple(details),
            since=max((one.last_transition_time for one in conditions.get(variant, {}).values()), default=""),
            suspension=str(suspension or ""),
        )

    found = [diverges(name, "drifted", "DriftDetected", broken) for name, broken in _drifted(observed, recorded)]
    found += [diverges(name, "pending", why, what) for name, why, what in _pending(desired, observed, recorded, plan)]
    found += [diverges(name, "unchecked", _why_unresolved(name, desired)) for name in unresolved]
    found += [diverges(one.variant, "unchecked", one.reason) for one in plan.held if one.reason is _UNKNOWN]
    return tuple(sorted(found, key=lambda one: (STATES.index(one.state), one.variant)))


def _why_unresolved(variant: str, desired: Desired) -> str:
    problem = desired.unresolved.get(variant)
    return problem.code if problem is not None and problem.code in OF_MACHINE else "SourceInvalid"


def _drifted(observed: Observed, recorded: Recorded) -> Iterator[tuple[str, list[str]]]:
    """What of ours is not as it was left."""
    ours = {one.name for one in observed.registrations if observed.owns(one.owner)}
    for variant in ours | recorded.releases.keys():
        if broken := what_is_broken(variant, observed, recorded):
            yield variant, broken


def what_is_broken(variant: str, observed: Observed, recorded: Recorded) -> list[str]:
    """How what serves differs from what was left to serve; nothing where nothing was."""
    registration, record = observed.serving(variant), recorded.releases.get(variant)
    if (left := registration or record) is None:
        return []
    folder = next((one for one in observed.folders_of.get(variant, []) if one.number == left.number), None)
    broken = ["served folder missing"] if folder is None else list(folder.damage)
    if registration is None:
        return ["registration removed", *broken]
    is_elsewhere = folder is not None and registration.path.rstrip("/\\") != folder.path
    return ["registration points elsewhere", *broken] if is_elsewhere else [*registration.damage, *broken]


def _pending(
    desired: Desired, observed: Observed, recorded: Recorded, plan: Plan
) -> Iterator[tuple[str, str, list[str]]]:
    """What git asks for and the machine was never given, held back or not."""
    ahead = (change for change in plan.changes if change.reason is not Reason.DRIFT_DETECTED)
    changing = grouped(ahead, lambda change: change.variant)
    for variant, changes in changing.items():
        actions = dict.fromkeys(map(word_of, changes))
        fields = dict.fromkeys(field for change in changes for field in change.forced_by)
        yield variant, changes[0].reason, [*actions, *fields]
    current = {
        one.variant
        for one in desired.wanted
        if one.override is None and _is_current(one.release.digest, one.variant, observed, recorded)
    }
    for held in plan.held:
        if held.variant not in {*current, *changing} and held.reason is not _UNKNOWN:
            yield held.variant, held.reason, [held.message]


def _is_current(digest: str, variant: str, observed: Observed, recorded: Recorded) -> bool:
    """The machine was given this release, whatever has happened to it since."""
    registration, release = observed.serving(variant), recorded.releases.get(variant)
    given = registration.release if registration else None
    return digest in (given, release.release if release and not registration else None)


def drift_view(revision: str, found: Iterable[DriftFinding], problems: Iterable[Problem] = ()) -> View:
    variants = [as_dict(one) for one in found]
    return {
        "formatVersion": FORMAT_VERSION,
        "revision": revision,
        "counts": {state: sum(one["state"] == state for one in variants) for state in STATES},
        "variants": [one | {"details": list(one["details"])} for one in variants],
        "problems": [as_dict(problem) for problem in problems],
    }


def drift_text(view: Shown) -> str:
    drifted, pending, unchecked = (view["counts"][state] for state in STATES)
    counts = f"{drifted} drifted, {pending} pending, {unchecked} not checked" if view["variants"] else "none"
    return terminal_lines([*map(_line, view["variants"]), f"Drift: {counts}."])


def _line(one: Shown) -> str:
    state = one["state"]
    if state == "unchecked":
        state = f"not checked since {one['since']}" if one["since"] else "never checked"
    details = f": {', '.join(one['details'])}" if one["details"] else ""
    suspension = f" [{one['suspension']}]" if one["suspension"] else ""
    return f"{one['variant'] or 'artifact'}: {state} ({one['reason']}){details}{suspension}".replace("\n", " ")
