"""Measure declared variants that are converted here, each run in a new runtime with its own catalog.

Measurements that a gate lacks are recorded. Present ones are kept: gates have judged by them, and a busy machine must
not change a verdict. The root's lock keeps conversions away meanwhile. When another process holds it (a daemon does as
long as it runs), only served variants are measured, and nothing is recorded.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from reconciler.conversion.client.converter import Converter
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import LockHeld, PermanentError, ReconcilerError
from reconciler.domain.measured import Fidelity, Measured
from reconciler.domain.verdict import Verdict
from reconciler.engine.machine import Machine, assemble, locked_again, machine_name, of_this_runtime
from reconciler.engine.planning import Snapshot
from reconciler.engine.resolve import Source
from reconciler.gates.benchmark import Benched, BenchMachine, Run, filled, golden_answers, together
from reconciler.gates.judgement import judge
from reconciler.gates.load import LoadGate
from reconciler.gates.performance import PerformanceGate
from reconciler.gates.prompts import PromptsGate
from reconciler.gates.runtime import Rehearsal
from reconciler.host import durable
from reconciler.host.facts import cpu_model, read_facts
from reconciler.host.processes import MemorySampler

Progress = Callable[[str, str], None]  # a variant, and what is done with it

BENCH = "bench"


@dataclass(frozen=True, kw_only=True)
class Options:
    """`lengths` of prompts in tokens, besides those of each model's gates. `measure`: also measure fidelity where it is
    missing."""

    runs: int = 3
    lengths: tuple[int, ...] = (32, 128, 512)
    measure: bool = False


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A declared variant whose artifact is here. `folder` serves its declared release; empty when it is not served."""

    wanted: DesiredRelease
    size_bytes: int
    folder: str


def candidates(look: Snapshot, names: Sequence[str]) -> tuple[Candidate, ...]:
    """Those with these names of models or variants, in the order of the manifests. No names: all of them."""
    found = [one for wanted in look.resolution.desired.wanted if (one := _candidate(wanted, look))]
    if not names and not found:
        hint = "`reconciler apply` converts and serves what the manifests declare"
        raise PermanentError("nothing that is declared is converted here", hint=hint, code="NotServed")
    for name in names:
        if not any(_is_named(one.wanted, name) for one in found):
            raise _not_found(name, look)
    return tuple(one for one in found if not names or any(_is_named(one.wanted, name) for name in names))


def _is_named(wanted: DesiredRelease, name: str) -> bool:
    return name in (wanted.variant, wanted.release.model)


def _not_found(name: str, look: Snapshot) -> PermanentError:
    wanted = look.resolution.desired.wanted
    if any(_is_named(one, name) for one in wanted):
        hint = "`reconciler apply` converts it; `reconciler plan` shows what prevents that"
        return PermanentError(f"{name} is declared, and not converted here", hint=hint, code="NotServed")
    if name in look.resolution.desired.unresolved:
        message = f"{name} is declared, and there is a problem with it"
        return PermanentError(message, hint="see above", code="NotServed")
    known = ", ".join(sorted({one.release.model for one in wanted})) or "nothing"
    return PermanentError(f"no manifest declares {name}", hint=f"declared: {known}", code="NotDeclared")


def _candidate(wanted: DesiredRelease, look: Snapshot) -> Candidate | None:
    artifact = look.observed.artifacts.get(wanted.release.recipe.build_key)
    if artifact is None:
        return None
    folder = look.observed.folder_behind(look.observed.serving(wanted.variant))
    intact = folder is not None and folder.marker is not None and not folder.damage
    serves = intact and folder.marker.release == wanted.release.digest  # type: ignore[union-attr]
    return Candidate(wanted=wanted, size_bytes=artifact.size, folder=folder.path if folder and serves else "")


