"""The gates of this program, and what those of a model say of a release by the numbers that were measured: now, after a
change of the gates, and as the last pass recorded it. Nothing is measured here.

Pure: a changed bar gives another verdict on the same numbers. A new gate is a file beside this one and a name in GATES.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.gate_spec import Gate, GateSpec
from reconciler.domain.measured import Fidelity, Measured, Numbers
from reconciler.domain.plan import Plan
from reconciler.domain.recorded import Recorded
from reconciler.domain.release import Release
from reconciler.domain.verdict import Verdict
from reconciler.gates.decoding import DecodingGate
from reconciler.gates.embeddings import EmbeddingsGate
from reconciler.gates.endurance import EnduranceGate
from reconciler.gates.fidelity import FidelityGate
from reconciler.gates.load import LoadGate
from reconciler.gates.performance import PerformanceGate
from reconciler.gates.prompts import PromptsGate
from reconciler.gates.reference import ReferenceGate
from reconciler.gates.runtime import RuntimeGate
from reconciler.gates.speech import SpeechGate
from reconciler.gates.template import TemplateGate
from reconciler.gates.tokenizer import TokenizerGate

# In the order in which they are measured.
GATES: tuple[type[Gate], ...] = (
    *(FidelityGate, LoadGate, TokenizerGate, TemplateGate, DecodingGate, ReferenceGate),
    *(PromptsGate, EmbeddingsGate, SpeechGate, PerformanceGate, EnduranceGate),
)

USUAL: dict[type[Gate], Gate] = {kind: kind() for kind in GATES if kind.always}
REMEMBERED = 4096  # what was judged: a daemon asks it of every model, in every pass
OF_ONE, FEW = 4, 64  # verdicts that are remembered of a release, and beside: they hold the answers that were judged


@dataclass(frozen=True, kw_only=True)
class Needed:
    """The gates for which something has to be measured first."""

    gates: tuple[Gate, ...] = ()

    @property
    def fidelity(self) -> bool:
        return any(isinstance(one, FidelityGate) for one in self.gates)

    @property
    def in_runtime(self) -> tuple[RuntimeGate, ...]:
        return tuple(one for one in self.gates if isinstance(one, RuntimeGate))

    @property
    def slow(self) -> bool:
        """May it take longer than a pass should?"""
        return any(one.slow for one in self.gates)


def gates_of(spec: GateSpec) -> tuple[Gate, ...]:
    """Those that are declared or always there and can judge models for this task, in the order in which they are
    measured."""
    declared = {type(one): one for one in spec.gates}
    found = (declared.get(kind, USUAL.get(kind)) for kind in GATES if spec.task in kind.tasks)
    return tuple(gate for gate in found if gate is not None)


def needed(spec: GateSpec, fidelity: Fidelity | None, measured: Measured | None) -> Needed:
    numbers = Numbers(precision="", fidelity=fidelity, measured=measured)
    return Needed(gates=tuple(one for one in gates_of(spec) if one.missing(numbers)))


def missing_measurements(spec: GateSpec, fidelity: Fidelity | None, measured: Measured | None) -> Needed:
    """What a release that serves already has to be measured for: gates that are declared. The usual ones it passed
    before it was served; they are not measured again because records were lost."""
    rest = tuple(one for one in needed(spec, fidelity, measured).gates if one in spec.gates)
    unloaded = measured is None or measured.load is None  # its numbers would be of no known runtime
    load = spec.get(LoadGate)
    if load is not None and load not in rest and unloaded and Needed(gates=rest).in_runtime:
        rest = (*(one for one in rest if not isinstance(one, RuntimeGate)), load, *Needed(gates=rest).in_runtime)
    return Needed(gates=rest)


def judge(
    spec: GateSpec, precision: str, fidelity: Fidelity | None, measured: Measured | None, provider: str = ""
) -> tuple[Verdict, ...]:
    """In the order in which the gates are measured; one verdict a bar."""
    return _judged_by(spec.as_judged, precision, fidelity, measured, provider)  # a recording is not remembered


@lru_cache(REMEMBERED)
def _judged_by(
    spec: GateSpec, precision: str, fidelity: Fidelity | None, measured: Measured | None, provider: str
) -> tuple[Verdict, ...]:
    numbers = Numbers(precision=precision, provider=provider, fidelity=fidelity, measured=measured)
    return tuple(verdict for gate in gates_of(spec) for verdict in gate.judge(numbers))


def judge_release(
    spec: GateSpec, release: Release, fidelity: Fidelity | None, measured: Measured | None
) -> tuple[Verdict, ...]:
    """The same of a release, which knows what its artifact is."""
    return judge(spec, release.precision, fidelity, measured, release.recipe.target.execution_provider)


def rejections(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    return tuple(verdict for verdict in verdicts if verdict.rejects)  # guard: gate: what fails rejects


def rejection_text(verdicts: Sequence[Verdict]) -> str:
    """Number beside bar, for each that rejects."""
    return "; ".join(f"{verdict.gate}: {verdict.message}" for verdict in rejections(verdicts))


def ways_out(verdicts: Iterable[Verdict]) -> str:
    """What can be done about those that reject."""
    ways = {gate.name: gate.way_out for gate in GATES}
    return "; ".join(dict.fromkeys(ways[verdict.gate] for verdict in rejections(verdicts)))


def gate_fields(spec: GateSpec, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
    """The bars as a comparison names them, also those that are not declared: they come from the precision."""
    for gate in gates_of(spec):
        for name, held in gate.shown_fields(precisions):
            yield f"spec.gates.{gate.name}.{name}", held


def verdicts_of(wanted: DesiredRelease, recorded: Recorded) -> tuple[Verdict, ...]:
    """Nothing where nothing was measured."""
    fidelity, measured = known_numbers(wanted, recorded)
    if fidelity is None and measured is None:
        return ()
    return judge_release(wanted.gates, wanted.release, fidelity, measured)


def with_verdicts(desired: Desired, recorded: Recorded) -> Desired:
    """`desired` with the verdicts of all its releases. Those that are known already are not judged again."""
    if _judged_by.cache_info().currsize > OF_ONE * len(desired.wanted) + FEW:  # most are of what is no more
        _judged_by.cache_clear()
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
                verdicts=tuple(replace(v, misses=()) if v.misses else v for v in plan.verdicts[one.variant]),
            )
    return statuses
