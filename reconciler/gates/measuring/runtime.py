"""What a rehearsal needs of the runtime that will serve; `backends.protocol` adds what serving needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from reconciler.domain.measured import Answer


class Runtime(Protocol):
    """The runtime, on a catalog of its own."""

    def start(self) -> None: ...

    def register(self, path: str, identity: str, properties: Mapping[str, str]) -> None: ...

    def unregister(self, identity: str) -> None: ...

    def ask(
        self,
        identity: str,
        messages: Sequence[tuple[str, str]],
        max_tokens: int,
        temperature: float | None = None,
    ) -> Answer: ...

    def count(self, identity: str, messages: Sequence[tuple[str, str]]) -> int: ...

    def measure(self) -> tuple[int, dict[str, str]]: ...

    def memory(self) -> int: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...
