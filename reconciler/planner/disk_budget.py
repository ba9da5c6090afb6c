"""What a conversion may take of the disk: what is free, less what must stay so, within the root's quota. Pure."""

from reconciler.domain.observed import Observed
from reconciler.domain.text.units import size_text


def disk_budget(observed: Observed) -> tuple[int, str]:
    """Bytes, never below zero, and the words for the limit that decides."""
    limits, free = observed.limits, observed.disk_free
    left, words = free, f"{size_text(free)} are free"
    if limits.disk_reserve:
        left = max(free - limits.disk_reserve, 0)
        of = f"{size_text(limits.disk_reserve)} of {size_text(free)}"
        words = f"{size_text(left)} are free beside limits.diskReserve ({of})"
    if limits.disk_quota is not None:
        of_quota = max(limits.disk_quota - observed.disk_used, 0)
        if of_quota < left:
            left = of_quota
            of = f"{size_text(observed.disk_used)} of {size_text(limits.disk_quota)}"
            words = f"{size_text(left)} are left of limits.diskQuota ({of} are used)"
    return left, words


def shortfall(need: int, observed: Observed, *, before: int = 0) -> str:
    """Why `need` bytes are too many, "" where they fit. `before` are those that earlier work of the plan takes."""
    left, words = disk_budget(observed)
    if need + before <= left:
        return ""
    taken = f" after {size_text(before)} of this plan's" if before else ""
    short = size_text(need + before - left)
    return f"needs {size_text(need)} at the peak{taken}, {words}: {short} too little"
