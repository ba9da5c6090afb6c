"""Which precision of a model this machine should serve, and why. Pure.

First what rules a precision out: it did not run, its gates reject it, it needs too much memory, it answers fewer golden
prompts than another, or it says something else than its source. Of what is left, the smallest; unless it saves next to
nothing, or a more faithful one is much faster.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from reconciler.domain.targets import TABLE
from reconciler.gates.benchmark import Benched
from reconciler.gates.judgement import rejection_text

# The gates' own bars let random models pass, which lose most by rounding. A model that somebody wants to use is
# trained, and one token in ten that differs from the source is felt.
CLOSE = 0.90
MEMORY_SHARE = 0.80  # of the machine's memory: the rest is for everybody else
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
    """One for each model, in their order. `memory_bytes` is 0 where the machine does not tell."""
    models: dict[str, list[Benched]] = {}
    for one in variants:
        models.setdefault(one.model, []).append(one)
    return tuple(_in_order(_of_model(name, held, memory_bytes), held) for name, held in models.items())


def _in_order(found: Recommendation, variants: Sequence[Benched]) -> Recommendation:
    """What speaks against them, in the order in which they are declared."""
    names = [one.variant for one in variants if one.variant in found.against]
    return replace(found, against={name: found.against[name] for name in names})


def _of_model(model: str, variants: Sequence[Benched], memory: int) -> Recommendation:
    against = {one.variant: why for one in variants if (why := _unfit(one, memory))}
    left = [one for one in variants if one.variant not in against]
    most = max((_passed(one) for one in left), default=0)
    against |= {
        one.variant: f"answers {_passed(one)} golden prompts rightly where another answers {most}"
        for one in left
        if _passed(one) < most
    }
    left = [one for one in left if _passed(one) == most]
    far = {one.variant: why for one in left if (why := _far(one))}
    if not left:
        return Recommendation(model=model, variant="", reason="no precision can be served here", against=against)
    if len(far) == len(left):
        return _nearest(model, left, against)
    against |= far
    return _smallest(model, [one for one in left if one.variant not in far], against)


def _unfit(one: Benched, memory: int) -> str:
    if one.problem is not None:
        return f"could not be measured: {one.problem[1]}"
    if not one.runs:
        return "was not measured"
    rejected = rejection_text(one.verdicts)
    if rejected:
        return f"its gates reject it: {rejected}"
    peak = one.peak_bytes
    if memory and peak and peak.median > MEMORY_SHARE * memory:
        return f"needs {peak.median / memory:.0%} of this machine's memory, more than {MEMORY_SHARE:.0%}"
    return ""


def _passed(one: Benched) -> int:
    return sum(golden.passed for golden in one.golden)


def _far(one: Benched) -> str:
    """ "" also for one that was never compared: see `_distance`."""
    if one.fidelity is None or one.fidelity.top1_agreement >= CLOSE:
        return ""
    agreement = one.fidelity.top1_agreement
    return f"agrees with its source on {agreement:.1%} of tokens, less than {CLOSE:.0%}"


def _nearest(model: str, left: Sequence[Benched], against: dict[str, str]) -> Recommendation:
    best = max(left, key=lambda one: (_agreement(one), -one.size_bytes))
    others = {one.variant: _far(one) for one in left if one is not best}
    reason = f"the nearest to its source, though it agrees on {_agreement(best):.1%} of tokens only"
    return Recommendation(model=model, variant=best.variant, reason=reason, against=against | others)


def _smallest(model: str, left: Sequence[Benched], against: dict[str, str]) -> Recommendation:
    """Walk up from the smallest as long as the next more faithful one is worth its bytes."""
    by_size = sorted(left, key=lambda one: (one.size_bytes, _bits(one)))
    best, because = by_size[0], ""
    for other in by_size[1:]:
        gain = _gain(best, other)
        if gain:
            against = against | {best.variant: gain}
            best, because = other, f"; {gain}"
    smaller = not because and len(by_size) > 1
    others = {
        one.variant: f"{one.size_bytes / best.size_bytes:.1f} times the size, and nothing that is worth it"
        for one in left
        if one is not best and one.variant not in against
    }
    told = "; ".join([*(["the smallest that is good enough"] if smaller else []), *_virtues(best)]) + because
    return Recommendation(model=model, variant=best.variant, reason=told, against=against | others)


def _gain(small: Benched, large: Benched) -> str:
    """Why to take the larger one; "" if not. Both are good enough."""
    if _bits(large) > _bits(small) and large.size_bytes * (1 - WORTH_SAVING) <= small.size_bytes:
        return f"{large.precision} is hardly larger than {small.precision}, and more exact"
    slow, fast = _rate(small), _rate(large)
    if slow and fast >= MUCH_FASTER * slow:
        return f"{large.precision} is {fast / slow:.1f} times faster than {small.precision}"
    return ""


def _virtues(one: Benched) -> Iterator[str]:
    if one.fidelity is None:
        yield "it was not compared with its source"
    else:
        yield f"agrees with its source on {one.fidelity.top1_agreement:.1%} of tokens"
    if one.golden:
        yield f"{_passed(one)} of {len(one.golden)} golden prompts"
    yield "its gates pass"


def _agreement(one: Benched) -> float:
    return one.fidelity.top1_agreement if one.fidelity else 0.0


def _bits(one: Benched) -> int:
    return TABLE[one.precision].bits if one.precision in TABLE else 0


def _rate(one: Benched) -> float:
    """Tokens a second after the longest prompt; 0 when none was timed."""
    return one.speeds[-1].tokens_per_second.median if one.speeds else 0.0
