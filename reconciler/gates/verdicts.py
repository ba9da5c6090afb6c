"""What the gates of declared releases say by the numbers that were measured: now, after a change of the gates, and as
the last pass recorded it. Nothing is measured here. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.measured import Fidelity, Measured
from reconciler.domain.plan import Plan
from reconciler.domain.recorded import Recorded
from reconciler.domain.verdict import Verdict
from reconciler.gates.judgement import judge
from reconciler.gates.prompts import PromptsGate


def verdicts_of(wanted: DesiredRelease, recorded: Recorded) -> tuple[Verdict, ...]:
    """Nothing where nothing was measured."""
    fidelity, measured = known_numbers(wanted, recorded)
    if fidelity is None and measured is None:
        return ()
    return judge(wanted.gates, wanted.release.precision, fidelity, measured)


def with_verdicts(desired: Desired, recorded: Recorded) -> Desired:
    """`desired` with the verdicts of all its releases. Those that are known already are not judged again."""
    return replace(desired, wanted=tuple(_judged(one, recorded) for one in desired.wanted))


def _judged(wanted: DesiredRelease, recorded: Recorded) -> DesiredRelease:
    override = wanted.override
    if override is not None and override.verdicts is None:
        declared = verdicts_of(replace(wanted, release=override.release), recorded)
        wanted = replace(wanted, override=replace(override, verdicts=declared))
    if wanted.verdicts is None:
        wanted = replace(wanted, verdicts=verdicts_of(wanted, recorded))
    return wanted


def known_numbers(wanted: DesiredRelease, recorded: Recorded) -> tuple[Fidelity | None, Measured | None]:
    release, known = wanted.release, recorded.measured
    return known.fidelity.get(release.recipe.build_key), known.releases.get(release.digest)


@dataclass(frozen=True, kw_only=True)
class GateChange:
    """One bar. None: it is not asked for, or nothing is known."""

    variant: str
    gate: str
    measure: str
    before: Verdict | None
    after: Verdict | None


def gate_changes(base: Desired, head: Desired, recorded: Recorded) -> Iterator[GateChange]:
    """Bars of HEAD that differ from those of BASE, by variant, with what they say of the release in HEAD. Of a release
    that is new on the machine only what its artifact is known by can be judged."""
    before = {one.variant: one for one in base.wanted}
    for wanted in sorted(head.wanted, key=lambda one: one.variant):
        old = before.get(wanted.variant)
        if old is None or old.gates == wanted.gates:
            continue
        was, now = (
            {(one.gate, one.measure): one for one in verdicts_of(replace(wanted, gates=each.gates), recorded)}
            for each in (old, wanted)
        )
        for gate, measure in {**now, **was}:
            one, other = was.get((gate, measure)), now.get((gate, measure))
            if _without_words(one) != _without_words(other):
                yield GateChange(variant=wanted.variant, gate=gate, measure=measure, before=one, after=other)


def _without_words(verdict: Verdict | None) -> Verdict | None:
    return replace(verdict, message="", misses=()) if verdict is not None else None


@dataclass(frozen=True, kw_only=True)
class GateStatus:
    """The verdicts of the last pass, for what has no manifests at hand: status, inventories, metrics. `release` is the
    digest of what git declared, which need not be what serves; `prompts` names its golden prompts (`PromptsGate.key`),
    "" where there are none."""

    release: str
    prompts: str = ""
    verdicts: tuple[Verdict, ...] = ()


def gate_statuses(desired: Desired, plan: Plan, before: Mapping[str, GateStatus]) -> dict[str, GateStatus]:
    """By variant, without the words of answers: only `plan` shows them. Where a manifest cannot be read just now, what
    was judged before stays."""
    statuses = {name: one for name, one in before.items() if name in desired.unresolved or not desired.complete}
    for one in desired.wanted:
        if one.variant in plan.verdicts:
            gate = one.gates.get(PromptsGate)
            statuses[one.variant] = GateStatus(
                release=one.declared.digest,
                prompts=gate.key if gate is not None else "",
                verdicts=tuple(replace(verdict, misses=()) for verdict in plan.verdicts[one.variant]),
            )
    return statuses
