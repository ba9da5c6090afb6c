"""The conditions of each variant after a pass: the one point where outcomes become a state to read.

Types as in Kubernetes: Ready sums up; Reconciling means work is left; Stalled means a person is needed; Built,
Verified, Serving and IntegrityVerified say what is true of the release that git wants, PoliciesMet that a policy warns,
PrecisionChosen why this precision (`precisions: auto`).
`transitions` are what changed since the pass before. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import Problem
from reconciler.domain.machine.registries import RegistryAnswers
from reconciler.domain.observed import Observed, Registration
from reconciler.domain.plan import Held, Plan
from reconciler.domain.reasons import BY_ORDER, PRUNE_GUARDS, WAITING, Reason
from reconciler.domain.recorded import LONGEST_DAYS, Condition, Suspension, lasts_too_long, suspension_of
from reconciler.domain.text.quoting import in_short
from reconciler.planner.precision_choice import OF_MACHINE

Conditions = Mapping[str, Mapping[str, Condition]]  # by variant and type

NOTHING: dict[str, str] = {}
LEFT = {  # reason and message; long work by its word (domain.changes.word_of)
    "left": ("ChangesLeft", "work is left"),
    "convert": ("Converting", "its conversion runs; it is verified and served when that ends"),
    "take": ("Taking", "its files are taken into the store; it is verified and served when that ends"),
    "pull": ("Pulling", "its artifact is being pulled; it is verified and served when that ends"),
    "measure": ("Measuring", "what its gates ask for is being measured"),
    "fetch": ("Fetching", "its source is being fetched; it is converted or taken, and served, when that ends"),
}

_ROLLOUT = (Reason.ROLLOUT_PAUSED, Reason.ROLLOUT_FAILED)
_ROOM = (Reason.DISK_INSUFFICIENT, Reason.MEMORY_INSUFFICIENT)
_SERVES = dict.fromkeys(
    (*(WAITING - {Reason.BACKOFF_ACTIVE}), *_ROLLOUT, *_ROOM, Reason.GATE_FAILED, Reason.POLICY_DENIED), "still serves"
) | {Reason.ROLLED_BACK: "serves"}

# What can keep the machine from following its repository: a condition of the machine, not of a variant.
SOURCE_CODES = frozenset(
    {"Stale", "HistoryRewritten", "SignatureRefused", "BranchMissing", "FetchFailed", "CommitRefused", "GitMissing"}
)
TRUST_CODES = frozenset({Reason.UNTRUSTED, Reason.REVOKED})
SOURCE_UNTRUSTED = "SourceUntrusted"  # code of a problem
POLICY_DENIED = str(Reason.POLICY_DENIED)  # the same
POLICY_WARNED = "PolicyWarned"  # code of a warning
POLICIES_MET = "PoliciesMet"
PRECISION_CHOSEN = "PrecisionChosen"
TYPES = (
    *("Ready", "Reconciling", "Stalled", "Built", "Verified", "Serving", "IntegrityVerified"),
    *(POLICIES_MET, PRECISION_CHOSEN),
)


@dataclass(frozen=True, kw_only=True)
class VariantFailure:
    """Why a variant could not be brought to what git wants, from the pass's outcomes."""

    action: str
    code: str
    message: str


def judge(
    desired: Desired,
    observed: Observed,
    before: Conditions,
    remaining: Plan,
    failures: Mapping[str, VariantFailure],
    now: str,
    *,
    suspensions: Sequence[Suspension] = (),
    running: Mapping[str, str] = NOTHING,
) -> dict[str, dict[str, Condition]]:
    """Conditions by variant and type, for every variant of every readable manifest. `running` says by build key, or by
    variant, what long work goes on."""
    held = {hold.variant: hold for hold in remaining.held}
    changing = {change.variant for change in remaining.changes}
    left = {
        one.variant: running.get(one.variant) or running.get(one.release.recipe.build_key) or "left"
        for one in desired.wanted
        if one.variant in changing
    }
    stopped = {name: (problem.code, problem.message) for name, problem in desired.unresolved.items()}
    stopped |= {name: (Reason.POLICY_DENIED, message) for name, message in desired.retired.items()}
    judged = {name: _stopped(observed.serving(name), *why) for name, why in stopped.items()}
    judged |= {
        one.variant: _of_variant(
            one,
            observed,
            failures.get(one.variant),
            held.get(one.variant),
            left.get(one.variant, ""),
            suspension=suspension_of(suspensions, variant=one.variant, model=one.release.model),
            now=now,
            chosen=desired.chosen.get(one.release.model, ""),
        )
        for one in desired.wanted
    }
    return {variant: _dated(new, before.get(variant, {}), now) for variant, new in judged.items()}


