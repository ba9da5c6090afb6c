"""What a plan may take of the disk: each change, and all of them together. Pure; part of planner.plan.

The budget is what is free, less what must stay so, within the root's quota. Long work goes on one after the other,
`jobs` at a time: what one leaves behind is gone for the next, and what works beside it takes its peak at the same
moment. What does not fit any more is held, and planned anew by each pass.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from reconciler.domain.changes import Cost, LongWork, PruneVariant
from reconciler.domain.machine.facts import StorageLimits
from reconciler.domain.observed import Observed, ServedFolder
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.release import ALWAYS_COPIED
from reconciler.domain.text.units import size_text
from reconciler.planner.plan_variant import VariantPlan


def disk_budget(observed: Observed) -> tuple[int, str]:
    """As `budget_within` of what was observed."""
    return budget_within(observed.limits, observed.disk_free, observed.disk_used)


def budget_within(limits: StorageLimits, free: int, used: int) -> tuple[int, str]:
    """Bytes that may still be written, never below zero, and the words for the limit that decides. `used` are those of
    the root, where there is a quota."""
    left, words = free, f"{size_text(free)} are free"
    if limits.disk_reserve:
        left = max(free - limits.disk_reserve, 0)
        of = f"{size_text(limits.disk_reserve)} of {size_text(free)}"
        words = f"{size_text(left)} are free beside limits.diskReserve ({of})"
    if limits.disk_quota is not None and (of_quota := max(limits.disk_quota - used, 0)) < left:
        of = f"{size_text(used)} of {size_text(limits.disk_quota)}"
        return of_quota, f"{size_text(of_quota)} are left of limits.diskQuota ({of} are used)"
    return left, words


def _shortfall(need: int, observed: Observed, *, before: int = 0) -> str:
    """Why `need` bytes are too many, "" where they fit. `before` are those that earlier work of the plan takes."""
    left, words = disk_budget(observed)
    if need + before <= left:
        return ""
    taken = f" after {size_text(before)} of this plan's" if before else ""
    short = size_text(need + before - left)
    return f"needs {size_text(need)} at the peak{taken}, {words}: {short} too little"


def within_disk(plan: VariantPlan, observed: Observed) -> VariantPlan:
    """Nothing but a hold where its largest step does not fit."""
    need = max((change.cost.peak_disk_bytes for change in plan.changes), default=0)
    message = _shortfall(need, observed)
    if not message or plan.running:
        return plan
    hold = Held(variant=plan.changes[0].variant, reason=Reason.DISK_INSUFFICIENT, message=message)
    return VariantPlan(held=(hold,), short_of=need)


def with_room_of(observed: Observed, prunes: Iterable[PruneVariant]) -> Observed:
    """As it will be when `prunes` are carried out, which takes a moment."""
    gone = {(change.variant, number) for change in prunes for number in change.numbers}
    return with_more(observed, sum(copied(one) for one in observed.folders if (one.variant, one.number) in gone))


def copied(folder: ServedFolder) -> int:
    """Bytes that a served folder does not share with the store: only they are given back with it."""
    files = folder.marker.files if folder.marker is not None else ()
    return sum(file.size for file in files if file.size < ALWAYS_COPIED)


def with_more(observed: Observed, freed: int) -> Observed:
    if not freed:
        return observed
    return replace(observed, disk_free=observed.disk_free + freed, disk_used=max(observed.disk_used - freed, 0))


def hold_what_does_not_fit(
    variants: Iterable[VariantPlan], observed: Observed, running: Container[str], jobs: int
) -> list[VariantPlan]:
    """What makes way for one goes before any work begins, so the others have its room too. What runs has its disk
    already, so nothing is reserved for it twice."""
    made: list[VariantPlan] = []
    admitted: list[Cost] = []
    decided: dict[str, str] = {}  # by build key: why it does not fit, "" where it does
    for variant in variants:
        work = next((change for change in variant.changes if isinstance(change, LongWork)), None)
        roomier = with_more(observed, variant.frees)
        if work is not None and work.build_key not in decided:
            is_new = work.build_key not in running
            decided[work.build_key] = _after(admitted, work.cost, roomier, jobs) if is_new else ""
            admitted += [work.cost] if is_new and not decided[work.build_key] else []
        if work is not None and (message := decided[work.build_key]):
            hold = Held(variant=work.variant, reason=Reason.DISK_INSUFFICIENT, message=message)
            made.append(VariantPlan(held=(*variant.held, hold)))
        else:
            made.append(variant)
            observed = roomier
    return made


def _after(admitted: Sequence[Cost], cost: Cost, observed: Observed, jobs: int) -> str:
    """Why this work does not fit after what was admitted and beside `jobs` - 1 of that; "" where it does. The first was
    judged alone (`within_disk`)."""
    if not admitted:
        return ""
    peaks = sorted(max(one.peak_disk_bytes - one.disk_bytes, 0) for one in admitted)
    beside = sum(peaks[-(jobs - 1) :]) if jobs > 1 else 0
    return _shortfall(cost.peak_disk_bytes, observed, before=sum(one.disk_bytes for one in admitted) + beside)
