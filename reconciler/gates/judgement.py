"""The gates of this program, and what is judged of a release by those that its model declares.

Pure: a changed bar gives another verdict on the same numbers. A new gate is a file beside this one and a name in GATES.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconciler.domain.gate_spec import Gate, GateSpec
from reconciler.domain.measured import Fidelity, Measured, Numbers
from reconciler.domain.verdict import Verdict
from reconciler.gates.endurance import EnduranceGate
from reconciler.gates.fidelity import FidelityGate
from reconciler.gates.load import LoadGate
from reconciler.gates.performance import PerformanceGate
from reconciler.gates.prompts import PromptsGate
from reconciler.gates.runtime import RuntimeGate
from reconciler.gates.template import TemplateGate

# In the order in which they are measured.
GATES: tuple[type[Gate], ...] = (FidelityGate, LoadGate, TemplateGate, PromptsGate, PerformanceGate, EnduranceGate)


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
    """Those that are declared or always there, in the order in which they are measured."""
    return tuple(gate for kind in GATES if (gate := spec.get(kind)) is not None)


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


def judge(spec: GateSpec, precision: str, fidelity: Fidelity | None, measured: Measured | None) -> tuple[Verdict, ...]:
    """In the order in which the gates are measured; one verdict a bar."""
    numbers = Numbers(precision=precision, fidelity=fidelity, measured=measured)
    return tuple(verdict for gate in gates_of(spec) for verdict in gate.judge(numbers))


def rejections(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    return tuple(verdict for verdict in verdicts if verdict.rejects)  # guard: gate: what fails rejects


def rejection_text(verdicts: Sequence[Verdict]) -> str:
    """Number beside bar, for each that rejects."""
    return "; ".join(f"{verdict.gate}: {verdict.message}" for verdict in rejections(verdicts))


def gate_fields(spec: GateSpec, precisions: Sequence[str]) -> Iterator[tuple[str, object]]:
    """The bars as a comparison names them, also those that are not declared: they come from the precision."""
    for gate in gates_of(spec):
        for name, held in gate.shown_fields(precisions):
            yield f"spec.gates.{gate.name}.{name}", held
