"""delete-then-build: where two releases do not fit on the disk side by side, and the manifest says so, what serves goes
before its successor is built. Pure; part of planner.plan.

Only where nothing less will do: everything else that can be freed is counted first, the source is at hand, the
conversion has not failed before, and what goes makes enough room. Meanwhile the model is down, and the plan says so.
"""

from collections.abc import Container
from dataclasses import replace

from reconciler.domain.changes import Convert, Cost, PruneArtifact, PruneVariant
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.observed import Observed, ServedFolder
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.planner.disk_budget import disk_budget
from reconciler.planner.plan_disk import copied, with_more
from reconciler.planner.plan_variant import VariantPlan, plan_variant, within_disk
from reconciler.planner.prune import free_artifact, plan_room, used_keys, why_artifacts_stay, why_predecessor_stays
from reconciler.planner.removals import without_failed_removals


def delete_first(
    plans: list[VariantPlan],
    wanted: list[DesiredRelease],
    desired: Desired,
    observed: Observed,
    recorded: Recorded,
    *,
    now: str,
    running: Container[str],
) -> list[VariantPlan]:
    """Each after the other: no two of them count on the same artifact."""
    made = []
    for short, one in zip(plans, wanted, strict=True):
        plan = _delete_first(short, one, desired, observed, recorded, now=now, running=running)
        made.append(plan)
        if plan.frees:
            gone = {one.build_key for one in plan.changes if isinstance(one, PruneArtifact)}
            left = {key: held for key, held in observed.artifacts.items() if key not in gone}
            observed = replace(observed, artifacts=left)
    return made


def _delete_first(
    short: VariantPlan,
    wanted: DesiredRelease,
    desired: Desired,
    observed: Observed,
    recorded: Recorded,
    *,
    now: str,
    running: Container[str],
) -> VariantPlan:
    """`short` does not fit. Itself again where nothing may make way, or where that would not be enough."""
    mine = _ours(wanted.variant, observed)
    # guard: nothing makes way where it is not declared
    if not (short.short_of and wanted.delete_first and mine) or why_artifacts_stay(desired, observed):
        return short
    bare = _without(mine, wanted.variant, observed)
    room_made = _room_in(desired, bare, recorded, short.short_of, _build_keys(mine))
    after = with_more(bare, -sum(change.cost.disk_bytes for change in room_made))
    plan = within_disk(plan_variant(wanted, after, recorded, now=now, running=running), after)
    if plan.held or not any(isinstance(change, Convert) for change in plan.changes):
        return short
    if why := why_predecessor_stays(wanted, observed):
        return replace(short, held=(replace(short.held[0], message=f"{short.held[0].message}; {why}"),))
    tried, waiting = without_failed_removals((_prune(wanted, mine), *room_made), recorded, now)
    if waiting:
        return VariantPlan(held=tuple(waiting))
    return replace(plan, changes=(*tried, *plan.changes), frees=after.disk_free - observed.disk_free)


def _ours(variant: str, observed: Observed) -> tuple[ServedFolder, ...]:
    """What is registered as ours and whole enough to be known: what else lies there is not the planner's to give."""
    registered = {r.number for r in observed.registrations_of.get(variant, []) if observed.owns(r.owner)}
    return tuple(
        folder
        for folder in observed.folders_of.get(variant, [])
        if folder.number in registered and folder.marker is not None and observed.owns(folder.marker.owner)
    )


def _build_keys(mine: tuple[ServedFolder, ...]) -> list[str]:
    return sorted({folder.marker.build_key for folder in mine if folder.marker is not None})


def _without(mine: tuple[ServedFolder, ...], variant: str, observed: Observed) -> Observed:
    gone = {folder.number for folder in mine}
    bare = replace(
        observed,
        folders=tuple(f for f in observed.folders if f.variant != variant or f.number not in gone),
        registrations=tuple(r for r in observed.registrations if r.name != variant or r.number not in gone),
    )
    return with_more(bare, sum(map(copied, mine)))


def _room_in(
    desired: Desired, bare: Observed, recorded: Recorded, need: int, served_from: list[str]
) -> list[PruneArtifact]:
    """First what served, then what else is kept only to go back to."""
    made: list[PruneArtifact] = []
    for key in sorted({*served_from} & bare.artifacts.keys() - used_keys(desired, bare, set())):
        if disk_budget(bare)[0] < need:
            made.append(free_artifact(bare, key, makes_room=True))
            bare = with_more(bare, bare.artifacts[key].size)
    gone = {change.build_key for change in made}
    rest = replace(bare, artifacts={k: v for k, v in bare.artifacts.items() if k not in gone})
    return [*made, *plan_room(desired, rest, recorded, need)]


def _prune(wanted: DesiredRelease, mine: tuple[ServedFolder, ...]) -> PruneVariant:
    return PruneVariant(
        reason=Reason.MAKES_WAY,
        variant=wanted.variant,
        model=wanted.release.model,
        numbers=tuple(sorted(folder.number for folder in mine)),
        makes_way=True,
        cost=Cost(disk_bytes=-sum(map(copied, mine))),
    )
