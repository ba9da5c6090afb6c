"""What a notification sink is. Each module in `sinks/` defines one as `KIND`: its settings, the target that they
describe, and its chapter of docs/notifications.md.

An opened target is a `Delivery`: a loop that sends what is due and waits after a failure, longer each time. Sinks of
events derive from `EventDelivery` and define `send` only.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from reconciler.daemon.background import retry_after
from reconciler.daemon.notifications.cloud_events import is_sent
from reconciler.daemon.notifications.post import Reply
from reconciler.daemon.secret_file import NoSecret, checked_secret_file
from reconciler.daemon.state import State
from reconciler.domain.layout import Layout
from reconciler.domain.machine.sink_settings import Section
from reconciler.domain.plain_data import as_dict
from reconciler.engine import log
from reconciler.host.clock import unix
from reconciler.state.events import Line, LogPosition, lines_after, newest_place
from reconciler.state.progress import delivery_progress

DAY = 86_400.0
POISON = frozenset({400, 413, 415, 422})  # it is this event that is refused, not us: the next one may pass

Message = TypeVar("Message")


@dataclass(frozen=True, kw_only=True)
class SinkContext:
    """What a sink may use: this machine's name, the path of the log of events, and where to remember deliveries."""

    machine: str
    events: str
    layout: Layout


class Delivery(ABC, Generic[Message]):
    """Delivers to one target. `name` is that of its thread and of its cursor, `kind` the prefix of its log entries."""

    kind: ClassVar[str]

    def __init__(self, name: str, context: SinkContext) -> None:
        self.name = name
        self._progress = delivery_progress(context.layout, name)
        self._failures = 0
        self._due = 0.0  # monotonic time before which nothing is tried again

    def passed(self, state: State) -> None:
        """After each pass, from the loop's thread: returns at once."""

    def step(self) -> float | None:
        """Deliver all that is due, from the sink's own thread. Returns the seconds until the next try, or None: not
        before something new happens."""
        left = self._due - time.monotonic()
        if left > 0.0:
            return left
        for message in self.messages():
            try:
                reply = self.send(message)
            except NoSecret as error:
                reply = Reply(status=0, problem=f"its secret: {error}")
            if not (reply.good or self.gives_up(message, reply)):
                return self._failed(reply)
            if reply.good and self._failures:
                log.info(f"{self.kind}.recovered", sink=self.name, after=self._failures)
                self._failures = 0
            self.settle(message, reply)
        return None

    @abstractmethod
    def messages(self) -> Iterator[Message]:
        """What is due, in order. The next one is asked for when the one before is settled."""

    @abstractmethod
    def send(self, message: Message) -> Reply:
        """One try. Raises NoSecret."""

    @abstractmethod
    def gives_up(self, message: Message, reply: Reply) -> bool:
        """Whether a message that was not taken is not tried again."""

    @abstractmethod
    def settle(self, message: Message, reply: Reply) -> None:
        """It was delivered, or given up."""

    def _failed(self, reply: Reply) -> float:
        self._failures += 1
        if self._failures == 1:  # a sink that is down for a day is one line
            log.warning(f"{self.kind}.failed", sink=self.name, problem=str(reply))
        rest = max(retry_after(self._failures), reply.rest)
        self._due = time.monotonic() + rest
        return rest


class EventDelivery(Delivery[Line]):
    """Delivers events of the log in order, each at least once, from when the sink is new.

    The position in the log is remembered and moves on only after the receiver has answered 2xx. An event that could not
    be delivered for a day is given up.
    """

    kind = "notify"

    def __init__(self, name: str, context: SinkContext) -> None:
        super().__init__(name, context)
        self._events = context.events
        self._first_try: tuple[str, float] = ("", 0.0)
        document = self._progress.read() or {}
        match document.get("log"), document.get("offset"):
            case str(log_), int(offset) if offset >= 0:
                self._place = LogPosition(log=log_, offset=offset)
            case _:
                self._remember(newest_place(self._events))

    def messages(self) -> Iterator[Line]:
        while lines := lines_after(self._events, self._place):
            for line in lines:
                if line.event is not None and is_sent(line.event):
                    yield line
                self._place = line.after

    def gives_up(self, message: Line, reply: Reply) -> bool:
        """Its age is by its own time and by how long it has been tried: the clock may have been set."""
        if self._first_try[0] != message.digest:
            self._first_try = (message.digest, time.monotonic())
        happened = unix(str((message.event or {}).get("time", "")))
        tried = time.monotonic() - self._first_try[1]
        return reply.status in POISON or tried > DAY or (happened is not None and time.time() - happened > DAY)

    def settle(self, message: Line, reply: Reply) -> None:
        if not reply.good:
            log.warning("notify.given_up", sink=self.name, event_id=message.digest[7:39], problem=str(reply))
        self._remember(message.after)

    def _remember(self, place: LogPosition) -> None:
        self._place = place
        self._progress.write(as_dict(place))


class SinkTarget(Protocol):
    """The checked settings of one sink."""

    def open(self, context: SinkContext) -> Delivery[Any]: ...


@dataclass(frozen=True, kw_only=True)
class SinkKind:
    """`target` takes the values of the section's settings by name ("" where one is not given) and raises UsageError."""

    section: Section
    target: Callable[..., SinkTarget]

    def configure(self, given: Mapping[str, str]) -> SinkTarget | None:
        """From values by flag. None when the sink is not switched on. Raises UsageError."""
        settings = self.section.settings
        values = {name: given[one.flag] for name, one in settings.items()}
        if not values[next(iter(settings))]:
            return None
        secrets = {
            name: checked_secret_file(one.flag, values[name]) for name, one in settings.items() if one.kind == "secret"
        }
        return self.target(**values | secrets)
