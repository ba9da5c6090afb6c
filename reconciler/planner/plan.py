"""The plan: the ordered changes that take a machine from what is observed to what is desired. Pure: it reads no file
and no clock.

The order: repair the store, repair what serves, release what needs no conversion, prune, fetch, convert and release,
free what nothing refers to (engine.reconciler may begin long work earlier). Within a variant the new release is
registered before the old one is retired.
"""

from collections.abc import Container
from dataclasses import replace

from reconciler.domain.changes import Change, Convert, FetchSource, PruneArtifact
from reconciler.domain.desired import Desired
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Plan
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.gates.verdicts import with_verdicts
from reconciler.planner.plan_blob_repair import plan_mends
from reconciler.planner.plan_delete_first import delete_first
from reconciler.planner.plan_disk import hold_what_does_not_fit, with_more, with_room_of
from reconciler.planner.plan_variant import VariantPlan, plan_variant, within_disk
from reconciler.planner.prune import plan_prunes, plan_room, plan_unused
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
    failed before. `confirm` lifts the prune rails that ask for a confirmation (NothingDeclared, ConfirmationNeeded),
    never the others. `jobs` is how much long work of one kind goes on at a time."""
    desired = with_verdicts(desired, recorded)
    wanted = sorted(desired.wanted, key=lambda one: one.variant)
    prunes, prunes_held = plan_prunes(desired, observed, recorded, confirm=confirm)
    observed = with_room_of(observed, prunes)
    needs = [plan_variant(one, observed, recorded, now=now, running=running) for one in wanted]
    variants = [within_disk(one, observed) for one in needs]
    freed_first: list[PruneArtifact] = []
    if short := max((variant.short_of for variant in variants), default=0):
        freed_first = plan_room(desired, observed, recorded, short)
        observed = with_more(observed, -sum(change.cost.disk_bytes for change in freed_first))
        variants = [within_disk(one, observed) for one in needs]
        variants = delete_first(variants, wanted, desired, observed, recorded, now=now, running=running)
    variants = _convert_once(hold_what_does_not_fit(variants, observed, running, jobs))
    ordered, waiting = without_failed_removals(
        (
            *plan_mends(desired, observed),
            *_changes_of(variants, "mend"),
            *_changes_of(variants, "release"),
            *prunes,
            *freed_first,
            *_changes_of(variants, "fetch"),
            *_changes_of(variants, "convert"),
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


_SHARED = FetchSource | Convert


def _changes_of(variants: list[VariantPlan], phase: str) -> list[Change]:
    return [change for variant in variants if variant.phase == phase for change in variant.changes]


def _convert_once(variants: list[VariantPlan]) -> list[VariantPlan]:
    """Variants that share a build key share its conversion, and models that share a source its download: the first one
    carries it, the others wait for it."""
    seen: set[str] = set()
    result = []
    for variant in variants:
        mine = tuple(c for c in variant.changes if not isinstance(c, _SHARED) or c.build_key not in seen)
        seen.update(c.build_key for c in mine if isinstance(c, _SHARED))
        result.append(replace(variant, changes=mine))
    return result
