"""The conditions of each variant after a pass: the one point where outcomes become a state to read.

Types as in Kubernetes: Ready sums up; Reconciling means work is left; Stalled means a person is needed; Built,
Verified, Serving and IntegrityVerified say what is true of the release that git wants. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import Problem
from reconciler.domain.observed import Observed, Registration, ServedFolder
from reconciler.domain.plan import Held, Plan
from reconciler.domain.reasons import PRUNE_GUARDS, Reason
from reconciler.domain.recorded import Condition
from reconciler.domain.suspension import LONGEST_DAYS, Suspension, lasts_too_long, suspension_of

NOTHING: dict[str, str] = {}
LEFT = {  # reason and message; long work by its action
    "left": ("ChangesLeft", "work is left"),
    "convert": ("Converting", "its conversion runs; it is verified and served when that ends"),
    "measure": ("Measuring", "what its gates ask for is being measured"),
    "fetch": ("Fetching", "its source is being fetched; it is converted and served when that ends"),
}
_LONG = LEFT.keys() - {"left"}

# What a repository can be in the way of following it: said of the machine, not of a variant.
SOURCE_CODES = frozenset(
    {"Stale", "HistoryRewritten", "SignatureRefused", "BranchMissing", "FetchFailed", "CommitRefused", "GitMissing"}
)
TYPES = ("Ready", "Reconciling", "Stalled", "Built", "Verified", "Serving", "IntegrityVerified")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a variant could not be brought to what git wants, from the pass's outcomes."""

    action: str
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class _Suspended:
    """`said` is empty when nobody suspended the variant here."""

    said: str
    too_long: bool


def judge(
    desired: Desired,
    observed: Observed,
    before: Mapping[str, Mapping[str, Condition]],
    remaining: Plan,
    failures: Mapping[str, Failure],
    now: str,
    *,
    suspensions: Sequence[Suspension] = (),
    running: Mapping[str, str] = NOTHING,
) -> dict[str, dict[str, Condition]]:
    """Conditions by variant and type, for every variant of every readable manifest. `running` says by build key, or by
    variant, what long work goes on."""
    broken = {
        variant: _dated(_unresolved(variant, observed, problem), before.get(variant, {}), now)
        for variant, problem in desired.unresolved.items()
    }
    held = {hold.variant: hold for hold in remaining.held}
    left = _work_left(desired, remaining, running)
    return broken | {
        wanted.variant: _dated(
            _conditions(
                wanted,
                observed,
                failures.get(wanted.variant),
                held.get(wanted.variant),
                left.get(wanted.variant, ""),
                _suspended(wanted, suspensions, now),
            ),
            before.get(wanted.variant, {}),
            now,
        )
        for wanted in desired.wanted
    }


def judge_kept(
    remaining: Plan, observed: Observed, before: Mapping[str, Mapping[str, Condition]], now: str
) -> dict[str, dict[str, Condition]]:
    """What nothing declares any more, and a rail keeps until somebody confirms: it serves, and a person is needed."""
    kept = {hold.variant: hold for hold in remaining.held if hold.reason in PRUNE_GUARDS}
    serving = {variant: observed.serving(variant) for variant in kept}
    return {
        variant: {**before.get(variant, {}), **_dated(_kept(kept[variant], registration), before.get(variant, {}), now)}
        for variant, registration in serving.items()
        if registration is not None
    }


def _kept(held: Held, registration: Registration) -> list[Condition]:
    message = f"no manifest declares it any more, {registration.id} still serves: {held.message}"
    return [
        _say("Ready", False, held.reason, message),
        _say("Reconciling", False, "Settled"),
        _say("Stalled", True, held.reason, message),
        _served(registration),
    ]


def judge_source(
    problems: Sequence[Problem], warnings: Sequence[Problem], before: Mapping[str, Condition], now: str
) -> dict[str, Condition]:
    """The machine's own conditions, by type: does it follow what it was told to follow, and can it understand that?"""
    silent = [one for one in (*problems, *warnings) if one.code in SOURCE_CODES and not one.line]
    invalid = [one for one in problems if one not in silent]
    return _dated([_said("Followed", silent), _said("ManifestsValid", invalid)], before, now)


def _said(kind: str, wrong: Sequence[Problem]) -> Condition:
    if not wrong:
        return _say(kind, True, kind)
    more = f" (and {len(wrong) - 1} more: `reconciler plan` tells all)" if len(wrong) > 1 else ""
    return _say(kind, False, wrong[0].code, f"{wrong[0]}{more}")


def _conditions(
    wanted: DesiredRelease,
    observed: Observed,
    failure: Failure | None,
    held: Held | None,
    left: str,
    suspended: _Suspended,
) -> list[Condition]:
    registration = observed.serving(wanted.variant)
    folder = observed.folder_behind(registration)
    current = registration is not None and registration.release == wanted.release.digest and wanted.override is None
    whole = folder is not None and folder.marker is not None and not folder.damage
    conditions = [
        _built(wanted, observed),
        _verified(current, failure, held),
        _served(registration),
        _integrity(folder, whole),
        _stalled(failure, held, suspended),
    ]
    conditions.append(_reconciling(left if failure is None else "", held, suspended))
    ready = _ready(current and whole, failure, held, registration)
    return [ready or _not_yet(current, left, registration), *conditions]


