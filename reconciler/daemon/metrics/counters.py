"""What /metrics counts while the daemon runs. Passes are told by the loop; steps are read from the log of events, which
every pass writes anyway, so that nothing in the engine has to know that somebody counts."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.state.event_tail import lines_after, newest_place
from reconciler.state.events import Event

# Seconds. A pass that finds nothing to do takes some hundredths; one that converts, hours.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)

# Labels are closed sets: whatever else a log may say is counted as `other`.
ACTIONS = frozenset({"fetch", "convert", "measure", "verify", "register", "repair", "retire", "prune"})
RESULTS = frozenset({"done", "failed", "skipped", "cancelled"})
OTHER = "other"
NEWS = frozenset({"variant", "source", "scrub"})  # what became of them: no steps


@dataclass(frozen=True, kw_only=True)
class Counted:
    """`durations` by upper bound, cumulative; `steps` by action and result; `fetched` in bytes."""

    durations: Mapping[float, int]
    passes: int
    seconds: float
    steps: Mapping[tuple[str, str], int]
    fetched: int


class Figures:
    """Counts from when it was made. Any thread may ask; the loop tells of its passes."""

    def __init__(self, events: str) -> None:
        self._events = events
        self._place = newest_place(events)
        self._durations = dict.fromkeys(BUCKETS, 0)
        self._passes, self._seconds = 0, 0.0
        self._steps: dict[tuple[str, str], int] = {}
        self._fetched = 0
        self._lock = threading.Lock()

    def passed(self, seconds: float) -> None:
        with self._lock:
            self._passes += 1
            self._seconds += seconds
            for bound in BUCKETS:
                self._durations[bound] += seconds <= bound
            self._read()

    def counted(self) -> Counted:
        with self._lock:
            self._read()
            return Counted(
                durations=dict(self._durations),
                passes=self._passes,
                seconds=self._seconds,
                steps=dict(self._steps),
                fetched=self._fetched,
            )

    def _read(self) -> None:
        while lines := lines_after(self._events, self._place):
            for line in lines:
                if line.event is not None:
                    self._count(line.event)
            self._place = lines[-1].after

    def _count(self, event: Event) -> None:
        action, _, result = str(event.get("type", "")).partition(".")
        if result and action not in NEWS:
            step = (action if action in ACTIONS else OTHER, result if result in RESULTS else OTHER)
            self._steps[step] = self._steps.get(step, 0) + 1
        size = event.get("bytes")
        if isinstance(size, int) and size > 0:
            self._fetched += size
