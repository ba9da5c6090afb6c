"""The plan: the ordered changes that take a machine from what is observed to what is desired. Pure: it reads no file
and no clock.

The order: repair the store, repair what serves, release what needs no conversion, prune, fetch, convert and release,
free what nothing refers to (engine.reconciler may begin long work earlier). Within a variant the new release is
registered before the old one is retired.

delete-then-build: where two releases do not fit on the disk side by side, and the manifest says so, what serves goes
before its successor is built. Only where nothing less will do: everything else that can be freed is counted first, the
source is at hand, the conversion has not failed before, and what goes makes enough room. Meanwhile the model is down,
and the plan says so.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import replace

from reconciler.domain.changes import (
    Change,
    Convert,
    Cost,
    FetchSource,
    PruneArtifact,
    PruneVariant,
    Pull,
    RepairArtifact,
)
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.observed import Observed, ServedFolder
from reconciler.domain.plan import Held, Plan
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.gates.judgement import with_verdicts
from reconciler.planner.dependencies import waits_for
from reconciler.planner.plan_disk import (
    copied,
    disk_budget,
    hold_what_does_not_fit,
    with_more,
    with_room_of,
    within_disk,
)
from reconciler.planner.plan_memory import hold_what_does_not_fit_beside, within_memory
from reconciler.planner.plan_rings import within_rings
from reconciler.planner.plan_variant import VariantPlan, plan_variant
from reconciler.planner.plan_windows import prunes_in_time, within_windows
from reconciler.planner.prune import (
    free_artifact,
    plan_prunes,
    plan_room,
    plan_unused,
    users,
    why_artifacts_stay,
    why_predecessor_stays,
)
from reconciler.planner.removals import without_failed_removals

Replan = Callable[[DesiredRelease, Observed], VariantPlan]  # what a variant needs and may do with this disk


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
    `running` are the build keys (and keys of measurements) that long work is busy with: it has its disk already, and is
    not judged by what failed before. `confirm` lifts the prune guards that ask for a confirmation (NothingDeclared,
    ConfirmationNeeded), never the others. `jobs` is how much long work of one kind goes on at a time."""

    def replan(one: DesiredRelease, seen: Observed) -> VariantPlan:
        waits = waits_for(one, desired, seen) if one.depends_on else ""
        plan = plan_variant(one, seen, recorded, now=now, running=running, waits=waits)
        plan = within_rings(plan, one, seen)
        plan = within_windows(plan, one, seen, recorded, running)
        return within_disk(within_memory(plan, one, seen), seen)

    def prunes_making(way: Container[str]) -> tuple[list[PruneVariant], list[Held]]:
        prunes, held = plan_prunes(desired, seen, recorded, confirm=confirm, way=way)
        prunes, waiting = prunes_in_time(prunes, seen)
        return prunes, [*held, *waiting]

    desired = with_verdicts(desired, recorded)
    wanted = sorted(desired.wanted, key=lambda one: one.variant)
    seen = observed
    prunes, prunes_held = prunes_making(())
    observed = with_room_of(seen, prunes)
    variants = [replan(one, observed) for one in wanted]
    short_of_room = zip(variants, wanted, strict=True)
    # guard: no other precision makes way where it is not declared
    if way := {one.release.model for variant, one in short_of_room if variant.short_of and one.delete_first}:
        prunes, prunes_held = prunes_making(way)
        observed = with_room_of(seen, prunes)
        variants = [replan(one, observed) for one in wanted]
    freed_first: list[PruneArtifact] = []
    if short := max((variant.short_of for variant in variants), default=0):
        freed_first = plan_room(desired, observed, recorded, short)
        observed = with_more(observed, -sum(change.cost.disk_bytes for change in freed_first))
        variants = [replan(one, observed) for one in wanted]
        pairs = zip(variants, wanted, strict=True)
        variants = _delete_first(pairs, desired, observed, recorded, replan, now)
    variants = hold_what_does_not_fit(variants, observed, running, jobs)
    variants = list(_shared_once(hold_what_does_not_fit_beside(variants, observed, running, jobs)))
    # Damage that needs no conversion: a served file has the same digest. What nothing uses is freed, damaged or not.
    mendable = sorted(observed.mendable & users(desired, observed).keys())
    repairs = [RepairArtifact(build_key=key, damage=observed.damaged_artifacts[key]) for key in mendable]
    quick, slow = _of_phases(variants, "mend", "release"), _of_phases(variants, "fetch", "convert")
    ordered, waiting = without_failed_removals((*repairs, *quick, *prunes, *freed_first, *slow), recorded, now)
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


