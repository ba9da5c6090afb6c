"""Rehearsal: try a candidate in the very runtime that will serve it, before it is served.

It is registered in a private, throw-away catalog and measured there, gate by gate. Numbers are kept; judging them is
gates.judgement's work.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType

from reconciler.domain.errors import PermanentError, ReconcilerError, RehearsalFailed
from reconciler.domain.measured import Measured, Measurements
from reconciler.gates.load import measure_load
from reconciler.gates.runtime import RegisteredCandidate, Runtime, RuntimeGate
from reconciler.host.clock import now


class Rehearsal:
    """Rehearses one candidate after the other in one warm runtime. A context manager."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def start(self) -> None:
        """Begin to start the runtime; return at once."""
        self._runtime.start()

    def rehearse(self, folder: str, name: str) -> Measurements:
        """Raises RehearsalFailed, in the runtime's own words, when the candidate does not load or does not answer."""
        with self._registered(folder, name) as candidate:
            return measure_load(candidate)

    def prove(self, folder: str, name: str, gates: Iterable[RuntimeGate], held: Measured) -> Iterator[Measured]:
        """`held` with what the gates lack added to it, gate by gate: what was measured before something failed is not
        lost. Raises RehearsalFailed as `rehearse` does."""
        with self._registered(folder, name) as candidate:
            for gate in gates:
                found = gate.measure(candidate, held)
                held = replace(held, times={**held.times, gate.name: now()}, **found)
                yield held

    @contextmanager
    def _registered(self, folder: str, name: str) -> Iterator[RegisteredCandidate]:
        self._runtime.unregister(name)  # left by a pass that was killed
        try:
            self._runtime.register(folder, name, {})
            yield RegisteredCandidate(runtime=self._runtime, folder=folder, name=name)
        except PermanentError as error:
            raise RehearsalFailed(f"{name}: {error}", hint=error.hint, code=error.code) from error
        finally:
            self._forget(name)

    def _forget(self, name: str) -> None:
        try:
            self._runtime.unregister(name)
        except ReconcilerError:  # the catalog is thrown away anyway, and the first error is the one to report
            self._runtime.kill()

    def kill(self) -> None:
        self._runtime.kill()

    def close(self) -> None:
        self._runtime.close()

    def __enter__(self) -> "Rehearsal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
