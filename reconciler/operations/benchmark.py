"""Measure declared variants that are converted here, each run in a new runtime with its own catalog.

Measurements that a gate lacks are recorded. Present ones are kept: gates have judged by them, and a busy machine must
not change a verdict. The root's lock keeps conversions away meanwhile. When another process holds it (a daemon does as
long as it runs), only served variants are measured, and nothing is recorded.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from reconciler.backends.protocol import ServingRuntime
from reconciler.conversion.client.converter import Converter
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import HostRefused, LockHeld, PermanentError, ReconcilerError
from reconciler.domain.measured import Fidelity, Measured
from reconciler.domain.targets.tasks import CHAT
from reconciler.domain.verdict import Verdict
from reconciler.engine.machine import Machine, assemble, locked_again, machine_name, of_this_runtime
from reconciler.engine.planning import Snapshot
from reconciler.engine.resolve import Source
from reconciler.gates.benchmark import Benched, BenchMachine, Run, filled, golden_answers, together
from reconciler.gates.judgement import judge_release
from reconciler.gates.load import LoadGate
from reconciler.gates.longest_prompt import LongestPromptProbe
from reconciler.gates.performance import PerformanceGate
from reconciler.gates.prompts import PromptsGate
from reconciler.gates.runtime import Rehearsal, RuntimeGate
from reconciler.host import durable
from reconciler.host.facts import cpu_model, read_facts
from reconciler.host.processes import MemorySampler
from reconciler.state.progress import last_benchmark

Progress = Callable[[str, str], None]  # a variant, and what is done with it

BENCH = "bench"


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


@dataclass(kw_only=True)
class Bench:
    """Each variant in so many `runs`. `lengths` of prompts in tokens, besides those of each model's gates; `measure`:
    also measure fidelity where it is missing. `results` grows with each run, also when it is interrupted."""

    look: Snapshot
    report: Progress
    runs: int
    lengths: tuple[int, ...]
    measure: bool
    longest: float = 0.0  # seconds for the longest prompt; 0: it is not looked for
    results: list[Benched] = field(default_factory=list)
    complete: bool = False

    def run(self, machine: Machine, chosen: Iterable[Candidate], scratch: str, *, record: bool) -> None:
        """A variant that cannot be measured does not stop the others."""
        for number, one in enumerate(chosen):
            measuring = _Measuring(self, machine, one, os.path.join(scratch, str(number)), record)
            self.results.append(measuring.so_far())
            try:
                for result in measuring.measure():
                    self.results[-1] = result
            except ReconcilerError as error:
                self.results[-1] = replace(self.results[-1], problem=(error.code, str(error)))
                self.report(one.wanted.variant, f"failed: {error}")
        self.complete = True


@dataclass
class _Measuring:
    """The runs of one variant, and their result so far."""

    bench: Bench
    machine: Machine
    one: Candidate
    scratch: str
    record: bool

    def __post_init__(self) -> None:
        self._look = self.bench.look
        self._wanted, self._release = self.one.wanted, self.one.wanted.release
        self._runs: list[Run] = []
        self._context = 0
        self._fidelity: Fidelity | None = self._look.recorded.measured.fidelity.get(self._release.recipe.build_key)

    def measure(self) -> Iterator[Benched]:
        bench, variant = self.bench, self._wanted.variant
        if self._release.task != CHAT:
            raise PermanentError(f"bench times answers, and {variant} gives none", code="TaskUnsupported")
        folder = self.one.folder or self._assembled()
        self._context = self.machine.backend.context_length(folder)
        if bench.measure and self._fidelity is None:
            bench.report(variant, "compared with its source")
            self._compare(folder)
            yield self.so_far()
        gate = self._wanted.gates.get(PerformanceGate)
        lengths = tuple(sorted({*bench.lengths, *(gate.prompt_lengths if gate else ())}))
        for number in range(1, bench.runs + 1):
            bench.report(variant, f"run {number} of {bench.runs}")
            self._runs.append(self._run(folder, lengths, number))
            self._save()
            yield self.so_far()
        if bench.longest:
            bench.report(variant, "the longest prompt")
            self._find_longest(folder)
            self._save()
            yield self.so_far()

    def so_far(self) -> Benched:
        measured = together(self._runs) if self._runs else None
        known = self._look.recorded.measured.releases.get(self._release.digest)
        return Benched(
            variant=self._wanted.variant,
            model=self._release.model,
            precision=self._release.precision,
            served=bool(self.one.folder),
            size_bytes=self.one.size_bytes,
            runs=tuple(self._runs),
            fidelity=self._fidelity,
            decoded=known.decoded if known else None,
            golden=golden_answers(self._wanted.gates.get(PromptsGate), measured) if measured else (),
            verdicts=self._verdicts(measured) if measured else (),
            context=self._context,
        )

    def _verdicts(self, measured: Measured) -> tuple[Verdict, ...]:
        """The gates' verdicts on the recorded measurements, or on these where none is recorded."""
        known = filled(self._look.recorded.measured.releases.get(self._release.digest), measured)
        return judge_release(self._wanted.gates, self._release, self._fidelity, known)

    def _run(self, folder: str, lengths: tuple[int, ...], number: int) -> Run:
        """Golden prompts are asked in the first run only: their answers are greedy."""
        prompts = self._wanted.gates.get(PromptsGate) if number == 1 else None
        gates: list[RuntimeGate] = [
            LoadGate(),
            *([prompts] if prompts else ()),
            PerformanceGate(prompt_lengths=lengths),
        ]
        measured, loaded_at = self._unmeasured(), 0.0
        runtime = self._runtime(number)
        with Rehearsal(runtime) as rehearsal, MemorySampler(lambda: runtime.process) as sampler:
            for found in rehearsal.prove(folder, f"{self._wanted.variant}:1", gates, measured, self._wanted.boundaries):
                measured, loaded_at = found, loaded_at or sampler.elapsed
        return Run(measured=measured, samples=sampler.samples, loaded_at=loaded_at)

    def _find_longest(self, folder: str) -> None:
        """In a process of its own: it is no part of what is timed."""
        probe = LongestPromptProbe(seconds=self.bench.longest)
        with Rehearsal(self._runtime(0)) as rehearsal:
            *_, found = rehearsal.prove(folder, f"{self._wanted.variant}:1", [probe], self._unmeasured())
        first = self._runs[0]
        self._runs[0] = replace(first, measured=replace(first.measured, longest=found.longest))

    def _runtime(self, number: int) -> ServingRuntime:
        catalog = os.path.join(self.scratch, f"catalog-{number}")
        durable.make_folder(catalog)
        backend, log = self.machine.backend.rehearsal_at(catalog), os.path.join(self.scratch, "log")
        return backend.runtime(scratch=f"{catalog}-files", log=log)

    def _unmeasured(self) -> Measured:
        return Measured(release=self._release.digest, build_key=self._release.recipe.build_key)

    def _assembled(self) -> str:
        """The folder of a release that is not served, assembled as a pass would, in the scratch folder."""
        if not self.record:
            message = "it is converted, but not served, and another reconciler is at work here"
            raise PermanentError(message, hint="retry when that has ended", code="LockHeld")
        folder = os.path.join(self.scratch, "release")
        durable.make_folder(folder)
        assemble(self.machine, self._wanted, folder, number=1, revision=self._look.resolution.desired.revision)
        return folder

    def _compare(self, folder: str) -> None:
        source: Source = self._look.resolution.sources[self._release.recipe.build_key]
        durable.make_folder(self.scratch)
        with Converter(os.path.join(self.scratch, "comparison"), self.scratch) as converter:
            compared = converter.compare(source.recipe, source.path, folder, adapter=source.adapter)
        self._fidelity = compared.fidelity
        if self.record:
            self.machine.records.save_comparison(compared)

    def _save(self) -> None:
        if self.record:
            held = of_this_runtime(self.machine.records.measured()).known.releases.get(self._release.digest)
            new = filled(held, together(self._runs))
            if new != held:
                self.machine.records.save_measured(new)


def keep_for_page(machine: Machine, shown: dict[str, object]) -> None:
    """For this machine's page; where the disk refuses it, the page shows the one before."""
    if machine.owner:
        with contextlib.suppress(HostRefused, OSError):
            last_benchmark(machine.layout).write(shown)


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