def _delete_first(
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
        plan = _made_way(short, wanted, desired, observed, recorded, replan, now=now)
        made.append(plan)
        if plan.frees:
            observed = _without_artifacts(observed, (one for one in plan.changes if isinstance(one, PruneArtifact)))
    return made


def _made_way(
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
    mine = _whole_folders(wanted.variant, observed)
    # guard: nothing makes way where it is not declared
    if not (short.short_of and wanted.delete_first and mine) or why_artifacts_stay(desired, observed):
        return short
    if not observed.permissions.activate.may:  # its own work may begin, else it would not be short of anything
        return short
    prune = PruneVariant(
        reason=Reason.MAKES_WAY,
        variant=wanted.variant,
        model=wanted.release.model,
        numbers=tuple(sorted(folder.number for folder in mine)),
        makes_way=True,
        cost=Cost(disk_bytes=-sum(map(copied, mine))),
    )
    gone = {(wanted.variant, number) for number in prune.numbers}
    bare = replace(
        with_room_of(observed, [prune]),
        folders=tuple(one for one in observed.folders if (one.variant, one.number) not in gone),
        registrations=tuple(one for one in observed.registrations if (one.name, one.number) not in gone),
    )
    room_made = _room_in(desired, bare, recorded, short.short_of, mine)
    after = with_more(bare, -sum(change.cost.disk_bytes for change in room_made))
    plan = replan(wanted, after)
    if plan.held or not any(isinstance(change, Convert | Pull) for change in plan.changes):
        return short
    if why := why_predecessor_stays(wanted, observed):
        return replace(short, held=(replace(short.held[0], message=f"{short.held[0].message}; {why}"),))
    tried, waiting = without_failed_removals((prune, *room_made), recorded, now)
    if waiting:
        return VariantPlan(held=tuple(waiting))
    return replace(plan, changes=(*tried, *plan.changes), frees=after.disk_free - observed.disk_free)


def _whole_folders(variant: str, observed: Observed) -> list[ServedFolder]:
    """What is registered as ours and whole enough to be known: what else lies there is not the planner's to give."""
    registered = {r.number for r in observed.registrations_of.get(variant, []) if observed.owns(r.owner)}
    folders = [one for one in observed.folders_of.get(variant, []) if one.number in registered]
    return [one for one in folders if one.marker is not None and observed.owns(one.marker.owner)]


def _without_artifacts(observed: Observed, freed: Iterable[PruneArtifact]) -> Observed:
    gone = {change.build_key for change in freed}
    return replace(observed, artifacts={key: held for key, held in observed.artifacts.items() if key not in gone})


def _room_in(
    desired: Desired, bare: Observed, recorded: Recorded, need: int, mine: list[ServedFolder]
) -> list[PruneArtifact]:
    """First what served, then what else is kept only to go back to."""
    served_from = {folder.marker.build_key for folder in mine if folder.marker is not None}
    made: list[PruneArtifact] = []
    for key in sorted(served_from & bare.artifacts.keys() - users(desired, bare).keys()):
        if disk_budget(bare)[0] < need:
            made.append(free_artifact(bare, key, makes_room=True))
            bare = with_more(bare, bare.artifacts[key].size)
    return [*made, *plan_room(desired, _without_artifacts(bare, made), recorded, need)]
