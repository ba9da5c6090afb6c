"""delete-then-build: where two releases do not fit on the disk side by side, and the manifest says so, what serves goes
before its successor is built. Pure; part of planner.plan.

Only where nothing less will do: everything else that can be freed is counted first, the source is at hand, the
conversion has not failed before, and what goes makes enough room. Meanwhile the model is down, and the plan says so.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from reconciler.domain.changes import Convert, Cost, PruneArtifact, PruneVariant
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.observed import Observed, ServedFolder
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.planner.plan_disk import copied, disk_budget, with_more
from reconciler.planner.plan_variant import VariantPlan
from reconciler.planner.prune import free_artifact, plan_room, used_keys, why_artifacts_stay, why_predecessor_stays
from reconciler.planner.removals import without_failed_removals

Replan = Callable[[DesiredRelease, Observed], VariantPlan]  # what a variant needs and may do with this disk


def delete_first(
    plans: Iterable[tuple[VariantPlan, DesiredRelease]],
    desired: Desired,
    observed: Observed,
    recorded: Recorded,
    replan: Replan,
    now: str,
) -> list[VariantPlan]:
    """One after the other: no two of them count on the same artifact."""
    made = []
    for short, wanted in plans:
        plan = _delete_first(short, wanted, desired, observed, recorded, replan, now=now)
        made.append(plan)
        if plan.frees:
            observed = _without_artifacts(observed, (one for one in plan.changes if isinstance(one, PruneArtifact)))
    return made


def _delete_first(
    short: VariantPlan,
    wanted: DesiredRelease,
    desired: Desired,
    observed: Observed,
    recorded: Recorded,
    replan: Replan,
    *,
    now: str,
) -> VariantPlan:
    """`short` does not fit. Itself again where nothing may make way, or where that would not be enough."""
    mine = _ours(wanted.variant, observed)
    # guard: nothing makes way where it is not declared
    if not (short.short_of and wanted.delete_first and mine) or why_artifacts_stay(desired, observed):
        return short
    bare = _without(mine, wanted.variant, observed)
    room_made = _room_in(desired, bare, recorded, short.short_of, mine)
    after = with_more(bare, -sum(change.cost.disk_bytes for change in room_made))
    plan = replan(wanted, after)
    if plan.held or not any(isinstance(change, Convert) for change in plan.changes):
        return short
    if why := why_predecessor_stays(wanted, observed):
        return replace(short, held=(replace(short.held[0], message=f"{short.held[0].message}; {why}"),))
    tried, waiting = without_failed_removals((_prune(wanted, mine), *room_made), recorded, now)
    if waiting:
        return VariantPlan(held=tuple(waiting))
    return replace(plan, changes=(*tried, *plan.changes), frees=after.disk_free - observed.disk_free)


def _ours(variant: str, observed: Observed) -> list[ServedFolder]:
    """What is registered as ours and whole enough to be known: what else lies there is not the planner's to give."""
    registered = {r.number for r in observed.registrations_of.get(variant, []) if observed.owns(r.owner)}
    folders = [one for one in observed.folders_of.get(variant, []) if one.number in registered]
    return [one for one in folders if one.marker is not None and observed.owns(one.marker.owner)]


def _without(mine: list[ServedFolder], variant: str, observed: Observed) -> Observed:
    gone = {folder.number for folder in mine}
    bare = replace(
        observed,
        folders=tuple(f for f in observed.folders if f.variant != variant or f.number not in gone),
        registrations=tuple(r for r in observed.registrations if r.name != variant or r.number not in gone),
    )
    return with_more(bare, sum(map(copied, mine)))


def _without_artifacts(observed: Observed, freed: Iterable[PruneArtifact]) -> Observed:
    gone = {change.build_key for change in freed}
    return replace(observed, artifacts={key: held for key, held in observed.artifacts.items() if key not in gone})


def _room_in(
    desired: Desired, bare: Observed, recorded: Recorded, need: int, mine: list[ServedFolder]
) -> list[PruneArtifact]:
    """First what served, then what else is kept only to go back to."""
    served_from = {folder.marker.build_key for folder in mine if folder.marker is not None}
    made: list[PruneArtifact] = []
    for key in sorted(served_from & bare.artifacts.keys() - used_keys(desired, bare)):
        if disk_budget(bare)[0] < need:
            made.append(free_artifact(bare, key, makes_room=True))
            bare = with_more(bare, bare.artifacts[key].size)
    return [*made, *plan_room(desired, _without_artifacts(bare, made), recorded, need)]


def _prune(wanted: DesiredRelease, mine: list[ServedFolder]) -> PruneVariant:
    return PruneVariant(
        reason=Reason.MAKES_WAY,
        variant=wanted.variant,
        model=wanted.release.model,
        numbers=tuple(sorted(folder.number for folder in mine)),
        makes_way=True,
        cost=Cost(disk_bytes=-sum(map(copied, mine))),
    )
