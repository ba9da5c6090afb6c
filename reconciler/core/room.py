"""What a conversion may take of the disk: what is free, less what must stay so, within the root's quota. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.core.observed import Observed


def room(observed: Observed) -> tuple[int, str]:
    """Bytes, never below zero, and the words for the limit that decides."""
    limits, free = observed.limits, observed.disk_free
    left, words = free, f"{free} are free"
    if limits.disk_reserve:
        left = max(free - limits.disk_reserve, 0)
        words = f"{left} are free beside limits.diskReserve ({limits.disk_reserve} of {free})"
    if limits.disk_quota is not None:
        of_quota = max(limits.disk_quota - observed.disk_used, 0)
        if of_quota < left:
            left = of_quota
            words = (
                f"{left} are left of limits.diskQuota ({observed.disk_used} of {limits.disk_quota} are used)"
            )
    return left, words
