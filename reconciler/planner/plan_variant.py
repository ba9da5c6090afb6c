"""What one variant needs: nothing, a repair, or a new release. Pure; part of planner.plan."""

from collections.abc import Container
from dataclasses import dataclass, replace

from reconciler.domain.changes import Change, Convert, FetchSource, MeasureServed, Pull, Removal, RepairRelease, word_of
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.failures import held_by
from reconciler.domain.machine.trust import Refusal
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.gates.judgement import rejection_text
from reconciler.planner.difference import Difference, compare
from reconciler.planner.plan_steps import check_again, convert, fetch, from_artifact, original_to_fetch, pull
from reconciler.planner.removals import retire_others
from reconciler.planner.variant_facts import VariantFacts


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
    frees: int = 0  # bytes that it gives back before it begins (planner.plan)
    repairs: bool = False  # what should be serving is broken

    def also_held(self, hold: Held) -> "VariantPlan":
        return replace(self, held=(*self.held, hold))

    def without_measuring(self) -> "VariantPlan":
        """What serves goes on serving without its new measurements."""
        return replace(self, changes=tuple(one for one in self.changes if not isinstance(one, MeasureServed)))


def plan_variant(
    wanted: DesiredRelease,
    observed: Observed,
    recorded: Recorded,
    *,
    now: str = "",
    running: Container[str] = (),
    waits: str = "",
) -> VariantPlan:
    """What it needs, whether the disk has room for that or not (plan_disk.within_disk). `wanted` has its verdicts.
    `waits` says why a new release has to wait for other models, if so."""
    if hold := _untouchable(wanted, observed):
        return VariantPlan(held=(hold,))
    is_running = any(key in running for key in wanted.work_keys)
    facts = VariantFacts(wanted=wanted, observed=observed, recorded=recorded, now=now, running=is_running)
    number, stays = facts.served_number, wanted.override is not None and wanted.override.stays
    plan = VariantPlan() if stays else _release(facts) if number is None else _served(facts, number)
    if plan.changes and (hold := _suspended(plan, wanted, recorded)):
        return VariantPlan(held=(hold,))
    plan = _unless_a_gate_rejects(plan, facts)
    if (override := wanted.override) is not None:
        plan = plan.also_held(Held(variant=wanted.variant, reason=override.reason, message=override.message))
    plan = _unless_it_failed(plan, facts)
    plan = _unless_a_policy_denies(plan, wanted, number)
    if waits and plan.changes and number is None and wanted.override is None and not is_running:
        plan = VariantPlan(held=(Held(variant=wanted.variant, reason=Reason.DEPENDENCY_NOT_READY, message=waits),))
    return replace(plan, running=True) if is_running else plan


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
    why = observed.unreadable.get(wanted.variant)
    return None if why is None else Held(variant=wanted.variant, reason=Reason.UNREADABLE, message=why)


def _suspended(plan: VariantPlan, wanted: DesiredRelease, recorded: Recorded) -> Held | None:
    suspension = recorded.suspension_of(wanted.variant, wanted.release.model)
    if not (wanted.suspended or suspension):
        return None
    actions = ", ".join(dict.fromkeys(map(word_of, plan.changes)))
    why = f"; {suspension}" if suspension else ""
    until = suspension.until if suspension and not wanted.suspended else ""
    return Held(variant=wanted.variant, reason=Reason.SUSPENDED, message=f"would {actions}{why}", until=until)


def _unless_a_gate_rejects(plan: VariantPlan, facts: VariantFacts) -> VariantPlan:
    """Judged on each look, from what was measured: a relaxed bar lets the release go on, and only numbers are
    remembered. What serves is never taken away for it."""
    variant, number = facts.wanted.variant, facts.served_number
    rejected = rejection_text(facts.wanted.verdicts or ())
    # What was measured is of an artifact that is refused: another one takes its place.
    replaced = facts.stored_refusal is not None and any(isinstance(one, Pull | Convert) for one in plan.changes)
    if not rejected or replaced:
        return plan
    if number is None:
        return VariantPlan(held=(Held(variant=variant, reason=Reason.GATE_FAILED, message=rejected),))
    message = f"{variant}:{number} is served, and goes on: {rejected}"
    return plan.without_measuring().also_held(Held(variant=variant, reason=Reason.GATE_FAILED, message=message))


def _unless_a_policy_denies(plan: VariantPlan, wanted: DesiredRelease, number: int | None) -> VariantPlan:
    """What serves goes on, and is repaired. A source comes where only its files can tell."""
    if wanted.denial is None:
        return plan
    hold = Held(variant=wanted.variant, reason=Reason.POLICY_DENIED, message=wanted.denial.message)
    if number is not None:
        return plan.also_held(
            replace(hold, message=f"{wanted.variant}:{number} is served, and goes on: {hold.message}")
        )
    # guard: what a policy denies is not served
    fetched = tuple(one for one in plan.changes if isinstance(one, FetchSource) and wanted.denial.fetches)
    return VariantPlan(changes=fetched, held=plan.held if fetched else (hold,), phase=plan.phase)


