"""The plan: the ordered changes that take a machine from what is observed to what is desired. Pure: it reads no file
and no clock.

The order: repair the store, repair what serves, release what needs no conversion, prune, fetch, convert and release,
free what nothing refers to (engine.reconciler may begin long work earlier). Within a variant the new release is
registered before the old one is retired.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace

from reconciler.domain.changes import Change, Convert, FetchSource, PruneArtifact, PruneVariant, Pull, RepairArtifact
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held, Plan
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.gates.judgement import with_verdicts
from reconciler.planner.dependencies import waits_for
from reconciler.planner.plan_disk import hold_what_does_not_fit, with_more, with_room_of, within_disk
from reconciler.planner.plan_memory import hold_what_does_not_fit_beside, within_memory
from reconciler.planner.plan_rings import within_rings
from reconciler.planner.plan_variant import VariantPlan, plan_variant
from reconciler.planner.plan_way import DeleteFirst
from reconciler.planner.plan_windows import prunes_in_time, within_windows
from reconciler.planner.prune import plan_prunes, plan_room, plan_unused, users
from reconciler.planner.removals import without_failed_removals


def make_plan(
    desired: Desired,
    observed: Observed,
    recorded: Recorded,
    *,
    now: str = "",
    running: Container[str] = (),
    confirm: bool = False,
    jobs: int = 1,
    to_the_end: bool = False,
) -> Plan:
    """The changes that take this machine from `observed` to `desired`. Deterministic, and empty once carried out.

    `now` (RFC 3339) is only compared with when something failed; "" is before all times, so no back-off holds.
    `running` are the build keys (and keys of measurements) that long work is busy with: it has its disk already, and is
    not judged by what failed before. `confirm` lifts the prune guards that ask for a confirmation (NothingDeclared,
    ConfirmationNeeded), never the others. `jobs` is how much long work of one kind goes on at a time. `to_the_end`:
    what will have been done once no model and no precision waits for another."""

    def replan(one: DesiredRelease, seen: Observed) -> VariantPlan:
        waits = waits_for(one, desired, seen) if one.depends_on and not to_the_end else ""
        plan = plan_variant(one, seen, recorded, now=now, running=running, waits=waits)
        plan = within_rings(plan, one, seen)
        plan = within_windows(plan, one, seen, recorded, running)
        return within_disk(within_memory(plan, one, seen), seen)

    desired = with_verdicts(desired, recorded)
    wanted = sorted(desired.wanted, key=lambda one: one.variant)
    orphans = plan_prunes(desired, observed, recorded, confirm=confirm)
    prunes, waiting_prunes = prunes_in_time([*orphans.prunes], observed)
    prunes_held = [*orphans.held, *waiting_prunes]
    observed = with_room_of(observed, prunes)
    variants = [replan(one, observed) for one in wanted]
    freed_first: list[PruneArtifact] = []
    if short := max((variant.short_of for variant in variants), default=0):
        freed_first = plan_room(desired, observed, recorded, short)
        observed = with_more(observed, -sum(change.cost.disk_bytes for change in freed_first))
        variants = [replan(one, observed) for one in wanted]
        way = DeleteFirst(desired=desired, recorded=recorded, replan=replan, now=now)
        variants = way.plans(variants, wanted, orphans.outgoing, observed)
    variants = hold_what_does_not_fit(variants, observed, running, jobs)
    variants = list(_shared_once(hold_what_does_not_fit_beside(variants, observed, running, jobs)))
    # Damage that needs no conversion: a served file has the same digest. What nothing uses is freed, damaged or not.
    mendable = sorted(observed.mendable & users(desired, observed).keys())
    repairs = [RepairArtifact(build_key=key, damage=observed.damaged_artifacts[key]) for key in mendable]
    quick, slow = _of_phases(variants, "mend", "release"), _of_phases(variants, "fetch", "convert")
    replaced = _replaced(orphans.outgoing, variants, wanted) if to_the_end else []
    steps = (*repairs, *quick, *prunes, *freed_first, *slow, *replaced)
    ordered, waiting = without_failed_removals(steps, recorded, now)
    going = {change.variant for change in ordered if isinstance(change, PruneVariant)}
    prunes_held = [hold for hold in prunes_held if hold.variant not in going]
    unused = plan_unused(desired, observed, recorded, ordered, prunes_held)
    freed, waiting_too = without_failed_removals(unused, recorded, now)
    held = [hold for variant in variants for hold in variant.held]
    held += (
        Held(variant=name, reason=Reason.POLICY_DENIED, message=why) for name, why in sorted(desired.retired.items())
    )
    return Plan(
        revision=desired.revision,
        changes=(*ordered, *freed),
        held=(*waiting, *waiting_too, *held, *(hold for hold in prunes_held if hold.reason is not Reason.IN_USE)),
        later=(
            *(hold for variant in variants for hold in variant.later),
            *(hold for hold in prunes_held if hold.reason is Reason.IN_USE),
        ),
        not_selected=desired.not_selected,
        chosen=desired.chosen,
        verdicts={one.variant: one.declared_verdicts for one in wanted if one.declared_verdicts},
    )


def _of_phases(variants: Sequence[VariantPlan], *phases: str) -> Iterator[Change]:
    """In the order of the phases, then of the variants."""
    return (change for phase in phases for one in variants if one.phase == phase for change in one.changes)


_SHARED = FetchSource | Convert | Pull


def _shared_once(variants: Iterable[VariantPlan]) -> Iterator[VariantPlan]:
    """Variants that share a build key share its conversion, and models that share a source its download: the first one
    carries it, the others wait for it."""
    seen: set[str] = set()
    for variant in variants:
        changes = tuple(c for c in variant.changes if not isinstance(c, _SHARED) or c.build_key not in seen)
        seen.update(c.build_key for c in changes if isinstance(c, _SHARED))
        yield variant if changes == variant.changes else replace(variant, changes=changes)


def _replaced(
    outgoing: Iterable[PruneVariant], plans: Sequence[VariantPlan], wanted: Sequence[DesiredRelease]
) -> list[PruneVariant]:
    """Those whose model gets a precision that is declared, and that do not make way for it already."""
    gone = {one.variant for plan in plans for one in plan.changes if isinstance(one, PruneVariant)}
    coming = {one.release.model for plan, one in zip(plans, wanted, strict=True) if plan.changes}
    return [one for one in outgoing if one.model in coming and one.variant not in gone]
