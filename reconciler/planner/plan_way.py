"""delete-then-build: where two releases do not fit on the disk side by side, and the manifest says so, what serves goes
before its successor is built. Pure; part of planner.plan.

Only where nothing less will do: everything else that can be freed is counted first, the source is at hand, the
conversion has not failed before, and what goes makes enough room. Meanwhile the model is down, and the plan says so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reconciler.domain.changes import Convert, Cost, PruneArtifact, PruneVariant, Pull
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.observed import Observed, ServedFolder
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.planner.plan_disk import copied, disk_budget, with_more, with_room_of
from reconciler.planner.plan_variant import VariantPlan
from reconciler.planner.prune import free_artifact, plan_room, users, why_artifacts_stay, why_predecessor_stays
from reconciler.planner.removals import without_failed_removals


@dataclass(frozen=True, kw_only=True)
class DeleteFirst:
    """`replan` says what a variant needs and may do with another disk; `now` (RFC 3339) is compared with failures."""

    desired: Desired
    recorded: Recorded
    replan: Callable[[DesiredRelease, Observed], VariantPlan]
    now: str

    def plans(
        self,
        plans: Sequence[VariantPlan],
        wanted: Sequence[DesiredRelease],
        outgoing: Iterable[PruneVariant],
        observed: Observed,
    ) -> list[VariantPlan]:
        """The plans of `wanted`, of which some are short of disk: with what makes way for them. One after the other, so
        that no two count on the same room. `outgoing` are precisions that are no longer declared and serve until one
        that is does: they make way where no precision of their model comes without that."""
        coming = {one.release.model for plan, one in zip(plans, wanted, strict=True) if plan.changes}
        made = []
        for short, one in zip(plans, wanted, strict=True):
            model = one.release.model
            # guard: an outgoing precision makes way only where no other one comes
            others = [other.variant for other in outgoing if other.model == model and model not in coming]
            plan = self._made_way(short, one, (one.variant, *others), observed)
            made.append(plan)
            if plan.frees:
                coming.add(model)
                freed = (change for change in plan.changes if isinstance(change, PruneArtifact))
                observed = _without_artifacts(observed, freed)
        return made

    def _made_way(
        self, short: VariantPlan, wanted: DesiredRelease, predecessors: Iterable[str], observed: Observed
    ) -> VariantPlan:
        """`short` does not fit beside its `predecessors`, names of variants: the largest goes, and more only where that
        is not enough. Itself again where nothing may make way, or where all of them would not be enough."""
        there = [(name, folders) for name in predecessors if (folders := _whole_folders(name, observed))]
        there.sort(key=lambda one: sum(map(copied, one[1])), reverse=True)
        # guard: nothing makes way where it is not declared
        if not (short.short_of and wanted.delete_first and there) or why_artifacts_stay(self.desired, observed):
            return short
        if not observed.permissions.activate.may:  # its own work may begin, else it would not be short of anything
            return short
        tries = (self._without(dict(there[:count]), short, wanted, observed) for count in range(1, len(there) + 1))
        return next((plan for plan in tries if plan is not None), short)

    def _without(
        self,
        going: Mapping[str, Sequence[ServedFolder]],
        short: VariantPlan,
        wanted: DesiredRelease,
        observed: Observed,
    ) -> VariantPlan | None:
        """Its plan where these variants make way; None where that would not be enough."""
        prunes = [_prune(name, folders, wanted) for name, folders in going.items()]
        mine = [folder for folders in going.values() for folder in folders]
        bare = _without(mine, with_room_of(observed, prunes))
        room_made = self._room_in(bare, short.short_of, mine)
        after = with_more(bare, -sum(change.cost.disk_bytes for change in room_made))
        plan = self.replan(wanted, after)
        if plan.held or not any(isinstance(change, Convert | Pull) for change in plan.changes):
            return None
        if why := why_predecessor_stays(wanted, going, observed):
            return replace(short, held=(replace(short.held[0], message=f"{short.held[0].message}; {why}"),))
        tried, waiting = without_failed_removals((*prunes, *room_made), self.recorded, self.now)
        if waiting:
            return VariantPlan(held=tuple(waiting))
        return replace(plan, changes=(*tried, *plan.changes), frees=after.disk_free - observed.disk_free)

    def _room_in(self, bare: Observed, need: int, mine: list[ServedFolder]) -> list[PruneArtifact]:
        """First what served, then what else is kept only to go back to."""
        served_from = {folder.marker.build_key for folder in mine if folder.marker is not None}
        made: list[PruneArtifact] = []
        for key in sorted(served_from & bare.artifacts.keys() - users(self.desired, bare).keys()):
            if disk_budget(bare)[0] < need:
                made.append(free_artifact(bare, key, makes_room=True))
                bare = with_more(bare, bare.artifacts[key].size)
        return [*made, *plan_room(self.desired, _without_artifacts(bare, made), self.recorded, need)]


def _prune(variant: str, folders: Sequence[ServedFolder], successor: DesiredRelease) -> PruneVariant:
    return PruneVariant(
        reason=Reason.MAKES_WAY,
        variant=variant,
        model=successor.release.model,
        numbers=tuple(sorted(folder.number for folder in folders)),
        makes_way_for=successor.variant,
        cost=Cost(disk_bytes=-sum(map(copied, folders))),
    )


def _whole_folders(variant: str, observed: Observed) -> list[ServedFolder]:
    """What is registered as ours and whole enough to be known: what else lies there is not the planner's to give."""
    registered = {r.number for r in observed.registrations_of.get(variant, []) if observed.owns(r.owner)}
    folders = [one for one in observed.folders_of.get(variant, []) if one.number in registered]
    return [one for one in folders if one.marker is not None and observed.owns(one.marker.owner)]


def _without(folders: Iterable[ServedFolder], observed: Observed) -> Observed:
    gone = {(folder.variant, folder.number) for folder in folders}
    return replace(
        observed,
        folders=tuple(one for one in observed.folders if (one.variant, one.number) not in gone),
        registrations=tuple(one for one in observed.registrations if (one.name, one.number) not in gone),
    )


def _without_artifacts(observed: Observed, freed: Iterable[PruneArtifact]) -> Observed:
    gone = {change.build_key for change in freed}
    return replace(observed, artifacts={key: held for key, held in observed.artifacts.items() if key not in gone})
