"""What one variant needs: nothing, a repair, or a new release. Pure; part of planner.plan."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace

from reconciler.domain.changes import (
    Change,
    Convert,
    Cost,
    MeasureCandidate,
    MeasureServed,
    Register,
    Removal,
    RepairRelease,
    VerifyCandidate,
)
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.failures import verdict
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.domain.sources.hub import Fetch
from reconciler.gates.judgement import rejection_text
from reconciler.planner.difference import Difference, compare
from reconciler.planner.disk_budget import shortfall
from reconciler.planner.estimate import seconds_for
from reconciler.planner.plan_fetch import fetch_change
from reconciler.planner.plan_measure import is_measured_again, is_measured_first, without_measuring
from reconciler.planner.plan_retire import retire_others
from reconciler.planner.plan_runtime import verify_again
from reconciler.planner.variant_facts import (
    Facts,
    copied_bytes,
    facts_of,
    next_number,
    number_of_wanted,
    predecessor_of,
    what_is_broken,
)


@dataclass(frozen=True, kw_only=True)
class VariantPlan:
    """`phase` says where the changes stand in the whole plan: mend | release | fetch | convert. `later` are
    predecessors that go in time. `running`: its download or its conversion is under way, so it has its disk."""

    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()
    later: tuple[Held, ...] = ()
    phase: str = "release"
    running: bool = False
    short_of: int = 0  # bytes that must be free, where they are not
    frees: int = 0  # bytes that it gives back before it begins (planner.plan_delete_first)


def plan_variant(
    wanted: DesiredRelease, observed: Observed, recorded: Recorded, *, now: str = "", running: Container[str] = ()
) -> VariantPlan:
    """What it needs, whether the disk has room for that or not (`within_disk`). `wanted` has its verdicts."""
    if hold := _untouchable(wanted, observed):
        return VariantPlan(held=(hold,))
    facts = facts_of(wanted, observed, recorded, now, running)
    plan = _planned(facts)
    if plan.changes and (hold := _suspended(plan, wanted, recorded)):
        return VariantPlan(held=(hold,))
    plan = _unless_a_gate_rejects(plan, facts)
    if wanted.override is not None:
        hold = Held(variant=wanted.variant, reason=wanted.override.reason, message=wanted.override.message)
        plan = replace(plan, held=(*plan.held, hold))
    return replace(_unless_it_failed(plan, facts), running=facts.running)


def within_disk(plan: VariantPlan, observed: Observed) -> VariantPlan:
    """Nothing but a hold where its largest step does not fit."""
    need = max((change.cost.peak_disk_bytes for change in plan.changes), default=0)
    message = shortfall(need, observed)
    if not message or plan.running:
        return plan
    hold = Held(variant=plan.changes[0].variant, reason=Reason.DISK_INSUFFICIENT, message=message)
    return VariantPlan(held=(hold,), short_of=need)


def _untouchable(wanted: DesiredRelease, observed: Observed) -> Held | None:
    """The name belongs to another, or what is served under it cannot be read."""
    named = observed.registrations_of.get(wanted.variant, [])
    foreign = [r for r in named if not observed.owns(r.owner)]
    if foreign:
        ids = ", ".join(sorted(r.id for r in foreign))
        places = ", ".join(sorted({r.path for r in foreign}))
        message = (
            f"{ids} in Foundry Local's catalog was not registered from this root (it serves {places}); "
            "rename the model, or use the root or the cache that it belongs to"
        )
        return Held(variant=wanted.variant, reason=Reason.NAME_TAKEN, message=message)
    if wanted.variant in observed.unreadable:
        why = observed.unreadable[wanted.variant]
        return Held(variant=wanted.variant, reason=Reason.UNREADABLE, message=why)
    return None


def _suspended(plan: VariantPlan, wanted: DesiredRelease, recorded: Recorded) -> Held | None:
    suspension = recorded.suspension_of(wanted.variant, wanted.release.model)
    if not (wanted.suspended or suspension):
        return None
    actions = ", ".join(dict.fromkeys(change.action for change in plan.changes))
    why = f"; {suspension}" if suspension else ""
    until = suspension.until if suspension and not wanted.suspended else ""
    return Held(variant=wanted.variant, reason=Reason.SUSPENDED, message=f"would {actions}{why}", until=until)


def _planned(facts: Facts) -> VariantPlan:
    if facts.wanted.override is not None and facts.wanted.override.stays:
        return VariantPlan()
    number = number_of_wanted(facts)
    return _release(facts) if number is None else _served(facts, number)


def _unless_a_gate_rejects(plan: VariantPlan, facts: Facts) -> VariantPlan:
    """Judged on each look, from what was measured: a relaxed bar lets the release go on, and only numbers are
    remembered. What serves is never taken away for it."""
    wanted = facts.wanted
    rejected = rejection_text(wanted.verdicts or ())
    if not rejected:
        return plan
    number = number_of_wanted(facts)
    if number is None:
        return VariantPlan(held=(Held(variant=wanted.variant, reason=Reason.GATE_FAILED, message=rejected),))
    message = f"{wanted.variant}:{number} is served, and goes on: {rejected}"
    hold = Held(variant=wanted.variant, reason=Reason.GATE_FAILED, message=message)
    return replace(plan, changes=without_measuring(plan.changes), held=(*plan.held, hold))


def _served(facts: Facts, number: int) -> VariantPlan:
    """The desired release has been served before, as `number`: is it still whole?"""
    broken = what_is_broken(facts, number)
    if broken:
        return _repair(facts, number, broken)
    if facts.artifact_is_rotten:
        return _rebuild(facts, number)
    retired, later = retire_others(facts, keep=number)
    again: tuple[Change, ...] = (*_measure_again(facts, number), *verify_again(facts.wanted, facts.recorded, number))
    return VariantPlan(changes=(*again, *retired), later=later)


def _repair(facts: Facts, number: int, broken: tuple[str, ...]) -> VariantPlan:
    needs_conversion = not (facts.folder_is_whole(number) or facts.artifact_is_held)
    if needs_conversion and facts.wanted.fetch is not None:
        return _fetch(facts, facts.wanted.fetch)
    converts = (_convert(facts, _LOST, Reason.DRIFT_DETECTED),) if needs_conversion else ()
    repair = RepairRelease(release=facts.wanted.release, number=number, damage=broken)
    retired, later = retire_others(facts, keep=number)
    phase = "convert" if needs_conversion else "mend"
    return VariantPlan(changes=(*converts, repair, *retired), later=later, phase=phase)


_LOST = Difference(reason=Reason.DRIFT_DETECTED, forced_by=("artifact",))


def _rebuild(facts: Facts, number: int) -> VariantPlan:
    """What serves is whole, the artifact it was made from is not and cannot be repaired: it is converted again while
    the release serves, so that its next repair or template does not have to wait for hours."""
    if facts.wanted.fetch is not None:
        return _fetch(facts, facts.wanted.fetch)
    retired, later = retire_others(facts, keep=number)
    convert = _convert(facts, _LOST, Reason.DRIFT_DETECTED)
    return VariantPlan(changes=(convert, *retired), later=later, phase="convert")


def _release(facts: Facts) -> VariantPlan:
    """A release that this machine has never served: convert if needed, verify, register, retire the predecessor."""
    wanted = facts.wanted
    if not facts.artifact_is_held and wanted.fetch is not None:
        return _fetch(facts, wanted.fetch)
    difference = compare(wanted.release, predecessor_of(facts))
    if wanted.override is not None:
        difference = replace(difference, reason=Reason.ROLLED_BACK)
    number = next_number(facts)
    retired, later = retire_others(facts, keep=number)
    return VariantPlan(
        changes=(*_built(facts, difference), *_stepped(facts, difference, number), *retired),
        later=later,
        phase="release" if facts.artifact_is_held else "convert",
    )


def _built(facts: Facts, difference: Difference) -> tuple[Convert, ...]:
    if facts.artifact_is_held:
        return ()
    reason = Reason.DRIFT_DETECTED if facts.artifact_is_rotten else difference.convert_reason
    return (_convert(facts, difference.of_recipe, reason),)


def _stepped(facts: Facts, difference: Difference, number: int) -> Iterator[Change]:
    """From the artifact to the registration."""
    wanted, release = facts.wanted, facts.wanted.release
    reason, forced_by, fields = difference.reason, difference.forced_by, difference.field_changes
    if is_measured_first(wanted, facts.recorded, is_built=facts.artifact_is_held):
        yield MeasureCandidate(
            reason=reason,
            release=release,
            number=number,
            forced_by=forced_by,
            field_changes=fields,
            cost=Cost(seconds=_seconds("measure", facts)),
            measure_key=wanted.measure_key,
        )
    yield VerifyCandidate(
        reason=reason,
        release=release,
        number=number,
        forced_by=forced_by,
        field_changes=fields,
        cost=Cost(seconds=_seconds("verify", facts)),
    )
    yield Register(
        reason=reason,
        release=release,
        number=number,
        forced_by=forced_by,
        field_changes=fields,
        cost=Cost(disk_bytes=copied_bytes(facts), seconds=_seconds("register", facts)),
    )


def _measure_again(facts: Facts, number: int) -> tuple[MeasureServed, ...]:
    wanted = facts.wanted
    if not is_measured_again(wanted, facts.recorded):
        return ()
    return (
        MeasureServed(
            reason=Reason.GATE_UNMEASURED,
            release=wanted.release,
            number=number,
            forced_by=("gates",),
            cost=Cost(seconds=_seconds("measure", facts)),
            measure_key=wanted.measure_key,
        ),
    )


def _fetch(facts: Facts, fetch: Fetch) -> VariantPlan:
    return VariantPlan(changes=(fetch_change(facts.wanted, fetch, facts.recorded),), phase="fetch")


def _convert(facts: Facts, difference: Difference, reason: Reason) -> Convert:
    wanted = facts.wanted
    return Convert(
        reason=reason,
        release=wanted.release,
        forced_by=difference.forced_by,
        field_changes=difference.field_changes,
        cost=Cost(
            disk_bytes=wanted.predicted_bytes, peak_disk_bytes=wanted.peak_bytes, seconds=_seconds("convert", facts)
        ),
    )


def _seconds(action: str, facts: Facts) -> float | None:
    wanted = facts.wanted
    return seconds_for(action, wanted.release.precision, wanted.source_bytes, facts.recorded.timings)


def _unless_it_failed(plan: VariantPlan, facts: Facts) -> VariantPlan:
    """Any step that failed before holds the whole variant: what comes before it would be done for nothing."""
    if not facts.recorded.failures or facts.running:
        return plan
    keys = {change.failure_key for change in plan.changes if not isinstance(change, Removal)} - {""}
    for failure in facts.recorded.failures:
        found = verdict(failure, facts.now) if failure.key in keys else None
        if found is None:
            continue
        hold = Held(variant=facts.wanted.variant, reason=found.reason, message=found.message, until=found.until)
        if any(isinstance(c, MeasureServed) and c.failure_key == failure.key for c in plan.changes):
            return replace(plan, changes=without_measuring(plan.changes), held=(*plan.held, hold))
        return VariantPlan(held=(hold,))
    return plan
