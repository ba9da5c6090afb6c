"""What a commit's gates will say on a machine, and what they say now, from the numbers that it has told. Nothing is
measured for it: of a release that is new there, only what its artifact is known by can be judged. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from reconciler.domain.desired import Desired
from reconciler.domain.recorded import Recorded
from reconciler.domain.verdict import Verdict
from reconciler.gates.verdicts import verdicts_of


@dataclass(frozen=True, kw_only=True)
class GateChange:
    """One bar. None: it is not asked for, or nothing is known."""

    variant: str
    gate: str
    measure: str
    before: Verdict | None
    after: Verdict | None


def gate_changes(base: Desired, head: Desired, recorded: Recorded) -> Iterator[GateChange]:
    """Bars that are others, or that another release is measured by, by variant."""
    before = {one.variant: one for one in base.wanted}
    for wanted in sorted(head.wanted, key=lambda one: one.variant):
        old = before.get(wanted.variant)
        if old is None or old.gates == wanted.gates:
            continue
        was, comes = (
            {(one.gate, one.measure): one for one in verdicts_of(replace(wanted, gates=each.gates), recorded)}
            for each in (old, wanted)
        )
        for gate, measure in {**comes, **was}:
            one, other = was.get((gate, measure)), comes.get((gate, measure))
            if _said(one) != _said(other):
                yield GateChange(variant=wanted.variant, gate=gate, measure=measure, before=one, after=other)


def _said(verdict: Verdict | None) -> tuple[object, ...] | None:
    return None if verdict is None else (verdict.status, verdict.number, verdict.bar, verdict.rejects)
