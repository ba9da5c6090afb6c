"""What a plan may take of the disk: each change, and all of them together. Pure; part of planner.plan.

The budget is what is free, less what must stay so, within the root's quota. Long work goes on one after the other,
`jobs` at a time: what one leaves behind is gone for the next, and what works beside it takes its peak at the same
moment. What does not fit any more is held, and planned anew by each pass.
"""

from collections.abc import Container, Iterable
from dataclasses import replace

from reconciler.domain.changes import LongWork, PruneVariant
from reconciler.domain.observed import Observed, ServedFolder
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.release import ALWAYS_COPIED
from reconciler.domain.text.units import size_text
from reconciler.planner.plan_variant import VariantPlan


def disk_budget(observed: Observed) -> tuple[int, str]:
    """Bytes, never below zero, and the words for the limit that decides."""
    limits, free = observed.limits, observed.disk_free
    left, words = free, f"{size_text(free)} are free"
    if limits.disk_reserve:
        left = max(free - limits.disk_reserve, 0)
        of = f"{size_text(limits.disk_reserve)} of {size_text(free)}"
        words = f"{size_text(left)} are free beside limits.diskReserve ({of})"
    if limits.disk_quota is not None and (of_quota := max(limits.disk_quota - observed.disk_used, 0)) < left:
        of = f"{size_text(observed.disk_used)} of {size_text(limits.disk_quota)}"
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
    queue = _Queue(observed, running, jobs)
    return [queue.admitted(variant) for variant in variants]


class _Queue:
    """What of the disk is promised to long work so far, in the order of the plan."""

    def __init__(self, observed: Observed, running: Container[str], jobs: int) -> None:
        self._observed = observed
        self._running = running
        self._jobs = jobs
        self._stays = 0
        self._peaks: list[int] = []  # beyond what stays
        self._short: dict[str, str] = {}  # by build key: why not

    def admitted(self, variant: VariantPlan) -> VariantPlan:
        """What makes way for one goes before any work begins, so the others have its room too."""
        work = next((change for change in variant.changes if isinstance(change, LongWork)), None)
        before, self._observed = self._observed, with_more(self._observed, variant.frees)
        if work is None:
            return variant
        if work.build_key not in self._short:
            self._short[work.build_key] = self._decide(work)
        if not (message := self._short[work.build_key]):
            return variant
        self._observed = before
        hold = Held(variant=work.variant, reason=Reason.DISK_INSUFFICIENT, message=message)
        return VariantPlan(held=(*variant.held, hold))

    def _decide(self, work: LongWork) -> str:
        """ "" when it fits. What runs has its disk already, so nothing is reserved for it twice."""
        if work.build_key in self._running:
            return ""
        beside = sum(sorted(self._peaks)[-(self._jobs - 1) :]) if self._jobs > 1 else 0
        before = self._stays + beside
        if self._peaks and (short := _shortfall(work.cost.peak_disk_bytes, self._observed, before=before)):
            return short
        self._stays += work.cost.disk_bytes
        self._peaks.append(max(work.cost.peak_disk_bytes - work.cost.disk_bytes, 0))
        return ""
