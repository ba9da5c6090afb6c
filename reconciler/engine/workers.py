"""The child processes of one pass: the converter, the runtime that serves, and the one that rehearses. Each is started
when it is first needed (or a little earlier, when the plan shows that it will be), and all end with the pass."""

from __future__ import annotations

from reconciler.host.durable import make_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from reconciler.conversion.converter import Converter
    from reconciler.core.changes import Plan
    from reconciler.engine.machine import Machine
    from reconciler.serving.foundry import Foundry
    from reconciler.verification.rehearsal import Rehearsal


class Workers:
    """A context manager; `kill` may be called from another thread or a signal handler."""

    def __init__(self, machine: Machine, *, jobs: int = 1) -> None:
        self._machine = machine
        self._jobs = jobs
        self._converter: Converter | None = None
        self._foundry: Foundry | None = None
        self._rehearsal: Rehearsal | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def expect(self, plan: Plan) -> None:
        """Begin the slow imports that this plan will need while cheaper work goes on."""
        actions = {change.action for change in plan.changes}
        if "convert" in actions:
            wanted = (change.after or {} for change in plan.changes if change.action == "convert")
            purposes = sorted({str(after.get("precision")) for after in wanted})
            self.converter.start(*purposes)
        if "verify" in actions:
            self.rehearsal.start()
        if actions & {"register", "repair", "retire"}:
            self.foundry.start()

    @property
    def converter(self) -> Converter:
        if self._converter is None:
            from reconciler.conversion.converter import Converter

            layout = self._machine.layout
            self._converter = Converter(layout.staging, layout.logs, jobs=self._jobs)
        return self._converter

    @property
    def foundry(self) -> Foundry:
        """The runtime on the real cache."""
        if self._foundry is None:
            self._foundry = self._runtime(self._machine.cache, "foundry")
        return self._foundry

    @property
    def rehearsal(self) -> Rehearsal:
        """The same runtime on a private, throw-away catalog."""
        if self._rehearsal is None:
            from reconciler.verification.rehearsal import Rehearsal

            catalog = self._machine.layout.at("staging", "rehearsal-catalog")
            make_folder(catalog)
            self._rehearsal = Rehearsal(self._runtime(catalog, "rehearsal"))
        return self._rehearsal

    def _runtime(self, cache: str, name: str) -> Foundry:
        from reconciler.serving.foundry import Foundry

        layout = self._machine.layout
        return Foundry(cache, scratch=layout.at("staging", name), log=layout.at("logs", f"{name}.log"))

    def close(self) -> None:
        for worker in (self._converter, self._rehearsal, self._foundry):
            if worker is not None:
                worker.close()
