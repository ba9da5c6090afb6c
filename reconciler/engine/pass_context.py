"""PassContext: what the steps of one pass share. Workers: the child processes of a pass, one runtime that serves and
one that rehearses; the converter is not among them, because its work outlives a pass (engine.job_queue)."""

import os
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from reconciler.backends.protocol import ServingRuntime
from reconciler.domain.changes import Change, Register, RepairRelease, Retire, VerifyCandidate, VerifyServed
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.release import Marker
from reconciler.engine.machine import Machine, of_this_runtime
from reconciler.engine.options import Options
from reconciler.engine.resolve import Resolution, Source
from reconciler.gates.runtime import Rehearsal
from reconciler.host import durable
from reconciler.host.stamps import StampBook

CATALOG, REHEARSAL, SERVING = "rehearsal-catalog", "rehearsal", "foundry"  # in staging; the last two name logs too
DEFAULTS = Options()


def make_runtime(
    machine: Machine,
    options: Options,
    catalog: str,
    scratch: str,
    log: str,
    *,
    rehearses: bool = True,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> ServingRuntime:
    """The back end's program on `catalog`. One that rehearses is confined; it serves a catalog that is thrown away."""
    durable.make_folder(machine.layout.logs)  # may have been tidied away
    log = machine.layout.at("logs", f"{log}.log")
    if rehearses:
        durable.make_folder(catalog)
    if options.make_runtime is not None:
        return options.make_runtime(catalog, scratch, log)
    confined = rehearses and options.cage != "off"
    backend = machine.backend.rehearsal_at(catalog) if rehearses else machine.backend
    stamps = StampBook.empty() if rehearses else machine.stamps  # others than the thread of a pass rehearse too
    return backend.runtime(scratch=scratch, log=log, confined=confined, is_cancelled=is_cancelled, stamps=stamps)


class Workers:
    """Each is started when it is first needed, or by `prewarm`; after `close` it starts anew."""

    def __init__(self, machine: Machine, options: Options = DEFAULTS) -> None:
        self._machine = machine
        self._options = options
        self._serving: ServingRuntime | None = None
        self._rehearsal: Rehearsal | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """What they use in staging now."""
        serving = (SERVING,) if self._serving is not None else ()
        names = (*serving, REHEARSAL, CATALOG) if self._rehearsal is not None else serving
        several = range(1, len(self._machine.traits.backends))
        return (*names, *(f"{name}-{number}" for name in names for number in several))

    def prewarm(self, changes: Iterable[Change]) -> None:
        """Begin the slow imports that these changes will need while cheaper work goes on."""
        changes = tuple(changes)
        if any(isinstance(change, VerifyCandidate | VerifyServed) for change in changes):
            self.rehearsal.start()
        if any(isinstance(change, Register | RepairRelease | Retire) for change in changes):
            self.serving.start()

    @property
    def serving(self) -> ServingRuntime:
        """The runtime on the machine's catalog."""
        if self._serving is None:
            scratch = self._machine.layout.at("staging", SERVING)
            self._serving = make_runtime(
                self._machine, self._options, self._machine.cache, scratch, SERVING, rehearses=False
            )
        return self._serving

    @property
    def rehearsal(self) -> Rehearsal:
        """The same runtime on a private catalog that is thrown away."""
        if self._rehearsal is None:
            catalog, scratch = (self._machine.layout.at("staging", name) for name in (CATALOG, REHEARSAL))
            self._rehearsal = Rehearsal(make_runtime(self._machine, self._options, catalog, scratch, REHEARSAL))
        return self._rehearsal

    def close(self) -> None:
        workers, self._rehearsal, self._serving = (self._rehearsal, self._serving), None, None
        for worker in workers:
            if worker is not None:
                worker.close()


@dataclass(slots=True, kw_only=True)
class PassContext:
    """`staged` holds releases that were rehearsed and wait for registration, `installed` the versions of the runtime's
    packages: looked up once a pass, not once a release; `alive` is called by a step that gets on."""

    machine: Machine
    workers: Workers
    resolution: Resolution
    staged: dict[str, tuple[str, Marker]] = field(default_factory=dict)
    installed: dict[str, str] = field(default_factory=dict)
    alive: Callable[[], None] = lambda: None

    def wanted(self, variant: str) -> DesiredRelease:
        return next(one for one in self.resolution.desired.wanted if one.variant == variant)

    def source(self, build_key: str) -> Source:
        return self.resolution.sources[build_key]

    def known(self) -> MeasurementSet:
        """What has been measured so far, also earlier in this pass."""
        runtime = of_this_runtime(self.machine.records.measured(), self.installed)
        self.installed |= runtime.installed
        return runtime.known

    def fresh_staging(self) -> str:
        path = os.path.join(self.machine.layout.staging, uuid.uuid4().hex)
        durable.make_folder(path)
        return path
