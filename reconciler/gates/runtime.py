"""How a candidate is measured in the runtime that will serve it, before it is served.

`MeasuringRuntime` is what that takes of a runtime (`backends.foundry` has the one for Foundry Local); `RuntimeGate` is
a gate that is measured in it; `Rehearsal` registers a candidate in a private, throw-away catalog and measures it there,
gate by gate. Numbers are kept; judging them is gates.judgement's work.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from reconciler.domain.errors import PermanentError, ReconcilerError, RehearsalFailed
from reconciler.domain.gate_spec import Gate
from reconciler.domain.measured import (
    Answer,
    ComputedBy,
    Decoded,
    Embedded,
    Measured,
    Referenced,
    Tokenized,
    Transcribed,
)
from reconciler.domain.observed import task_properties
from reconciler.domain.reference import Reference
from reconciler.domain.targets.tasks import CHAT
from reconciler.host.clock import now


class MeasuringRuntime(Protocol):
    """The runtime, on a catalog of its own."""

    def start(self) -> None: ...

    def register(self, path: str, identity: str, properties: Mapping[str, str]) -> None: ...

    def unregister(self, identity: str) -> None: ...

    def ask(
        self, identity: str, messages: Sequence[tuple[str, str]], max_tokens: int, temperature: float | None = None
    ) -> Answer: ...

    def embed(self, identity: str, texts: Sequence[str]) -> Embedded: ...

    def transcribe(self, identity: str, audio: bytes, language: str) -> Transcribed: ...

    def count(self, identity: str, messages: Sequence[tuple[str, str]]) -> int: ...

    def unload(self, identity: str) -> None: ...

    def compare_tokenizer(self, folder: str) -> Tokenized: ...

    def decode(
        self,
        identity: str,
        folder: str,
        boundaries: Mapping[str, int],
        tokens: int = 0,
        reference: Reference | None = None,
    ) -> tuple[Decoded, Referenced]: ...

    def providers(self, identity: str, folder: str) -> tuple[ComputedBy, ...]: ...

    def measure(self) -> tuple[int, dict[str, str]]: ...

    def memory(self) -> int: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class RegisteredCandidate:
    """A release that `runtime` has registered as `name`; its files are in `folder`. `boundaries`: after how many tokens
    it computes otherwise (domain.sources.model_config). `reference`: what came from where its artifact was built;
    `task`: what it is for; `alive` is called whenever it has answered."""

    runtime: MeasuringRuntime
    folder: str
    name: str
    boundaries: Mapping[str, int] = field(default_factory=dict)
    reference: Reference | None = None
    task: str = CHAT
    alive: Callable[[], None] = lambda: None

    def ask(self, messages: Sequence[tuple[str, str]], max_tokens: int, temperature: float | None = 0.0) -> Answer:
        answer = self.runtime.ask(self.name, messages, max_tokens, temperature=temperature)
        self.alive()
        return answer

    def ask_as_user(self, text: str, max_tokens: int) -> Answer:
        return self.ask((("user", text),), max_tokens)


@dataclass(frozen=True, kw_only=True)
class RuntimeGate(Gate):
    """`beside` are gates that are judged by what this one measures."""

    beside: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        """The fields of `held` that are measured anew: with what it lacks added to them."""

    def steps(self, candidate: RegisteredCandidate, held: Measured) -> Iterator[dict[str, Any]]:
        """The same as `measure`, piece by piece, each with all that was measured before it: for a gate of which each
        piece may take long and is worth keeping."""
        yield self.measure(candidate, held)

    def conclude(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        """The same, of what is measured last, when no gate needs the model any more."""
        return {}


class Rehearsal(AbstractContextManager["Rehearsal"]):
    """Rehearses one candidate after the other in one warm runtime."""

    def __init__(self, runtime: MeasuringRuntime) -> None:
        self._runtime = runtime

    def start(self) -> None:
        """Begin to start the runtime; return at once."""
        self._runtime.start()

    def prove(
        self,
        folder: str,
        name: str,
        gates: Iterable[RuntimeGate],
        held: Measured,
        boundaries: Mapping[str, int] | None = None,
        reference: Reference | None = None,
        *,
        task: str = CHAT,
        alive: Callable[[], None] = lambda: None,
    ) -> Iterator[Measured]:
        """`held` with what the gates lack added to it, gate by gate: what was measured before something failed is not
        lost. `alive` is called whenever the model has answered. Raises RehearsalFailed, in the runtime's own words,
        when the candidate does not load or does not answer."""
        candidate = RegisteredCandidate(
            runtime=self._runtime,
            folder=folder,
            name=name,
            boundaries=boundaries or {},
            reference=reference,
            task=task,
            alive=alive,
        )
        with self._registered(folder, name, task_properties(task)):
            measured = []
            for gate in gates:
                measured.append(gate)
                for found in gate.steps(candidate, held):
                    times = dict.fromkeys((gate.name, *gate.beside), now())
                    held = replace(held, times={**held.times, **times}, **found)
                    yield held
            for gate in measured:
                if found := gate.conclude(candidate, held):
                    held = replace(held, **found)
                    yield held

    @contextmanager
    def _registered(self, folder: str, name: str, properties: Mapping[str, str]) -> Iterator[None]:
        self._runtime.unregister(name)  # left by a pass that was killed
        try:
            self._runtime.register(folder, name, properties)
            yield
        except PermanentError as error:
            raise RehearsalFailed(f"{name}: {error}", hint=error.hint, code=error.code) from error
        finally:
            try:
                self._runtime.unregister(name)
            except ReconcilerError:  # the catalog is thrown away anyway, and the first error is the one to report
                self._runtime.kill()

    def close(self) -> None:
        self._runtime.close()

    def __exit__(self, *_: object) -> None:
        self.close()
