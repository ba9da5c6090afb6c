"""What /metrics counts while the daemon runs: passes and their durations, steps by result, bytes fetched.

The loop reports each pass and the pass's reporter each step, as they end. Everything starts at zero with the daemon.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.domain.plan import Outcome

# Seconds. A pass that finds nothing to do takes some hundredths; one that converts, hours.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)

# Labels are closed sets: any other value is counted as `other`.
ACTIONS = frozenset({"fetch", "convert", "measure", "verify", "register", "repair", "retire", "prune"})
RESULTS = frozenset({"done", "failed", "skipped", "cancelled"})
OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class CounterValues:
    """`durations` by upper bound, cumulative; `steps` by action and result; `fetched` in bytes."""

    durations: Mapping[float, int]
    passes: int
    seconds: float
    steps: Mapping[tuple[str, str], int]
    fetched: int


class Counters:
    """Any thread may count and read."""

    def __init__(self) -> None:
        self._durations = dict.fromkeys(BUCKETS, 0)
        self._passes, self._seconds = 0, 0.0
        self._steps: dict[tuple[str, str], int] = {}
        self._fetched = 0
        self._lock = threading.Lock()

    def passed(self, seconds: float) -> None:
        """A pass has ended after so many seconds."""
        with self._lock:
            self._passes += 1
            self._seconds += seconds
            for bound in BUCKETS:
                self._durations[bound] += seconds <= bound

    def finished(self, outcome: Outcome) -> None:
        """A step has ended."""
        action, result = outcome.change.action, outcome.status
        step = (action if action in ACTIONS else OTHER, result if result in RESULTS else OTHER)
        with self._lock:
            self._steps[step] = self._steps.get(step, 0) + 1
            if step == ("fetch", "done"):
                self._fetched += outcome.change.cost.download_bytes

    def values(self) -> CounterValues:
        with self._lock:
            return CounterValues(
                durations=dict(self._durations),
                passes=self._passes,
                seconds=self._seconds,
                steps=dict(self._steps),
                fetched=self._fetched,
            )