def _served(facts: VariantFacts, number: int) -> VariantPlan:
    """The desired release has been served before, as `number`: is it still whole?"""
    retired, later = retire_others(facts, keep=number)
    if damage := facts.damage_of(number):
        is_there = facts.folder_is_whole(number) or facts.artifact_is_held
        repair = RepairRelease(release=facts.wanted.release, number=number, forced_by=damage)
        if is_there:
            return VariantPlan(changes=(repair, *retired), later=later, phase="mend", repairs=True)
        plan = _converted_again(facts, VariantPlan(changes=(repair, *retired), later=later))
        return replace(plan, repairs=True)
    if facts.artifact_is_damaged:
        # It serves meanwhile: so its next repair or template does not have to wait for hours.
        return _converted_again(facts, VariantPlan(changes=retired, later=later))
    again = tuple(check_again(facts, number))
    if any(isinstance(one, MeasureServed) for one in again) and (original := original_to_fetch(facts)) is not None:
        return VariantPlan(changes=(original, *retired), later=later, phase="fetch")
    plan = VariantPlan(changes=(*again, *retired), later=later)
    if (refusal := facts.stored_refusal) is not None:
        return plan.also_held(_refused(facts, refusal, f"{facts.wanted.variant}:{number} is served, and goes on: "))
    return plan


def _converted_again(facts: VariantFacts, then: VariantPlan) -> VariantPlan:
    """The artifact was lost, and no whole bytes of it are at hand."""
    lost = Difference(reason=Reason.DRIFT_DETECTED, forced_by=("artifact",))
    return _built(facts, lost, lost.reason, then)


def _built(facts: VariantFacts, difference: Difference, reason: Reason, then: VariantPlan) -> VariantPlan:
    """`then`, once its artifact is there: pulled where a registry has it, fetched and converted where this machine may,
    else awaited, and what serves goes on."""
    offer = facts.offer
    if offer is not None:
        return replace(then, changes=(pull(facts, difference, reason, offer), *then.changes), phase="fetch")
    if facts.refusal is not None:
        return VariantPlan(held=(_refused(facts, facts.refusal),))
    if (turn := facts.turn) is not None:
        hold = Held(variant=facts.wanted.variant, reason=Reason.AWAITING_TURN, message=turn.message, until=turn.until)
        return VariantPlan(held=(hold,))
    if facts.awaits_build:
        message = f"waits for the build {facts.build_key}: {facts.why_not_offered}"
        return VariantPlan(held=(Held(variant=facts.wanted.variant, reason=Reason.AWAITING_BUILD, message=message),))
    comes = fetch(facts, facts.wanted.fetch) if facts.wanted.fetch is not None else original_to_fetch(facts)
    if comes is not None:
        return VariantPlan(changes=(comes,), phase="fetch")
    return replace(then, changes=(convert(facts, difference, reason), *then.changes), phase="convert")


def _refused(facts: VariantFacts, refusal: Refusal, serves: str = "") -> Held:
    return Held(variant=facts.wanted.variant, reason=refusal.reason, message=f"{serves}{refusal.message}")


def _release(facts: VariantFacts) -> VariantPlan:
    """A release that this machine has never served: convert if needed, verify, register, retire the predecessor."""
    wanted = facts.wanted
    difference = compare(wanted.release, facts.predecessor)
    if wanted.override is not None:
        difference = replace(difference, reason=Reason.ROLLED_BACK)
    number = facts.next_number
    retired, later = retire_others(facts, keep=number)
    steps = (*from_artifact(facts, difference, number), *retired)
    # guard: what is refused does not serve anew
    refused = facts.stored_refusal is not None
    if facts.artifact_is_held and not refused:
        if (original := original_to_fetch(facts)) is not None:
            return VariantPlan(changes=(original,), later=later, phase="fetch")
        return VariantPlan(changes=steps, later=later)
    reason = Reason.RECIPE_CHANGED if difference.reason is Reason.RECIPE_CHANGED else Reason.ARTIFACT_MISSING
    reason = Reason.DRIFT_DETECTED if facts.artifact_is_damaged else reason
    return _built(facts, difference.of_recipe, reason, VariantPlan(changes=steps, later=later))


def _unless_it_failed(plan: VariantPlan, facts: VariantFacts) -> VariantPlan:
    """Any step that failed before holds the whole variant: what comes before it would be done for nothing."""
    if not facts.recorded.failures or facts.running:
        return plan
    keys = {change.failure_key for change in plan.changes if not isinstance(change, Removal)} - {""}
    for failure in facts.recorded.failures:
        wanted = facts.wanted
        hold = held_by(failure, wanted.variant, facts.now, wanted.retry_limit) if failure.key in keys else None
        if hold is None:
            continue
        if any(isinstance(c, MeasureServed) and c.failure_key == failure.key for c in plan.changes):
            return plan.without_measuring().also_held(hold)
        return VariantPlan(held=(hold,))
    return plan
