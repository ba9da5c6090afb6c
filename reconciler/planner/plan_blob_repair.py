"""Damage in the store that is mended without a conversion: from a served file with the same digest. Pure; part of
planner.plan. What has no such file is converted again (planner.plan_variant), while what is served goes on serving.
"""

from reconciler.domain.changes import RepairArtifact
from reconciler.domain.desired import Desired
from reconciler.domain.observed import Observed
from reconciler.planner.prune import used_keys


def plan_mends(desired: Desired, observed: Observed) -> list[RepairArtifact]:
    """Only what something uses; the rest is freed, damaged or not."""
    if not observed.mendable:
        return []
    used = used_keys(desired, observed, set())
    return [
        RepairArtifact(build_key=key, damage=observed.damaged_artifacts[key])
        for key in sorted(observed.mendable)
        if key in used
    ]
