"""State: what the daemon knows of itself, a value that the loop's thread replaces. Board: holds the newest State for
readers in other threads (health, metrics), which need not know the loop."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, get_args

from reconciler.domain.changes import Change
from reconciler.domain.plan import Outcome
from reconciler.domain.recorded import Condition
from reconciler.domain.verdict import Verdict
from reconciler.engine.pass_result import PassResult
from reconciler.manifests.parsed import Parsed

# How a pass ends: `converged`; `partly` (something failed, was refused, is held back or still runs); `failed` (it could
# not be carried out at all: catalog broken, disk full, a bug).
RESULTS = ("converged", "partly", "failed")
# Seconds. A pass that finds nothing to do takes some hundredths; one that converts, hours.
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, math.inf)
# Labels of metrics are closed sets: any other value is counted as `other`.
ACTIONS = frozenset(kind.action for kind in get_args(Change))
STEP_RESULTS = frozenset({"done", "failed", "skipped", "cancelled"})
OTHER = "other"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time to show (`unix`, seconds) and the same one to reckon with (`ticks`): the clock of the wall may be set."""

    unix: float
    ticks: float

    @classmethod
    def now(cls) -> "Moment":
        return cls(unix=time.time(), ticks=time.monotonic())

    @property
    def age(self) -> float:
        """Seconds since."""
        return time.monotonic() - self.ticks


@dataclass(frozen=True, kw_only=True)
class State:
    """`ready` once a first pass has ended, however. `passes` counts by RESULTS, `durations` those that took at most so
    many seconds (BUCKETS), `wakes` by reason, `steps` by action and result, since the daemon began. `conditions` are by
    variant and type, `sizes` the served bytes and `verdicts` what is known of its gates by variant."""

    started: Moment
    interval: float
    ready: bool = False
    passes: Mapping[str, int] = field(default_factory=dict)
    durations: Mapping[float, int] = field(default_factory=dict)
    pass_seconds: float = 0.0  # of all passes
    wakes: Mapping[str, int] = field(default_factory=dict)
    steps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    fetched: int = 0  # bytes
    downloaded: Mapping[str, int] = field(default_factory=dict)  # bytes by origin
    download_budget: tuple[int, int] | None = None  # bytes used today, of how many
    last_pass: Moment | None = None  # when it ended
    last_result: str = ""
    last_error: str = ""  # of a pass that failed; "" after one that did not
    attempted: str = ""
    applied: str = ""
    conditions: Mapping[str, Mapping[str, Condition]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, tuple[Verdict, ...]] = field(default_factory=dict)
    problems: int = 0
    running: tuple[Change, ...] = ()
    last_fetch: Moment | None = None  # the last good answer of the repository; None for a folder, or before the first
    stale: bool = False  # the repository has not answered for twice the interval
    seen: PassResult | None = None  # the last pass that could be carried out
    declared: Parsed | None = None  # what it was given


class Board:
    """The newest state. Reading takes no lock: a reader sees one state or the next, whole."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._listeners: list[Callable[[State], None]] = []

    @property
    def state(self) -> State:
        return self._state

    def update(self, **changes: Any) -> None:
        """Called by the loop's thread only."""
        self._state = replace(self._state, **changes)

    def pass_took(self, seconds: float) -> None:
        durations = counted(self._state.durations, *(bound for bound in BUCKETS if seconds <= bound))
        self.update(durations=durations, pass_seconds=self._state.pass_seconds + seconds)

    def step_ended(self, outcome: Outcome) -> None:
        action, result = outcome.change.action, outcome.status
        step = (action if action in ACTIONS else OTHER, result if result in STEP_RESULTS else OTHER)
        fetched = outcome.change.cost.download_bytes if step == ("fetch", "done") else 0
        self.update(steps=counted(self._state.steps, step), fetched=self._state.fetched + fetched)

    def listen(self, listener: Callable[[State], None]) -> None:
        """Called after each pass, by the loop's thread: it must come back at once. Before the loop begins."""
        self._listeners.append(listener)

    def passed(self) -> None:
        """A pass has ended, and the state is what it left."""
        for listener in self._listeners:
            listener(self._state)


def counted(counts: Mapping[T, int], *keys: T) -> dict[T, int]:
    """The counts with one more of each key."""
    return {**counts, **{key: counts.get(key, 0) + 1 for key in keys}}
