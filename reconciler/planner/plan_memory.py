"""Whether a conversion fits into the memory that this machine has for it: alone, and beside those that go on at the
same time. Pure; part of planner.plan."""

from collections.abc import Container, Iterable, Iterator, Sequence

from reconciler.domain.changes import Convert, FetchSource
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.machine.facts import SHARE_OF_MEMORY, Memory, conversion_limit
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.text.quoting import listed
from reconciler.domain.text.units import size_text
from reconciler.planner.plan_variant import VariantPlan


def memory_budget(memory: Memory) -> tuple[int, str]:
    """Bytes, and the words for the limit that decides."""
    limit = conversion_limit(memory.limit, memory.total)
    if memory.free < limit:
        return memory.free, f"{size_text(memory.free)} of {size_text(memory.total)} are free"
    if memory.limit:
        return limit, f"conversionMemory (--conversion-memory) allows {size_text(limit)}, raise it where there is more"
    return limit, f"a conversion may hold {size_text(limit)}, {SHARE_OF_MEMORY:.0%} of the memory"


def within_memory(plan: VariantPlan, wanted: DesiredRelease, observed: Observed) -> VariantPlan:
    """Nothing but a hold where its conversion does not fit, also before the download that comes first."""
    need, (left, words) = wanted.memory_needed, memory_budget(observed.memory)
    converts = any(isinstance(change, Convert | FetchSource) for change in plan.changes)
    if plan.running or not converts or not observed.memory.total or need <= left:
        return plan
    message = f"the conversion needs {size_text(need)} of memory, {words}: {_what_would_do(wanted, left)}"
    return VariantPlan(held=(Held(variant=wanted.variant, reason=Reason.MEMORY_INSUFFICIENT, message=message),))


def _what_would_do(wanted: DesiredRelease, left: int) -> str:
    fitting = [f"{name} needs {size_text(need)}" for name, need in wanted.memory_bytes.items() if need <= left]
    machine = "a machine with more memory would do"
    return f"{listed(fitting)}; or {machine}" if fitting else machine


def hold_what_does_not_fit_beside(
    variants: Sequence[VariantPlan], observed: Observed, running: Container[str], jobs: int
) -> Iterator[VariantPlan]:
    """Of `jobs` conversions at a time, those that fit together, in their order, beside those that go on already."""
    works = [change for variant in variants for change in variant.changes if isinstance(change, Convert)]
    at_work = {work.build_key: work.cost.peak_memory_bytes for work in works if work.build_key in running}
    for variant in variants:
        work = next((change for change in variant.changes if isinstance(change, Convert)), None)
        if work is not None and work.build_key not in at_work:
            if message := _beside(work.cost.peak_memory_bytes, at_work.values(), observed, jobs):
                hold = Held(variant=work.variant, reason=Reason.MEMORY_INSUFFICIENT, message=message)
                yield VariantPlan(held=(*variant.held, hold))
                continue
            at_work[work.build_key] = work.cost.peak_memory_bytes
        yield variant


def _beside(need: int, at_work: Iterable[int], observed: Observed, jobs: int) -> str:
    """Why not; "" where it fits. It fits alone (`within_memory`)."""
    beside = sum(sorted(at_work, reverse=True)[: jobs - 1])
    left, words = memory_budget(observed.memory)
    if not beside or not observed.memory.total or need + beside <= left:
        return ""
    return f"the conversion needs {size_text(need)} of memory beside {size_text(beside)} of others (--jobs), {words}"
