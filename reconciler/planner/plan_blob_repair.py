"""Damage in the store that is mended without a conversion: from a served file with the same digest. Pure; part of
planner.plan. What has no such file is converted again (planner.plan_variant), while what is served goes on serving.
"""

from __future__ import annotations

from reconciler.domain.changes import Change
from reconciler.domain.desired import Desired
from reconciler.domain.observed import Observed
from reconciler.planner.prune import used_keys


def plan_mends(desired: Desired, observed: Observed) -> list[Change]:
    """Only what something uses; the rest is freed, damaged or not."""
    if not observed.mendable:
        return []
    used = used_keys(desired, observed, set())
    return [_mend(key, observed.damaged_artifacts[key]) for key in sorted(observed.mendable) if key in used]


def _mend(build_key: str, damage: tuple[str, ...]) -> Change:
    return Change(
        action="repair",
        reason="DriftDetected",
        variant="",
        build_key=build_key,
        forced_by=tuple(f"{one} changed" for one in damage),
        before={"damage": list(damage)},
        after={"buildKey": build_key},
    )