def _work_left(desired: Desired, remaining: Plan, running: Mapping[str, str]) -> dict[str, str]:
    """By variant: the long work that it waits for, or `left`."""
    left = {change.variant: "left" for change in remaining.changes}
    keys = {one.variant: one.release.recipe.build_key for one in desired.wanted}
    beside = {variant: running.get(variant) or running.get(keys.get(variant, "")) for variant in left}
    return {variant: beside[variant] or said for variant, said in left.items()}


def _reconciling(left: str, held: Held | None, suspended: _Suspended) -> Condition:
    if left:
        return _say("Reconciling", True, *LEFT[left])
    if held is not None and held.reason is Reason.BACKOFF_ACTIVE:
        return _say("Reconciling", True, held.reason, held.message)
    if suspended.said:
        return _say("Reconciling", False, "Suspended", suspended.said)
    return _say("Reconciling", False, "Settled")


def _suspended(wanted: DesiredRelease, suspensions: Sequence[Suspension], now: str) -> _Suspended:
    one = suspension_of(suspensions, variant=wanted.variant, model=wanted.release.model)
    return _Suspended(said=str(one or ""), too_long=one is not None and lasts_too_long(one, now))


def _unresolved(variant: str, observed: Observed, problem: Problem) -> list[Condition]:
    """Declared, but its source cannot be converted: what was served before goes on."""
    registration = observed.serving(variant)
    old = f"; {registration.id} still serves" if registration is not None else ""
    return [
        _say("Ready", False, problem.code, problem.message + old),
        _say("Stalled", True, problem.code, problem.message),
        _served(registration),
    ]


def _ready(
    good: bool, failure: Failure | None, held: Held | None, registration: Registration | None
) -> Condition | None:
    """None where work is simply left."""
    if failure is not None:
        old = f"; {registration.id} still serves" if registration is not None else ""
        return _say("Ready", False, failure.code, failure.message + old)
    if held is not None and not good:
        still = registration if held.reason in (Reason.GATE_FAILED, Reason.ROLLED_BACK) else None
        old = f"; {still.id} {'serves' if held.reason is Reason.ROLLED_BACK else 'still serves'}" if still else ""
        return _say("Ready", False, held.reason, held.message + old)
    if good and registration is not None:
        return _say("Ready", True, "Served", f"{registration.id} serves what git declares")
    return None


def _not_yet(current: bool, left: str, registration: Registration | None) -> Condition:
    """What serves meanwhile is said: during an upgrade the predecessor answers."""
    if registration is None:
        return _say("Ready", False, "NotServed", "not served yet")
    if current:
        return _say("Ready", False, "DriftDetected", f"the files of {registration.id} are not what was served")
    reason, message = LEFT[left] if left in _LONG else ("NotServed", "what git declares is not served yet")
    return _say("Ready", False, reason, f"{message}; {registration.id} still serves")


def _built(wanted: DesiredRelease, observed: Observed) -> Condition:
    held = wanted.release.recipe.build_key in observed.artifacts
    return _say("Built", held, "ArtifactHeld" if held else "ArtifactMissing")


def _verified(current: bool, failure: Failure | None, held: Held | None) -> Condition:
    if failure is not None and failure.action in ("measure", "verify"):
        return _say("Verified", False, failure.code, failure.message)
    if held is not None and held.reason is Reason.GATE_FAILED:
        return _say("Verified", False, held.reason, held.message)
    return _say("Verified", current, "Rehearsed" if current else "NotRehearsed")


def _served(registration: Registration | None) -> Condition:
    if registration is None:
        return _say("Serving", False, "NotRegistered")
    return _say("Serving", True, "Registered", registration.id)


def _integrity(folder: ServedFolder | None, whole: bool) -> Condition:
    damage = ", ".join(folder.damage) if folder is not None else "no served folder"
    reason = "DigestsMatch" if whole else "DriftDetected"
    return _say("IntegrityVerified", whole, reason, "" if whole else damage)


def _stalled(failure: Failure | None, held: Held | None, suspended: _Suspended) -> Condition:
    if held is not None and held.reason is Reason.BACKOFF_ACTIVE:
        return _say("Stalled", False, held.reason, "nobody is needed yet: it is tried again")
    if failure is not None and held is not None and held.reason is Reason.FAILED_BEFORE:
        return _say("Stalled", True, failure.code, held.message)
    if failure is not None:
        return _say("Stalled", True, failure.code, failure.message)
    if suspended.too_long:
        message = f"{suspended.said} (more than {LONGEST_DAYS} days: `reconciler resume`, or say so in git)"
        return _say("Stalled", True, "SuspendedTooLong", message)
    if held is not None:
        return _say("Stalled", True, held.reason, held.message)
    return _say("Stalled", False, "Progressing")


def _say(kind: str, status: bool, reason: str, message: str = "") -> Condition:
    return Condition(type=kind, status=str(status), reason=reason, message=message, last_transition_time="")


def _dated(new: Sequence[Condition], old: Mapping[str, Condition], now: str) -> dict[str, Condition]:
    """Keep the old time where the status did not change."""
    return {
        one.type: replace(
            one,
            last_transition_time=old[one.type].last_transition_time
            if one.type in old and old[one.type].status == one.status
            else now,
        )
        for one in new
    }