def judge_kept(remaining: Plan, observed: Observed, before: Conditions, now: str) -> dict[str, dict[str, Condition]]:
    """What no manifest declares for this machine any more and still serves: a guard keeps it until a person confirms,
    or it serves until another precision of its model does."""
    judged = {}
    for held in remaining.held:
        registration = observed.serving(held.variant)
        if registration is None:
            continue
        elsewhere = registration.model in remaining.not_selected
        why = "its manifest is not for this machine any more" if elsewhere else "no manifest declares it any more"
        message = f"{why}, {registration.id} still serves: {held.message}"
        if held.reason in PRUNE_GUARDS:
            found = [
                _condition("Ready", False, held.reason, message),
                _condition("Reconciling", False, "Settled"),
                _condition("Stalled", True, held.reason, message),
            ]
        elif held.reason is Reason.AWAITING_PRECISION:
            found = [
                _condition("Ready", True, held.reason, message),
                _condition("Reconciling", True, held.reason, message),
                _condition("Stalled", False, "Progressing"),
            ]
        else:
            continue
        old = before.get(held.variant, {})
        judged[held.variant] = {**old, **_dated([*found, _serving(registration)], old, now)}
    return judged


def judge_source(
    problems: Sequence[Problem],
    warnings: Sequence[Problem],
    before: Mapping[str, Condition],
    now: str,
    *,
    answers: RegistryAnswers | None = None,
    asks_trust: bool = False,
    asks_sources: bool = False,
    asks_policies: bool = False,
) -> dict[str, Condition]:
    """The machine's own conditions, by type: does it follow its repository, are the manifests valid, do the models meet
    the policies, do the registries answer, and are builds and sources trusted? `answers` where they were asked."""
    unfollowed = [one for one in (*problems, *warnings) if one.code in SOURCE_CODES and not one.line]
    denied = [one for one in problems if one.code == POLICY_DENIED]  # the manifest is as it should be, the model is not
    valid = (*unfollowed, *denied, *(one for one in problems if one.code in OF_MACHINE))
    invalid = [one for one in problems if one not in valid]
    found = [_of_machine("Followed", unfollowed), _of_machine("ManifestsValid", invalid)]
    if asks_policies:
        found.append(_of_machine(POLICIES_MET, [*denied, *(one for one in warnings if one.code == POLICY_WARNED)]))
    if answers is not None:
        reached = not answers.unreached
        found.append(_condition("RegistryReachable", reached, answers.code or "Answered", answers.unreached))
    if asks_trust:
        found.append(_of_machine("BuildsTrusted", [one for one in warnings if one.code in TRUST_CODES]))
    if asks_sources:
        doubted = [one for one in (*problems, *warnings) if one.code == SOURCE_UNTRUSTED]
        found.append(_of_machine("SourcesTrusted", doubted))
    return _dated(found, before, now)


def transitions(before: Conditions, after: Conditions) -> Iterator[tuple[str, str, Condition]]:
    """Type of event, variant, and the condition that became so. Work that is merely left is no event."""
    for variant, held in after.items():
        old = before.get(variant, {})
        was_ready = old["Ready"].status if "Ready" in old else ""
        if (ready := held.get("Ready")) is not None and ready.status != was_ready:
            if ready.status == "True":
                yield "variant.ready", variant, ready
            elif was_ready == "True":
                yield "variant.not-ready", variant, ready
        stalled, was = held.get("Stalled"), old.get("Stalled")
        known = was is not None and stalled is not None and (was.status, was.reason) == (stalled.status, stalled.reason)
        if stalled is not None and stalled.status == "True" and not known:
            yield "variant.stalled", variant, stalled


def _of_machine(kind: str, wrong: Sequence[Problem]) -> Condition:
    if not wrong:
        return _condition(kind, True, kind)
    more = f" (and {len(wrong) - 1} more: see `reconciler plan`)" if len(wrong) > 1 else ""
    return _condition(kind, False, wrong[0].code, f"{wrong[0]}{more}")


def _stopped(registration: Registration | None, reason: str, message: str) -> list[Condition]:
    """Declared, but its source cannot be converted and what was served before goes on; or a policy wants it gone."""
    return [
        _condition("Ready", False, reason, message + _still(registration)),
        _condition("Stalled", True, reason, message),
        _serving(registration),
    ]


def _of_variant(
    wanted: DesiredRelease,
    observed: Observed,
    failure: VariantFailure | None,
    held: Held | None,
    left: str,
    *,
    suspension: Suspension | None,
    now: str,
    chosen: str,
) -> list[Condition]:
    registration = observed.serving(wanted.variant)
    folder = observed.folder_behind(registration)
    current = registration is not None and registration.release == wanted.release.digest and wanted.override is None
    broken = folder.damage + (registration.damage if registration else ()) if folder is not None else ()
    whole = folder is not None and folder.marker is not None and not broken
    built = wanted.release.recipe.build_key in observed.artifacts
    damage = ", ".join(broken) if folder is not None else "no served folder"
    return [
        _ready(current, whole, failure, held, left, registration),
        _condition("Built", built, "ArtifactHeld" if built else "ArtifactMissing"),
        _verified(current, failure, held),
        _serving(registration),
        _condition("IntegrityVerified", whole, *(("DigestsMatch",) if whole else ("DriftDetected", damage))),
        _stalled(failure, held, suspension, now),
        _reconciling(left if failure is None else "", held, suspension),
        *_doubted(wanted.doubted),
        *([_condition(PRECISION_CHOSEN, True, "Auto", chosen)] if chosen else []),
    ]


