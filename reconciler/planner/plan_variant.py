"""What one variant needs: nothing, a repair, or a new release. Pure; part of planner.plan."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace

from reconciler.domain.changes import Change, Cost, Held
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.failures import REMOVALS, failure_key, verdict
from reconciler.domain.hub import Fetch
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Recorded
from reconciler.gates.judgement import rejection_text
from reconciler.gates.verdicts import verdicts_of
from reconciler.planner.difference import Difference, compare
from reconciler.planner.disk_budget import shortfall
from reconciler.planner.estimate import seconds_for
from reconciler.planner.plan_fetch import fetch_change
from reconciler.planner.plan_measure import ANEW, measure_anew, measure_first, without_measuring
from reconciler.planner.plan_retire import retire_others
from reconciler.planner.plan_runtime import verify_anew
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
    predecessors that go in time."""

    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()
    later: tuple[Held, ...] = ()
    phase: str = "release"
    short_of: int = 0  # bytes that must be free, where they are not
    frees: int = 0  # bytes that it gives back before it begins (planner.plan_delete_first)


def plan_variant(
    wanted: DesiredRelease,
    observed: Observed,
    recorded: Recorded,
    *,
    now: str = "",
    running: Container[str] = (),
) -> VariantPlan:
    named = observed.registrations_of.get(wanted.variant, [])
    foreign = [r for r in named if not observed.owns(r.owner)]
    if foreign:
        ids = ", ".join(sorted(r.id for r in foreign))
        places = ", ".join(sorted({r.path for r in foreign}))
        message = (
            f"{ids} in Foundry Local's catalog was not registered from this root (it serves {places}); "
            "rename the model, or use the root or the cache that it belongs to"
        )
        return VariantPlan(held=(Held(variant=wanted.variant, reason="NameTaken", message=message),))
    if wanted.variant in observed.unreadable:
        why = observed.unreadable[wanted.variant]
        return VariantPlan(held=(Held(variant=wanted.variant, reason="Unreadable", message=why),))
    facts = facts_of(wanted, observed, recorded, now, running)
    plan = _planned(facts)
    suspension = recorded.suspension_of(wanted.variant, wanted.release.model)
    if plan.changes and (wanted.suspended or suspension):
        actions = ", ".join(dict.fromkeys(change.action for change in plan.changes))
        why = f"; {suspension}" if suspension else ""
        until = suspension.until if suspension and not wanted.suspended else ""
        hold = Held(variant=wanted.variant, reason="Suspended", message=f"would {actions}{why}", until=until)
        return VariantPlan(held=(hold,))
    plan = _unless_a_gate_rejects(plan, facts)
    if wanted.instead is not None:
        hold = Held(variant=wanted.variant, reason=wanted.instead.reason, message=wanted.instead.message)
        plan = replace(plan, held=(*plan.held, hold))
    return _unless_it_failed(plan, facts) or _unless_disk_is_short(plan, facts)


def _planned(facts: Facts) -> VariantPlan:
    if facts.wanted.instead is not None and facts.wanted.instead.stays:
        return VariantPlan()
    return _repair(facts) or _release(facts)


def _unless_a_gate_rejects(plan: VariantPlan, facts: Facts) -> VariantPlan:
    """Judged anew each time, from what was measured: a relaxed bar lets the release go on, and nothing is remembered
    but numbers. What serves is never taken away for it: it is the last that was good."""
    rejected = rejection_text(verdicts_of(facts.wanted, facts.recorded))
    if not rejected:
        return plan
    number = number_of_wanted(facts)
    if number is not None:
        message = f"{facts.wanted.variant}:{number} is served, and goes on: {rejected}"
        hold = Held(variant=facts.wanted.variant, reason="GateFailed", message=message)
        return replace(plan, changes=without_measuring(plan.changes), held=(*plan.held, hold))
    return VariantPlan(held=(Held(variant=facts.wanted.variant, reason="GateFailed", message=rejected),))


def _repair(facts: Facts) -> VariantPlan | None:
    """The release that git wants has been served before: is it still all there?"""
    number = number_of_wanted(facts)
    if number is None:
        return None
    broken = what_is_broken(facts, number)
    if not broken and facts.artifact_is_rotten:
        return _rebuild(facts, number)
    if not broken:
        retired, later = retire_others(facts, keep=number)
        anew = (*_measure_anew(facts, number), *verify_anew(facts.wanted, facts.recorded, number))
        return VariantPlan(changes=(*anew, *retired), later=later)
    changes = []
    needs_bytes = not facts.folder_is_whole(number)
    needs_conversion = needs_bytes and not facts.artifact_is_held
    if needs_conversion and facts.wanted.fetch is not None:
        return _fetch(facts, facts.wanted.fetch)
    if needs_conversion:
        changes.append(_convert(facts, reason="DriftDetected", difference=_LOST))
    changes.append(
        Change(
            action="repair",
            reason="DriftDetected",
            variant=facts.wanted.variant,
            build_key=facts.wanted.release.recipe.build_key,
            number=number,
            forced_by=broken,
            before={"damage": list(broken)},
            after={"id": f"{facts.wanted.variant}:{number}", "release": facts.wanted.release.digest},
        )
    )
    retired, later = retire_others(facts, keep=number)
    return VariantPlan(
        changes=(*changes, *retired), later=later, phase="convert" if needs_conversion else "mend"
    )


