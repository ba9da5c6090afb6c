"""The disk that a plan as a whole takes: each change may fit alone, and all of them not. Pure; part of planner.plan.

Long work goes on one after the other, `jobs` at a time: what one leaves behind is gone for the next, and what works
beside it takes its peak at the same moment. What does not fit any more is held, and planned anew by each pass.
"""

from collections.abc import Container, Iterable
from dataclasses import replace

from reconciler.domain.changes import LongWork, PruneVariant
from reconciler.domain.observed import Observed, ServedFolder
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.release import ALWAYS_COPIED
from reconciler.planner.disk_budget import shortfall
from reconciler.planner.plan_variant import VariantPlan


def with_room_of(observed: Observed, prunes: Iterable[PruneVariant]) -> Observed:
    """As it will be when `prunes` are carried out, which takes a moment. What a served folder shares with the store is
    not given back by it."""
    gone = {(change.variant, number) for change in prunes for number in change.numbers}
    return with_more(observed, sum(map(copied, _of(observed, gone))))


def _of(observed: Observed, ids: Container[tuple[str, int]]) -> list[ServedFolder]:
    return [folder for folder in observed.folders if (folder.variant, folder.number) in ids]


def copied(folder: ServedFolder) -> int:
    """Bytes that a served folder does not share with the store."""
    files = folder.marker.files if folder.marker is not None else ()
    return sum(file.size for file in files if file.size < ALWAYS_COPIED)


def with_more(observed: Observed, freed: int) -> Observed:
    if not freed:
        return observed
    return replace(observed, disk_free=observed.disk_free + freed, disk_used=max(observed.disk_used - freed, 0))


def hold_what_does_not_fit(
    variants: list[VariantPlan], observed: Observed, running: Container[str], jobs: int
) -> list[VariantPlan]:
    line = _Line(observed, running, jobs)
    return [line.judged(variant) for variant in variants]


class _Line:
    """What long work has been promised of the disk so far, in the order of the plan."""

    def __init__(self, observed: Observed, running: Container[str], jobs: int) -> None:
        self._observed = observed
        self._running = running
        self._jobs = jobs
        self._stays = 0
        self._peaks: list[int] = []  # beyond what stays
        self._short: dict[str, str] = {}  # by build key: why not

    def judged(self, variant: VariantPlan) -> VariantPlan:
        """What makes way for one goes before any work begins, so the others have it too."""
        before, self._observed = self._observed, with_more(self._observed, variant.frees)
        judged = self._judged(variant)
        if judged is not variant:
            self._observed = before
        return judged

    def _judged(self, variant: VariantPlan) -> VariantPlan:
        work = next((change for change in variant.changes if isinstance(change, LongWork)), None)
        if work is None:
            return variant
        if work.build_key not in self._short:
            self._short[work.build_key] = self._decide(work)
        message = self._short[work.build_key]
        if not message:
            return variant
        hold = Held(variant=work.variant, reason=Reason.DISK_INSUFFICIENT, message=message)
        return VariantPlan(held=(*variant.held, hold))

    def _decide(self, work: LongWork) -> str:
        """ "" when it fits. What runs has its disk already, so nothing is reserved for it twice."""
        if work.build_key in self._running:
            return ""
        beside = sum(sorted(self._peaks)[-(self._jobs - 1) :]) if self._jobs > 1 else 0
        before = self._stays + beside
        if self._peaks and (short := shortfall(work.cost.peak_disk_bytes, self._observed, before=before)):
            return short
        self._stays += work.cost.disk_bytes
        self._peaks.append(max(work.cost.peak_disk_bytes - work.cost.disk_bytes, 0))
        return ""
