"""What a notification sink is. Each module in `sinks/` defines one as `KIND`: its options, and how they become a
target that can be opened. The command line and the daemon know sinks only through these types.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from reconciler.daemon.state import State
from reconciler.domain.layout import Layout
from reconciler.state.delivery_cursor import DeliveryCursor


class Sink(Protocol):
    """`name` is the sink's thread, and what it has delivered is remembered under it."""

    @property
    def name(self) -> str: ...

    def passed(self, state: State) -> None:
        """After each pass, from the loop's thread: returns at once."""

    def step(self) -> float | None:
        """Deliver what is due, from the sink's own thread. Returns the seconds until the next try, or None: not
        before something new happens."""


@dataclass(frozen=True, kw_only=True)
class SinkContext:
    """What a sink may use: this machine's name, the path of the log of events, and where to remember deliveries."""

    machine: str
    events: str
    layout: Layout

    def cursor(self, name: str) -> DeliveryCursor:
        return DeliveryCursor(self.layout, name)


class Target(Protocol):
    """A checked configuration of one sink."""

    def open(self, context: SinkContext) -> Sink: ...


@dataclass(frozen=True, kw_only=True)
class SinkKind:
    """`options`: metavar and meaning by flag. `configure` takes their values by flag ("" where one is not given) and
    returns None when the sink is not wanted; it raises UsageError."""

    options: Mapping[str, tuple[str, str]]
    configure: Callable[[Mapping[str, str]], Target | None]
