"""Everybody outside who is told, put together: the loop says once a pass what has become of it, and goes on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from reconciler.daemon.background import Background
from reconciler.daemon.notifications.commit_status import Marker
from reconciler.daemon.notifications.configuration import CommitStatus, Sink
from reconciler.daemon.notifications.notify import Courier
from reconciler.daemon.state import State
from reconciler.domain.errors import HostRefused
from reconciler.domain.layout import Layout
from reconciler.host.clock import now
from reconciler.state.delivery_cursor import DeliveryCursor, sweep
from reconciler.state.records import Records


@dataclass(frozen=True, kw_only=True)
class Listeners:
    """Whom the operator named; `machine` is this machine's name."""

    machine: str
    sinks: tuple[Sink, ...] = ()
    statuses: tuple[CommitStatus, ...] = ()


class Outward:
    """Holds the threads. Nobody named: no thread, no module of the network."""

    def __init__(self, listeners: Listeners, layout: Layout, records: Records) -> None:
        self._records = records
        self._stale = False
        sweep(layout)
        couriers = {
            f"notify-{one.name}": Courier(
                one, records.event_log, DeliveryCursor(layout, f"notify-{one.name}"), listeners.machine
            )
            for one in listeners.sinks
        }
        markers = {
            f"status-{one.name}": Marker(one, DeliveryCursor(layout, f"status-{one.name}"), listeners.machine)
            for one in listeners.statuses
        }
        self._markers = list(markers.values())
        steps = {name: one.step for name, one in couriers.items()}
        steps |= {name: one.step for name, one in markers.items()}
        self._threads = [Background(name, step) for name, step in steps.items()]

    def passed(self, state: State) -> None:
        """After each pass, by the loop's thread."""
        if state.stale != self._stale:
            self._stale = state.stale
            self._record(state)
        for marker in self._markers:
            marker.passed(state)
        for thread in self._threads:
            thread.wake()

    def close(self) -> None:
        for thread in self._threads:
            thread.close()

    def _record(self, state: State) -> None:
        kind = "source.stale" if state.stale else "source.fresh"
        reason = "RepositorySilent" if state.stale else "RepositoryAnswers"
        event = {"time": now(), "type": kind, "variant": "", "reason": reason, "revision": state.applied}
        with contextlib.suppress(HostRefused, OSError):
            self._records.append_event(event)
