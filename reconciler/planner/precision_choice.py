"""Which precision of a model with `precisions: auto` a machine wants: the most faithful one that it can hold and that
answers at reading speed; where none is that fast, the smallest that it can hold. Pure.

What rules a precision out, in this order: the provider, the memory to serve it, the disk, and on a machine that
converts the memory and disk of that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.errors import Problem
from reconciler.domain.machine.facts import SHARE_OF_MEMORY
from reconciler.domain.machine.precision_choice import Capacity, Choosing, PrecisionNeeds
from reconciler.domain.manifest import variant_name
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER, absent_provider_hint
from reconciler.domain.targets.precisions import TABLE
from reconciler.domain.text.quoting import listed
from reconciler.domain.text.units import size_text

NONE_FITS = "NoPrecisionFits"  # code of a problem
PROVIDER_ABSENT = "ProviderAbsent"  # code of a problem, or of a warning
OF_MACHINE = frozenset({NONE_FITS, PROVIDER_ABSENT})  # the manifest is valid, the machine lacks something
READING = 5  # tokens a second: about as fast as people read
READ_A_SECOND = 2 << 30  # bytes of weights by one processor: docs/real-models.md has 4 to 5.9 GiB by two


@dataclass(frozen=True, kw_only=True)
class Choice:
    """`precision` is "" where none can be held; `text` says why it is this one."""

    precision: str
    text: str


def choose(needs: Mapping[str, PrecisionNeeds], capacity: Capacity, ruled_out: Mapping[str, str]) -> Choice:
    """Among the precisions that the manifest allows. `ruled_out` says of others why no machine takes them."""
    order = sorted(needs, key=lambda one: (-TABLE[one].bits, one))
    why = {**ruled_out, **{one: lack for one in order if (lack := next(_lacks(needs[one], capacity), ""))}}
    fitting = [one for one in order if one not in why]
    if not fitting:
        return Choice(precision="", text=_others(why))
    fast = [one for one in fitting if _speed(needs[one], capacity) >= READING]
    best = (fast or fitting[-1:])[0]
    slower = fitting[: fitting.index(best)]
    why |= {one: f"would answer slower than people read ({_speed_text(needs[one], capacity)})" for one in slower}
    smaller = [one for one in fitting if one != best and one not in slower]
    text = f"{best}: {_held(needs[best], capacity)}"
    if not fast and len(needs) > 1:
        text += ", the smallest, because none answers as fast as people read"
    text += f"; more faithful than {' and '.join(smaller)}" if smaller else ""
    others = _others({one: why[one] for one in why if one != best})
    return Choice(precision=best, text=f"{text}; {others}" if others else text)


def _others(why: Mapping[str, str]) -> str:
    return "; ".join(f"{one} {reason}" for one, reason in why.items())


def _held(needs: PrecisionNeeds, capacity: Capacity) -> str:
    return f"{size_text(needs.memory)} of {size_text(capacity.memory)}" if capacity.memory else size_text(needs.memory)


def _lacks(needs: PrecisionNeeds, capacity: Capacity) -> Iterator[str]:
    """Why the machine cannot have it, the first counts. What is unknown of the machine lacks nothing."""
    if needs.provider not in capacity.providers:
        yield f"wants {needs.provider}, which is not here"
    if capacity.memory and needs.memory > SHARE_OF_MEMORY * capacity.memory:
        cache = f", {size_text(needs.cache)} of it for its context" if 4 * needs.cache > needs.memory else ""
        limit = f"{SHARE_OF_MEMORY:.0%} of {size_text(capacity.memory)}"
        yield f"would need {size_text(needs.memory)} of memory{cache}, more than {limit}"
    if 0 < capacity.disk < needs.disk:
        yield f"would need {size_text(needs.disk)} of disk, more than {size_text(capacity.disk)}"
    if capacity.converts and 0 < capacity.conversion_memory < needs.conversion_memory:
        allowed = size_text(capacity.conversion_memory)
        yield f"would need {size_text(needs.conversion_memory)} of memory to be converted, more than {allowed}"
    if capacity.converts and 0 < capacity.disk < needs.conversion_disk:
        found = size_text(capacity.disk)
        yield f"would need {size_text(needs.conversion_disk)} of disk to be converted, more than {found}"


def _speed(needs: PrecisionNeeds, capacity: Capacity) -> float:
    """Tokens a second. Only a processor's speed is guessed; a GPU counts as fast enough."""
    if needs.provider != DEFAULT_PROVIDER.name:
        return inf
    return capacity.cpus * READ_A_SECOND / max(needs.read, 1)


def _speed_text(needs: PrecisionNeeds, capacity: Capacity) -> str:
    return f"some {_speed(needs, capacity):.1f} tokens/s with {capacity.cpus} processors"


def chosen_for(desired: Desired, capacity: Capacity) -> Desired:
    """`desired` as this machine wants it: of each model that says auto the one precision that it takes. Where it can
    take none, all of them are declared and unresolved: what serves goes on. As long as it is not known what a model
    needs, its source being nowhere yet, the smallest stands for it."""
    for name, choosing in desired.choosing.items():
        found = [one for one in desired.wanted if one.release.model == name]
        if found:
            desired = _chosen(desired, name, choosing, found, capacity)
    return replace(desired, choosing={})


def _chosen(
    desired: Desired, name: str, choosing: Choosing, found: list[DesiredRelease], capacity: Capacity
) -> Desired:
    needs = {one.release.precision: one.needs for one in found if one.needs is not None}
    if len(needs) < len(found):
        smallest = min(found, key=lambda one: TABLE[one.release.precision].bits).release.precision
        text = f"{smallest}, until its source is here: what the others need is not known (`reconciler lock`)"
        choice = Choice(precision=smallest, text=text)
    else:
        choice = choose(needs, capacity, choosing.ruled_out)
    dropped = frozenset(variant_name(name, one) for one in choosing.allowed if one != choice.precision)
    wanted = tuple(one for one in desired.wanted if one.variant not in dropped)
    if not choice.precision:
        problem = _none_fits(choosing, choice, needs, capacity)
        return replace(desired, wanted=wanted, unresolved={**desired.unresolved, **dict.fromkeys(dropped, problem)})
    return replace(
        desired, wanted=wanted, declared=desired.declared - dropped, chosen={**desired.chosen, name: choice.text}
    )


def _none_fits(choosing: Choosing, choice: Choice, needs: Mapping[str, PrecisionNeeds], capacity: Capacity) -> Problem:
    absent = sorted({one.provider for one in needs.values()} - {*capacity.providers})
    if absent:  # all precisions of a model are for the same provider
        here = listed(sorted(capacity.providers)) if capacity.providers else "none"
        code, message = PROVIDER_ABSENT, f"expected a machine with {absent[0]}, for which it is made; here is {here}"
        hint = absent_provider_hint(absent[0])
    else:
        code, message = NONE_FITS, f"no precision that it allows fits this machine: {choice.text}"
        hint = "allow a smaller one (precisions: {auto: [...]}), or choose its machines by nodeSelector"
    return Problem(
        code=code, file=choosing.file, line=choosing.line, field="spec.precisions", message=message, hint=hint
    )
