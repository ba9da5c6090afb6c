"""What waits for a window, for a new day's budget, for another connection or for its turn. Pure; part of planner.plan.

Downloads wait for the window `fetch`, conversions and measurements for `build`, everything that changes what is served
for `activate`: until then the old release serves. A conversion or measurement that has begun ends; a download pauses,
and goes on from there. Repairs and roll-backs wait for no window: what they bring back should be serving. Neither does
the successor of what has made way (delete-then-build). The daily budget holds for all.
"""

from collections.abc import Container, Iterator
from dataclasses import replace

from reconciler.domain.changes import (
    Convert,
    FetchSource,
    LongWork,
    Measure,
    MeasureServed,
    PruneVariant,
    Pull,
    Register,
)
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.machine.bandwidth import HOLD
from reconciler.domain.machine.maintenance_windows import Permission
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded
from reconciler.domain.text.names import model_of
from reconciler.planner.plan_variant import VariantPlan

METERED = "the connection is metered"
Hold = tuple[Reason, Permission]


def within_windows(
    plan: VariantPlan, wanted: DesiredRelease, observed: Observed, recorded: Recorded, running: Container[str] = ()
) -> VariantPlan:
    """What of it may begin now, and why the rest may not."""
    if not plan.changes:
        return plan
    down = observed.serving(wanted.variant) is None
    repairs = plan.repairs or wanted.override is not None or _was_made_way_for(wanted, observed, recorded)
    urgent = repairs or down
    work = next((one for one in plan.changes if isinstance(one, LongWork)), None)
    if work is not None:
        hold = next(_of_work(work, observed, running, repairs=repairs, urgent=urgent), None)
        if hold is not None and isinstance(work, MeasureServed):
            return plan.without_measuring().also_held(_held(wanted.variant, hold))
        if hold is not None:
            return VariantPlan(held=(*plan.held, _held(wanted.variant, hold)), later=plan.later)
    if repairs:
        changes = (replace(one, urgent=True) if isinstance(one, FetchSource | Pull) else one for one in plan.changes)
        return replace(plan, changes=tuple(changes))
    return _activated_in_time(plan, wanted, observed)


def _was_made_way_for(wanted: DesiredRelease, observed: Observed, recorded: Recorded) -> bool:
    """By its predecessor, or by another precision of its model, of which nothing serves any more."""
    if not wanted.delete_first or observed.serving(wanted.variant) is not None:
        return False
    model = wanted.release.model
    return wanted.variant in recorded.high_water or (
        any(model_of(one) == model for one in recorded.high_water)
        and not any(one.model == model and observed.owns(one.owner) for one in observed.registrations)
    )


def _activated_in_time(plan: VariantPlan, wanted: DesiredRelease, observed: Observed) -> VariantPlan:
    """Long work goes on; the release that it leads to waits for its window. What serves already (only measured, or its
    predecessors retired) is no activation."""
    activate = observed.permissions.activate
    # guard: what serves changes in its window only
    if activate.may or not any(isinstance(one, Register) for one in plan.changes):
        return plan
    work = tuple(one for one in plan.changes if isinstance(one, LongWork))
    return replace(plan, changes=work).also_held(_held(wanted.variant, (Reason.AWAITING_WINDOW, activate)))


def _of_work(
    work: LongWork, observed: Observed, running: Container[str], *, repairs: bool, urgent: bool
) -> Iterator[Hold]:
    allowed = observed.permissions
    if isinstance(work, Convert | Measure):
        key = work.measure_key if isinstance(work, Measure) else work.build_key
        if not (allowed.build.may or repairs or key in running):
            yield Reason.AWAITING_WINDOW, allowed.build
        return
    if allowed.metered == HOLD or (allowed.metered and not urgent):
        kind = "(bandwidth.metered: hold)" if allowed.metered == HOLD else "and this is not urgent"
        yield Reason.METERED_CONNECTION, Permission(may=False, message=f"{METERED} {kind}")
    if not (allowed.fetch.may or repairs):
        yield Reason.AWAITING_WINDOW, allowed.fetch
    if not allowed.budget.may:
        yield Reason.BUDGET_SPENT, allowed.budget
    if (turn := allowed.turns.get(work.build_key)) is not None and work.build_key not in running:
        yield Reason.AWAITING_TURN, turn


def prunes_in_time(prunes: list[PruneVariant], observed: Observed) -> tuple[list[PruneVariant], list[Held]]:
    """What serves and is no longer declared goes in the window in which what serves changes."""
    activate = observed.permissions.activate
    if activate.may:
        return prunes, []
    return [], [_held(one.variant, (Reason.AWAITING_WINDOW, activate)) for one in prunes]


def _held(variant: str, hold: Hold) -> Held:
    reason, permission = hold
    return Held(variant=variant, reason=reason, message=permission.message, until=permission.until)
