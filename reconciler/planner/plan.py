"""Turn facts into a plan. Nothing here reads a file or a clock, so every case is a table row
(tests/planner/test_plan.py).

The order of a plan: mend the store, mend what serves, release what needs no conversion, prune, fetch, convert and
release, free what nothing refers to. Within a variant the new release is registered before the old one is retired.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from reconciler.domain.changes import MAKES_ROOM, PRUNE_GUARDS, Change, Plan
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Recorded
from reconciler.gates.verdicts import verdicts_of
from reconciler.planner.plan_blob_repair import plan_mends
from reconciler.planner.plan_delete_first import make_way
from reconciler.planner.plan_disk import hold_what_does_not_fit, with_more, with_room_of
from reconciler.planner.plan_fetch import plan_unused_sources
from reconciler.planner.plan_variant import VariantPlan, plan_variant
from reconciler.planner.prune import plan_prunes, plan_room, plan_unreferenced
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
    wanted = sorted(desired.wanted, key=lambda one: one.variant)
    prunes, prunes_held = plan_prunes(desired, observed, recorded, confirm=confirm)
    observed = with_room_of(observed, prunes)
    variants = [plan_variant(one, observed, recorded, now=now, running=running) for one in wanted]
    room: list[Change] = []
    if short := max((variant.short_of for variant in variants), default=0):
        room = plan_room(desired, observed, recorded, short)
        observed = with_more(observed, -sum(change.cost.disk_bytes for change in room))
        variants = [plan_variant(one, observed, recorded, now=now, running=running) for one in wanted]
        variants = make_way(variants, wanted, desired, observed, recorded, now=now, running=running)
    variants = _convert_once(hold_what_does_not_fit(variants, observed, running, jobs))
    ordered, waiting = without_failed_removals(
        (
            *plan_mends(desired, observed),
            *_changes_of(variants, "mend"),
            *_changes_of(variants, "release"),
            *prunes,
            *room,
            *_changes_of(variants, "fetch"),
            *_changes_of(variants, "convert"),
        ),
        recorded,
        now,
    )
    going = {change.build_key for change in ordered if change.reason == MAKES_ROOM}
    unused: list[Change] = []
    if not any(hold.reason in PRUNE_GUARDS for hold in prunes_held):
        freeable = plan_unreferenced(desired, observed, recorded, ordered)
        unused = [one for one in freeable if one.build_key not in going]
        unused += plan_unused_sources(desired, observed)
    freed, waiting_too = without_failed_removals(unused, recorded, now)
    held = [hold for variant in variants for hold in variant.held]
    return Plan(
        revision=desired.revision,
        changes=(*ordered, *freed),
        held=(*waiting, *waiting_too, *held, *(hold for hold in prunes_held if hold.reason != "InUse")),
        later=(
            *(hold for variant in variants for hold in variant.later),
            *(hold for hold in prunes_held if hold.reason == "InUse"),
        ),
        not_selected=desired.not_selected,
        verdicts={one.variant: found for one in wanted if (found := verdicts_of(_declared(one), recorded))},
    )


def _declared(wanted: DesiredRelease) -> DesiredRelease:
    """What git asks for, also where another release is served instead."""
    return wanted if wanted.instead is None else replace(wanted, release=wanted.instead.release)


def _changes_of(variants: list[VariantPlan], phase: str) -> list[Change]:
    return [change for variant in variants if variant.phase == phase for change in variant.changes]


_ONCE = ("fetch", "convert")


def _convert_once(variants: list[VariantPlan]) -> list[VariantPlan]:
    """Variants that share a build key share its conversion, and models that share a source its download: the first one
    carries it, the others wait for it."""
    seen: set[str] = set()
    result = []
    for variant in variants:
        mine = tuple(c for c in variant.changes if c.action not in _ONCE or c.build_key not in seen)
        seen.update(c.build_key for c in mine if c.action in _ONCE)
        result.append(replace(variant, changes=mine))
    return result