@contextlib.contextmanager
def place(machine: Machine) -> Iterator[tuple[Machine, str, str]]:
    """The machine, a folder for the runtime's files, and the holder of the lock; empty when this process holds it and
    may record."""
    with contextlib.ExitStack() as stack:
        try:
            ours = stack.enter_context(locked_again(machine, command=BENCH))
        except LockHeld as error:
            yield (machine, stack.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-bench-")), str(error))
            return
        scratch = ours.layout.at("staging", BENCH)  # after a crash, the next pass removes it
        durable.free(scratch)
        durable.make_folder(scratch)
        stack.callback(ours.stamps.save)
        stack.callback(durable.free, scratch, ours.stamps.remove)
        yield ours, scratch, ""


class Bench:
    """`results` grows with each run, also when it is interrupted."""

    def __init__(self, look: Snapshot, options: Options, report: Progress) -> None:
        self._look = look
        self._options = options
        self._report = report
        self.results: list[Benched] = []
        self.complete = False

    def run(self, machine: Machine, chosen: Iterable[Candidate], scratch: str, *, record: bool) -> None:
        """A variant that cannot be measured does not stop the others."""
        for number, one in enumerate(chosen):
            measuring = _Measuring(machine, one, self._look, os.path.join(scratch, str(number)), record=record)
            self.results.append(measuring.so_far())
            try:
                for result in measuring.measure(self._options, self._report):
                    self.results[-1] = result
            except ReconcilerError as error:
                self.results[-1] = replace(self.results[-1], problem=(error.code, str(error)))
                self._report(one.wanted.variant, f"failed: {error}")
        self.complete = True


class _Measuring:
    """The runs of one variant, and their result so far."""

    def __init__(self, machine: Machine, one: Candidate, look: Snapshot, scratch: str, *, record: bool) -> None:
        self._machine, self._one, self._look = machine, one, look
        self._wanted, self._release = one.wanted, one.wanted.release
        self._scratch = scratch
        self._record = record
        self._runs: list[Run] = []
        self._context = 0
        self._fidelity: Fidelity | None = look.recorded.measured.fidelity.get(self._release.recipe.build_key)

    def measure(self, options: Options, report: Progress) -> Iterator[Benched]:
        folder = self._one.folder or self._assembled()
        self._context = self._machine.backend.context_length(folder)
        variant = self._wanted.variant
        if options.measure and self._fidelity is None:
            report(variant, "compared with its source")
            self._compare(folder)
            yield self.so_far()
        for number in range(1, options.runs + 1):
            report(variant, f"run {number} of {options.runs}")
            self._runs.append(self._run(folder, self._lengths(options), number))
            self._save()
            yield self.so_far()

    def so_far(self) -> Benched:
        measured = together(self._runs) if self._runs else None
        return Benched(
            variant=self._wanted.variant,
            model=self._release.model,
            precision=self._release.precision,
            served=bool(self._one.folder),
            size_bytes=self._one.size_bytes,
            runs=tuple(self._runs),
            fidelity=self._fidelity,
            golden=golden_answers(self._wanted.gates.get(PromptsGate), measured) if measured else (),
            verdicts=self._verdicts(measured) if measured else (),
            context=self._context,
        )

    def _verdicts(self, measured: Measured) -> tuple[Verdict, ...]:
        """The gates' verdicts on the recorded measurements, or on these where none is recorded."""
        known = filled(self._look.recorded.measured.releases.get(self._release.digest), measured)
        return judge(self._wanted.gates, self._release.precision, self._fidelity, known)

    def _run(self, folder: str, lengths: tuple[int, ...], number: int) -> Run:
        """Golden prompts are asked in the first run only: their answers are greedy."""
        catalog = os.path.join(self._scratch, f"catalog-{number}")
        prompts = self._wanted.gates.get(PromptsGate) if number == 1 else None
        gates = [LoadGate(), *([prompts] if prompts else ()), PerformanceGate(prompt_lengths=lengths)]
        measured = Measured(release=self._release.digest, build_key=self._release.recipe.build_key)
        loaded_at = 0.0
        durable.make_folder(catalog)
        runtime = self._machine.backend.at(catalog).runtime(
            scratch=f"{catalog}-files", log=os.path.join(self._scratch, "log")
        )
        with Rehearsal(runtime) as rehearsal, MemorySampler(lambda: runtime.process) as sampler:
            for found in rehearsal.prove(folder, f"{self._wanted.variant}:1", gates, measured):
                measured, loaded_at = found, loaded_at or sampler.elapsed
        return Run(measured=measured, samples=sampler.samples, loaded_at=loaded_at)

    def _assembled(self) -> str:
        """The folder of a release that is not served, assembled as a pass would, in the scratch folder."""
        if not self._record:
            message = "it is converted, but not served, and another reconciler is at work here"
            raise PermanentError(message, hint="retry when that has ended", code="LockHeld")
        folder = os.path.join(self._scratch, "release")
        durable.make_folder(folder)
        assemble(self._machine, self._wanted, folder, number=1, revision=self._look.resolution.desired.revision)
        return folder

    def _lengths(self, options: Options) -> tuple[int, ...]:
        gate = self._wanted.gates.get(PerformanceGate)
        return tuple(sorted({*options.lengths, *(gate.prompt_lengths if gate else ())}))

    def _compare(self, folder: str) -> None:
        source: Source = self._look.resolution.sources[self._release.recipe.build_key]
        durable.make_folder(self._scratch)
        with Converter(os.path.join(self._scratch, "comparison"), self._scratch) as converter:
            self._fidelity = converter.compare(source.recipe, source.path, folder, adapter=source.adapter)
        if self._record:
            self._machine.records.save_fidelity(self._fidelity)

    def _save(self) -> None:
        if self._record:
            held = of_this_runtime(self._machine.records.measured()).known.releases.get(self._release.digest)
            new = filled(held, together(self._runs))
            if new != held:
                self._machine.records.save_measured(new)


def facts(machine: Machine, results: Iterable[Benched], load: float | None) -> BenchMachine:
    """`load` is the load average before the first run."""
    found = read_facts()
    loads = [run.measured.load for one in results for run in one.runs if run.measured.load]
    return BenchMachine(
        name=machine_name(machine),
        cpu=cpu_model(),
        cpus=found.cpus,
        memory_bytes=found.memory_bytes,
        os=found.os,
        arch=found.arch,
        runtime=loads[0].runtime if loads else {},
        load_average=load,
    )
