"""All configured notification sinks of a daemon, each in a thread of its own, so that none holds up a pass."""

import contextlib
import pkgutil
from collections.abc import Iterable
from importlib import import_module

from reconciler.daemon.background import Background
from reconciler.daemon.notifications import sinks
from reconciler.daemon.notifications.sink import SinkContext, SinkKind, SinkTarget
from reconciler.daemon.state import State
from reconciler.domain.errors import HostRefused
from reconciler.state.records import Records


def sink_kinds() -> tuple[SinkKind, ...]:
    """One of each module in `sinks/`, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(sinks.__path__))
    return tuple(import_module(f"{sinks.__name__}.{name}").KIND for name in names)


class Notifications:
    """Opens the targets. Without targets there is no thread."""

    def __init__(self, targets: Iterable[SinkTarget], context: SinkContext, records: Records) -> None:
        self._records = records
        self._stale = False
        self._sinks = [target.open(context) for target in targets]
        self._threads = [Background(sink.name, sink.step) for sink in self._sinks]

    def passed(self, state: State) -> None:
        """After each pass, by the loop's thread."""
        if state.stale != self._stale:
            self._stale = state.stale
            self._record(state)
        for sink in self._sinks:
            sink.passed(state)
        for thread in self._threads:
            thread.wake()

    def close(self) -> None:
        for thread in self._threads:
            thread.close()

    def _record(self, state: State) -> None:
        kind = "source.stale" if state.stale else "source.fresh"
        reason = "RepositorySilent" if state.stale else "RepositoryAnswers"
        with contextlib.suppress(HostRefused, OSError):
            self._records.add_event(kind, variant="", reason=reason, revision=state.applied)
