"""The plan: the ordered changes that take a machine from what is observed to what is desired. Pure: it reads no file
and no clock.

The order: repair the store, repair what serves, release what needs no conversion, prune, fetch, convert and release,
free what nothing refers to (engine.reconciler may begin long work earlier). Within a variant the new release is
registered before the old one is retired.
"""

from collections.abc import Container, Iterator
from dataclasses import replace

from reconciler.domain.changes import Convert, FetchSource, PruneArtifact, RepairArtifact
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Plan
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.gates.verdicts import with_verdicts
from reconciler.planner.plan_delete_first import delete_first
from reconciler.planner.plan_disk import hold_what_does_not_fit, with_more, with_room_of, within_disk
from reconciler.planner.plan_variant import VariantPlan, plan_variant
from reconciler.planner.prune import plan_prunes, plan_room, plan_unused, used_keys
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
) -> Plan:
    """The changes that take this machine from `observed` to `desired`. Deterministic, and empty once carried out.

    `now` (RFC 3339) is only compared with when something failed; "" is before all times, so no back-off holds.
    `running` are the build keys that long work is busy with: it has its disk already, and is not judged by what
    failed before. `confirm` lifts the prune guards that ask for a confirmation (NothingDeclared, ConfirmationNeeded),
    never the others. `jobs` is how much long work of one kind goes on at a time."""

    def replan(one: DesiredRelease, seen: Observed) -> VariantPlan:
        return within_disk(plan_variant(one, seen, recorded, now=now, running=running), seen)

    desired = with_verdicts(desired, recorded)
    wanted = sorted(desired.wanted, key=lambda one: one.variant)
    prunes, prunes_held = plan_prunes(desired, observed, recorded, confirm=confirm)
    observed = with_room_of(observed, prunes)
    variants = [replan(one, observed) for one in wanted]
    freed_first: list[PruneArtifact] = []
    if short := max((variant.short_of for variant in variants), default=0):
        freed_first = plan_room(desired, observed, recorded, short)
        observed = with_more(observed, -sum(change.cost.disk_bytes for change in freed_first))
        variants = [replan(one, observed) for one in wanted]
        pairs = zip(variants, wanted, strict=True)
        variants = delete_first(pairs, desired, observed, recorded, replan, now)
    variants = list(_shared_once(hold_what_does_not_fit(variants, observed, running, jobs)))
    by_phase = {
        phase: [change for variant in variants if variant.phase == phase for change in variant.changes]
        for phase in ("mend", "release", "fetch", "convert")
    }
    ordered, waiting = without_failed_removals(
        (
            *_store_repairs(desired, observed),
            *by_phase["mend"],
            *by_phase["release"],
            *prunes,
            *freed_first,
            *by_phase["fetch"],
            *by_phase["convert"],
        ),
        recorded,
        now,
    )
    unused = plan_unused(desired, observed, recorded, ordered, prunes_held)
    freed, waiting_too = without_failed_removals(unused, recorded, now)
    held = [hold for variant in variants for hold in variant.held]
    return Plan(
        revision=desired.revision,
        changes=(*ordered, *freed),
        held=(*waiting, *waiting_too, *held, *(hold for hold in prunes_held if hold.reason is not Reason.IN_USE)),
        later=(
            *(hold for variant in variants for hold in variant.later),
            *(hold for hold in prunes_held if hold.reason is Reason.IN_USE),
        ),
        not_selected=desired.not_selected,
        verdicts={one.variant: one.declared_verdicts for one in wanted if one.declared_verdicts},
    )


def _store_repairs(desired: Desired, observed: Observed) -> list[RepairArtifact]:
    """Damage that needs no conversion: a served file has the same digest. Only of what something uses; the rest is
    freed, damaged or not."""
    keys = sorted(observed.mendable & used_keys(desired, observed))
    return [RepairArtifact(build_key=key, damage=observed.damaged_artifacts[key]) for key in keys]


_SHARED = FetchSource | Convert


def _shared_once(variants: list[VariantPlan]) -> Iterator[VariantPlan]:
    """Variants that share a build key share its conversion, and models that share a source its download: the first one
    carries it, the others wait for it."""
    seen: set[str] = set()
    for variant in variants:
        changes = tuple(c for c in variant.changes if not isinstance(c, _SHARED) or c.build_key not in seen)
        seen.update(c.build_key for c in changes if isinstance(c, _SHARED))
        yield replace(variant, changes=changes)
