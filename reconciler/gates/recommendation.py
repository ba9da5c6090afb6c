"""Which precision of a model this machine should serve, and why. Pure.

First what rules a precision out: it did not run, its gates reject it, it needs too much memory, it answers fewer golden
prompts than another, or it differs too much from its source. Of what is left, the smallest; unless it saves next to
nothing, or a more faithful one is much faster.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconciler.domain.plain_data import grouped
from reconciler.domain.targets.precisions import TABLE
from reconciler.gates.benchmark import Benched
from reconciler.gates.judgement import rejection_text

# The gates' own bars let random models pass, which lose most by rounding. A model that is put to use is trained, and
# one token in ten that differs from the source is felt.
CLOSE = 0.90
MEMORY_SHARE = 0.80  # of the machine's memory: the rest is for all other processes
MUCH_FASTER = 1.5
WORTH_SAVING = 0.10  # of the size on disk


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """`variant` is "" when nothing can be recommended. `against` says of each other one why not."""

    model: str
    variant: str
    reason: str
    against: dict[str, str]


def recommend(variants: Iterable[Benched], memory_bytes: int) -> tuple[Recommendation, ...]:
    """One for each model, in their order. `memory_bytes` is 0 where it is unknown."""
    models = grouped(variants, lambda one: one.model)
    return tuple(_of_model(name, held, memory_bytes) for name, held in models.items())


def _of_model(model: str, variants: Sequence[Benched], memory: int) -> Recommendation:
    against = {one.variant: why for one in variants if (why := _unfit(one, memory))}
    left = [one for one in variants if one.variant not in against]
    most = max(map(_passed, left), default=0)
    against |= {
        one.variant: f"answers {_passed(one)} golden prompts rightly where another answers {most}"
        for one in left
        if _passed(one) < most
    }
    left = [one for one in left if _passed(one) == most]
    far = {
        one.variant: f"agrees with its source on {_agreement(one):.1%} of tokens, less than {CLOSE:.0%}"
        for one in left
        if one.fidelity is not None and one.fidelity.top1_agreement < CLOSE
    }
    if not left:
        best, reason = "", "no precision can be served here"
    elif len(far) == len(left):
        nearest = max(left, key=lambda one: (_agreement(one), -one.size_bytes))
        best = nearest.variant
        reason = f"the nearest to its source, though it agrees on {_agreement(nearest):.1%} of tokens only"
        against |= {variant: why for variant, why in far.items() if variant != best}
    else:
        smallest, reason, others = _smallest([one for one in left if one.variant not in far])
        best, against = smallest.variant, against | far | others
    # In the order in which they are declared.
    against = {one.variant: against[one.variant] for one in variants if one.variant in against}
    return Recommendation(model=model, variant=best, reason=reason, against=against)


def _unfit(one: Benched, memory: int) -> str:
    if one.problem is not None:
        return f"could not be measured: {one.problem[1]}"
    if not one.runs:
        return "was not measured"
    if rejected := rejection_text(one.verdicts):
        return f"its gates reject it: {rejected}"
    peak = one.peak_bytes
    if memory and peak and peak.median > MEMORY_SHARE * memory:
        return f"needs {peak.median / memory:.0%} of this machine's memory, more than {MEMORY_SHARE:.0%}"
    return ""


def _passed(one: Benched) -> int:
    return sum(golden.passed for golden in one.golden)


def _smallest(left: Sequence[Benched]) -> tuple[Benched, str, dict[str, str]]:
    """Walk up from the smallest as long as the next more faithful one is worth its bytes. Also the reason, and what
    speaks against the others."""
    by_size = sorted(left, key=lambda one: (one.size_bytes, _bits(one)))
    best, because = by_size[0], ""
    against: dict[str, str] = {}
    for other in by_size[1:]:
        if gain := _gain(best, other):
            against[best.variant] = gain
            best, because = other, f"; {gain}"
    smallest = ["the smallest that is good enough"] if not because and len(by_size) > 1 else []
    others = {
        one.variant: f"{one.size_bytes / best.size_bytes:.1f} times the size, and nothing that is worth it"
        for one in left
        if one is not best and one.variant not in against
    }
    return best, "; ".join([*smallest, *_virtues(best)]) + because, against | others


def _gain(small: Benched, large: Benched) -> str:
    """Why to take the larger one; "" if not. Both are good enough."""
    if _bits(large) > _bits(small) and large.size_bytes * (1 - WORTH_SAVING) <= small.size_bytes:
        return f"{large.precision} is hardly larger than {small.precision}, and more exact"
    # After the longest prompt; 0 when none was timed.
    slow, fast = (one.speeds[-1].tokens_per_second.median if one.speeds else 0.0 for one in (small, large))
    if slow and fast >= MUCH_FASTER * slow:
        return f"{large.precision} is {fast / slow:.1f} times faster than {small.precision}"
    return ""


def _virtues(one: Benched) -> Iterator[str]:
    if one.fidelity is None:
        yield "it was not compared with its source"
    else:
        yield f"agrees with its source on {_agreement(one):.1%} of tokens"
    if one.golden:
        yield f"{_passed(one)} of {len(one.golden)} golden prompts"
    yield "its gates pass"


def _agreement(one: Benched) -> float:
    return one.fidelity.top1_agreement if one.fidelity else 0.0


def _bits(one: Benched) -> int:
    return TABLE[one.precision].bits if one.precision in TABLE else 0
