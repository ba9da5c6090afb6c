"""Overrides of the desired state: an earlier release is served instead of the one that git declares, because a user
rolled back, or because the gates reject what git declares. Pure.

Decided anew in each pass, from records and measurements: a changed manifest, a relaxed bar or a runtime that gives
other numbers ends it.
"""

from collections.abc import Mapping
from dataclasses import replace

from reconciler.domain.desired import Desired, DesiredRelease, ReleaseOverride
from reconciler.domain.failures import runtime_failure
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.history import History, Rollback, good_ones
from reconciler.domain.observed import Observed
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.domain.release import Release
from reconciler.gates.fidelity import FidelityGate
from reconciler.gates.judgement import known_numbers, needed, rejection_text, verdicts_of, with_verdicts
from reconciler.planner.dependencies import is_ready


def effective(desired: Desired, observed: Observed, recorded: Recorded) -> Desired:
    """`desired` with its verdicts, and with the releases that are to be served in place of those that git declares."""
    desired = with_verdicts(desired, recorded)
    if not recorded.history and not recorded.rollbacks:
        return desired
    wanted = tuple(_effective(one, observed, recorded) for one in desired.wanted)
    return with_verdicts(replace(desired, wanted=wanted), recorded)


def _effective(wanted: DesiredRelease, observed: Observed, recorded: Recorded) -> DesiredRelease:
    rollback = recorded.rollbacks.get(wanted.variant)
    if rollback is not None and wanted.release.digest in rollback.refused:
        return _by_hand(wanted, rollback, observed)
    history = recorded.history.get(wanted.variant, ())
    why = fails_here(wanted, recorded) if history else ""
    if not why:
        return wanted
    if rollback is not None and _still_holds(rollback, history):
        return _by_hand(wanted, rollback, observed, why)
    refused = (wanted.release.digest, *(rollback.refused if rollback is not None else ()))
    for one in good_ones(history, refused):
        candidate = _judged_instead(wanted, one.release, recorded)
        if is_obtainable(one.release, observed) and not fails_here(candidate, recorded):
            served_once = any(past.number and past.digest == wanted.release.digest for past in history)
            message = f"{why}; an earlier release is served instead" if served_once else why
            override = ReleaseOverride(
                release=wanted.release, reason=Reason.GATE_FAILED, message=message, refused=refused
            )
            return _overridden(candidate, one.release, replace(override, verdicts=wanted.verdicts))
    return wanted


def ended(desired: Desired, observed: Observed, rollbacks: Mapping[str, Rollback]) -> set[str]:
    """The variants whose roll-back is over: something else that git declares serves since, or nothing declares them and
    nothing of them serves any more. `desired` with its overrides."""
    covered = (one for one in desired.wanted if one.variant in rollbacks)
    changed = {
        one.variant
        for one in covered
        if one.release.digest not in rollbacks[one.variant].refused and is_ready(one, observed)
    }
    gone = {name for name in rollbacks.keys() - desired.declared if observed.serving(name) is None}
    return changed | (gone if desired.complete else set())


def _judged_instead(wanted: DesiredRelease, release: Release, recorded: Recorded) -> DesiredRelease:
    """An earlier release with the gates that judge it: bars for another task say nothing of it. What it was made from
    is not looked for any more, so its fidelity is judged only by numbers that are known."""
    gates = wanted.gates if release.task == wanted.gates.task else GateSpec(task=release.task)
    one = replace(wanted, release=release, gates=gates, verdicts=None)
    is_made_alike = release.recipe.build_key == wanted.release.recipe.build_key
    if is_made_alike or not needed(gates, *known_numbers(one, recorded)).fidelity:
        return one
    return replace(one, gates=gates.with_gate(FidelityGate(skip="an earlier release is not compared anew")))


def rollback_gates(release: Release) -> GateSpec:
    """A release that served here before, and that a user rolled back to, is only checked to load and to answer."""
    return GateSpec.of(FidelityGate(skip="rolled back to"), task=release.task)


def _still_holds(rollback: Rollback, history: History) -> bool:
    """While the gates reject what git declares, something else serves, and by hand it is another. That ends when a
    release came to serve since that is neither what was refused nor what was to serve instead."""
    last = next((one for one in reversed(history) if one.number), None)
    back = (rollback.to.digest, rollback.to.release.digest)
    return last is not None and last.digest in (*rollback.refused, *back)


def _by_hand(wanted: DesiredRelease, rollback: Rollback, observed: Observed, why: str = "") -> DesiredRelease:
    """`why`: what git declares is rejected by the gates as well."""
    until = f"until the manifest changes or `reconciler rollback {wanted.variant} --undo`"
    message = f"{rollback}; {wanted.release.digest[:19]} is not served {until}"
    if why:
        message = f"{rollback}, {until}; what git declares is rejected: {why}"
    override = ReleaseOverride(
        release=wanted.release,
        reason=Reason.ROLLED_BACK,
        message=message,
        refused=rollback.refused,
        remembered=f"{rollback}; what git declared was rejected: {why}" if why else str(rollback),
    )
    if not is_obtainable(rollback.to.release, observed):
        gone = f"{message}; {rollback.to.id} cannot be made again: its artifact is gone or not trusted"
        return replace(wanted, override=replace(override, message=gone, stays=True))
    back = _overridden(wanted, rollback.to.release, override)
    return replace(back, gates=rollback_gates(rollback.to.release))


def _overridden(wanted: DesiredRelease, release: Release, override: ReleaseOverride) -> DesiredRelease:
    one = replace(wanted, release=release, override=override, verdicts=None)
    return replace(one, predicted_bytes=0, peak_bytes=0, fetch=None, original=None)


def is_obtainable(release: Release, observed: Observed) -> bool:
    """Without a conversion."""
    markers = (folder.marker for folder in observed.folders_of.get(release.variant, []) if not folder.damage)
    return release.recipe.build_key in observed.usable or any(
        marker is not None and marker.release == release.digest and observed.owns(marker.owner) for marker in markers
    )


def fails_here(wanted: DesiredRelease, recorded: Recorded) -> str:
    """Why the release must not serve with the installed runtime, as far as that is known; "" where it may."""
    verdicts = verdicts_of(wanted, recorded) if wanted.verdicts is None else wanted.verdicts
    return rejection_text(verdicts) or runtime_failure(recorded.failures, wanted.release.digest, recorded.runtime)
