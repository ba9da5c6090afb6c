"""What a Rollout holds back: a new release, with all the work that leads to it. Pure; part of planner.plan.

Nothing is downloaded or converted for a release that may never be served here. Repairs and roll-backs wait for no ring:
what they bring back has served here.
"""

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.observed import Observed
from reconciler.planner.plan_variant import VariantPlan


def within_rings(plan: VariantPlan, wanted: DesiredRelease, observed: Observed) -> VariantPlan:
    """Without its changes where another ring goes first (planner.rollout has decided that)."""
    hold = observed.rings.get(wanted.variant)
    # guard: a later ring begins nothing
    if hold is not None and plan.changes and not plan.repairs and wanted.override is None:
        return VariantPlan(held=(*plan.held, hold), later=plan.later)
    return plan
