"""The child processes of a pass: the runtime that serves, and the one that rehearses. Each is started when it is first
needed (or a little earlier, when the plan shows that it will be). The converter is not among them: its work outlives a
pass (engine.job_queue)."""

from collections.abc import Iterable

from reconciler.backends.protocol import ServingRuntime
from reconciler.domain.changes import Change, Register, RepairRelease, Retire, VerifyCandidate, VerifyServed
from reconciler.engine.machine import Machine
from reconciler.engine.options import Options
from reconciler.gates.rehearsal import Rehearsal
from reconciler.host.durable import make_folder

CATALOG, REHEARSAL, SERVING = "rehearsal-catalog", "rehearsal", "foundry"
AS_USUAL = Options()


class Workers:
    """After `close` they start anew when they are needed again."""

    def __init__(self, machine: Machine, options: Options = AS_USUAL) -> None:
        self._machine = machine
        self._options = options
        self._serving: ServingRuntime | None = None
        self._rehearsal: Rehearsal | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """What they use in staging now."""
        serving = (SERVING,) if self._serving is not None else ()
        return (*serving, "rehearsal", CATALOG) if self._rehearsal is not None else serving

    def prewarm(self, changes: Iterable[Change]) -> None:
        """Begin the slow imports that these changes will need while cheaper work goes on."""
        changes = tuple(changes)
        if any(isinstance(change, VerifyCandidate | VerifyServed) for change in changes):
            self.rehearsal.start()
        if any(isinstance(change, Register | RepairRelease | Retire) for change in changes):
            self.serving.start()

    @property
    def serving(self) -> ServingRuntime:
        """The runtime on the real cache."""
        if self._serving is None:
            self._serving = self._runtime(self._machine.cache, SERVING)
        return self._serving

    @property
    def rehearsal(self) -> Rehearsal:
        """The same runtime on a private, throw-away catalog."""
        if self._rehearsal is None:
            from reconciler.gates.rehearsal import Rehearsal

            catalog = self._machine.layout.at("staging", CATALOG)
            make_folder(catalog)
            self._rehearsal = Rehearsal(self._runtime(catalog, REHEARSAL))
        return self._rehearsal

    def _runtime(self, cache: str, name: str) -> ServingRuntime:
        layout = self._machine.layout
        make_folder(layout.logs)  # somebody may have tidied it away
        scratch, log = layout.at("staging", name), layout.at("logs", f"{name}.log")
        if self._options.make_runtime is not None:
            return self._options.make_runtime(cache, scratch, log)
        confined = name == REHEARSAL and self._options.cage != "off"
        return self._machine.backend.at(cache).runtime(scratch=scratch, log=log, confined=confined)

    def close(self) -> None:
        workers, self._rehearsal, self._serving = (self._rehearsal, self._serving), None, None
        for worker in workers:
            if worker is not None:
                worker.close()