_LOST = Difference(reason="DriftDetected", forced_by=("artifact",))


def _rebuild(facts: Facts, number: int) -> VariantPlan:
    """What serves is whole, what it was made from is not, and nothing here has those bytes: while it still serves, so
    that its next repair or template does not have to wait for hours."""
    if facts.wanted.fetch is not None:
        return _fetch(facts, facts.wanted.fetch)
    retired, later = retire_others(facts, keep=number)
    convert = _convert(facts, reason="DriftDetected", difference=_LOST)
    return VariantPlan(changes=(convert, *retired), later=later, phase="convert")


def _release(facts: Facts) -> VariantPlan:
    """A release that this machine has never served: convert if needed, verify, register, retire the predecessor."""
    difference = compare(facts.wanted.release, predecessor_of(facts))
    if facts.wanted.instead is not None:
        difference = replace(difference, reason="RolledBack")
    number = next_number(facts)
    changes = []
    if not facts.artifact_is_held and facts.wanted.fetch is not None:
        return _fetch(facts, facts.wanted.fetch)
    if not facts.artifact_is_held:
        damaged = facts.wanted.release.recipe.build_key in facts.observed.damaged_artifacts
        reason = "DriftDetected" if damaged else difference.convert_reason
        changes.append(_convert(facts, reason=reason, difference=difference.of_recipe))
    measuring = _step("measure", facts, difference, number)
    changes.extend(measure_first(measuring, facts.wanted, facts.recorded, is_built=facts.artifact_is_held))
    changes.append(_step("verify", facts, difference, number))
    changes.append(_step("register", facts, difference, number))
    retired, later = retire_others(facts, keep=number)
    return VariantPlan(
        changes=(*changes, *retired), later=later, phase="release" if facts.artifact_is_held else "convert"
    )


def _measure_anew(facts: Facts, number: int) -> tuple[Change, ...]:
    def step() -> Change:
        return _step("measure", facts, Difference(reason=ANEW, forced_by=("gates",)), number)

    return measure_anew(step, facts.wanted, facts.recorded)


def _fetch(facts: Facts, fetch: Fetch) -> VariantPlan:
    return VariantPlan(changes=(fetch_change(facts.wanted, fetch, facts.recorded),), phase="fetch")


def _convert(facts: Facts, *, reason: str, difference: Difference) -> Change:
    wanted = facts.wanted
    recipe = wanted.release.recipe
    seconds = seconds_for("convert", recipe.precision, wanted.source_bytes, facts.recorded.timings)
    return Change(
        action="convert",
        reason=reason,
        variant=wanted.variant,
        build_key=recipe.build_key,
        forced_by=difference.forced_by,
        before=difference.before,
        after={
            "buildKey": recipe.build_key,
            "precision": recipe.precision,
            "source": recipe.source,
            **difference.after,
        },
        cost=Cost(disk_bytes=wanted.predicted_bytes, peak_disk_bytes=wanted.peak_bytes, seconds=seconds),
    )


def _step(action: str, facts: Facts, difference: Difference, number: int) -> Change:
    release = facts.wanted.release
    return Change(
        action=action,
        reason=difference.reason,
        variant=release.variant,
        build_key=release.recipe.build_key,
        number=number,
        forced_by=difference.forced_by,
        before=difference.before,
        after={"id": f"{release.variant}:{number}", "release": release.digest, **difference.after},
        cost=Cost(
            disk_bytes=copied_bytes(facts) if action == "register" else 0,
            seconds=seconds_for(action, release.precision, facts.wanted.source_bytes, facts.recorded.timings),
        ),
    )


def _unless_it_failed(plan: VariantPlan, facts: Facts) -> VariantPlan | None:
    """Any step that failed before holds the whole variant: what comes before it would be done for nothing."""
    if not facts.recorded.failures or facts.running:
        return None
    keys = {failure_key(change) for change in plan.changes if change.action not in REMOVALS} - {""}
    for failure in facts.recorded.failures:
        found = verdict(failure, facts.now) if failure.key in keys else None
        if found is not None:
            hold = Held(
                variant=facts.wanted.variant, reason=found.reason, message=found.message, until=found.until
            )
            if any(c.reason == ANEW and failure_key(c) == failure.key for c in plan.changes):
                return replace(plan, changes=without_measuring(plan.changes), held=(*plan.held, hold))
            return VariantPlan(held=(hold,))
    return None


def _unless_disk_is_short(plan: VariantPlan, facts: Facts) -> VariantPlan:
    need = max((change.cost.peak_disk_bytes for change in plan.changes), default=0)
    message = shortfall(need, facts.observed)
    if not message or facts.running:
        return plan
    held = Held(variant=facts.wanted.variant, reason="DiskInsufficient", message=message)
    return VariantPlan(held=(held,), short_of=need)
