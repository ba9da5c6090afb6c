"""Runtime: what measuring needs of the runtime that will serve; `backends.foundry` has the one for Foundry Local.
RuntimeGate: a gate that is measured in it."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from reconciler.domain.gate_spec import Gate
from reconciler.domain.measured import Answer, Measured


class Runtime(Protocol):
    """The runtime, on a catalog of its own."""

    def start(self) -> None: ...

    def register(self, path: str, identity: str, properties: Mapping[str, str]) -> None: ...

    def unregister(self, identity: str) -> None: ...

    def ask(
        self, identity: str, messages: Sequence[tuple[str, str]], max_tokens: int, temperature: float | None = None
    ) -> Answer: ...

    def count(self, identity: str, messages: Sequence[tuple[str, str]]) -> int: ...

    def measure(self) -> tuple[int, dict[str, str]]: ...

    def memory(self) -> int: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class RegisteredCandidate:
    """A release that `runtime` has registered as `name`; its files are in `folder`."""

    runtime: Runtime
    folder: str
    name: str

    def ask(self, messages: Sequence[tuple[str, str]], max_tokens: int, temperature: float | None = 0.0) -> Answer:
        return self.runtime.ask(self.name, messages, max_tokens, temperature=temperature)


@dataclass(frozen=True, kw_only=True)
class RuntimeGate(Gate):
    @abstractmethod
    def measure(self, candidate: RegisteredCandidate, held: Measured) -> dict[str, Any]:
        """The fields of `held` that are measured anew: with what it lacks added to them."""