def _doubted(doubts: Sequence[str]) -> list[Condition]:
    """Policies that only warn; without one there is no condition."""
    return [_condition(POLICIES_MET, False, POLICY_WARNED, in_short(doubts, 1))] if doubts else []


def _ready(
    current: bool,
    whole: bool,
    failure: VariantFailure | None,
    held: Held | None,
    left: str,
    registration: Registration | None,
) -> Condition:
    """It names what serves meanwhile: during an upgrade the predecessor answers."""
    if failure is not None:
        given_up = held is not None and held.reason is Reason.RETRIES_EXCEEDED
        reason, message = (held.reason, held.message) if held and given_up else (failure.code, failure.message)
        return _condition("Ready", False, reason, message + _still(registration))
    if held is not None and not (current and whole):
        serves = _SERVES.get(held.reason)
        return _condition("Ready", False, held.reason, held.message + (_still(registration, serves) if serves else ""))
    if registration is None:
        return _condition("Ready", False, "NotServed", "not served yet")
    if current and whole:
        return _condition("Ready", True, "Served", f"{registration.id} serves what git declares")
    if current:
        return _condition("Ready", False, "DriftDetected", f"the files of {registration.id} are not what was served")
    reason, message = "NotServed", "what git declares is not served yet"
    if left not in ("", "left"):
        reason, message = LEFT[left]
    return _condition("Ready", False, reason, message + _still(registration))


def _still(registration: Registration | None, serves: str = "still serves") -> str:
    return f"; {registration.id} {serves}" if registration is not None else ""


def _verified(current: bool, failure: VariantFailure | None, held: Held | None) -> Condition:
    if failure is not None and failure.action in ("measure", "verify"):
        return _condition("Verified", False, failure.code, failure.message)
    if held is not None and held.reason is Reason.GATE_FAILED:
        return _condition("Verified", False, held.reason, held.message)
    return _condition("Verified", current, "Rehearsed" if current else "NotRehearsed")


def _serving(registration: Registration | None) -> Condition:
    if registration is None:
        return _condition("Serving", False, "NotRegistered")
    runtimes = f" in {' and '.join(registration.runtimes)}" if registration.runtimes else ""
    return _condition("Serving", True, "Registered", registration.id + runtimes)


def _stalled(failure: VariantFailure | None, held: Held | None, suspension: Suspension | None, now: str) -> Condition:
    if held is not None and held.reason in WAITING:
        again = "it is tried again" if held.reason is Reason.BACKOFF_ACTIVE else "it goes on by itself"
        return _condition("Stalled", False, held.reason, f"no action is needed yet: {again}")
    if failure is not None:
        if held is not None and held.reason is Reason.RETRIES_EXCEEDED:
            return _condition("Stalled", True, held.reason, held.message)
        failed_before = held is not None and held.reason is Reason.FAILED_BEFORE
        return _condition("Stalled", True, failure.code, held.message if held and failed_before else failure.message)
    if suspension is not None and lasts_too_long(suspension, now):
        message = f"{suspension} (more than {LONGEST_DAYS} days: `reconciler resume`, or declare it in git)"
        return _condition("Stalled", True, "SuspendedTooLong", message)
    if held is not None and held.reason not in BY_ORDER:
        return _condition("Stalled", True, held.reason, held.message)
    return _condition("Stalled", False, "Progressing")


def _reconciling(left: str, held: Held | None, suspension: Suspension | None) -> Condition:
    if left:
        return _condition("Reconciling", True, *LEFT[left])
    if held is not None and held.reason in WAITING:
        return _condition("Reconciling", True, held.reason, held.message)
    if suspension is not None:
        return _condition("Reconciling", False, "Suspended", str(suspension))
    if held is not None and held.reason in BY_ORDER:
        return _condition("Reconciling", True, held.reason, held.message)
    return _condition("Reconciling", False, "Settled")


def _condition(kind: str, status: bool, reason: str, message: str = "") -> Condition:
    return Condition(type=kind, status=str(status), reason=reason, message=message, last_transition_time="")


def _dated(new: Sequence[Condition], old: Mapping[str, Condition], now: str) -> dict[str, Condition]:
    """Keep the old time where the status did not change, and the old condition where nothing did."""
    return {one.type: _since(one, old.get(one.type), now) for one in new}


def _since(new: Condition, old: Condition | None, now: str) -> Condition:
    if old is None or old.status != new.status:
        return replace(new, last_transition_time=now)
    same = (old.reason, old.message) == (new.reason, new.message)
    return old if same else replace(new, last_transition_time=old.last_transition_time)
