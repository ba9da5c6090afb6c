"""How long the loop waits. Durations follow the monotonic clock, so setting the wall clock changes no wait."""

import random
from collections.abc import Callable, Set
from datetime import UTC, datetime

from reconciler.daemon.wake import DECLARATIONS, MACHINE, WATCHING
from reconciler.domain.backoff import spread

JITTER = 0.1  # of the interval, either way: machines that began together do not ask together
SOONEST = 1.0  # seconds
CALM = 5.0  # seconds without a change: then the files rest
FREE = 5  # passes in a row that files woke, before such wakes are put off
FILES = frozenset({DECLARATIONS, MACHINE, WATCHING})


def jittered(seconds: float, draw: Callable[[], float] = random.random) -> float:
    return spread(seconds, 1.0 - JITTER, 1.0 + JITTER, draw())


def seconds_until(moment: str) -> float:
    """To an RFC 3339 time that a record names; a second at least, so that a clock which jumps cannot hurry the loop."""
    return max((datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds(), SOONEST)


class WakeThrottle:
    """Slows passes that only changed files wake. A pass may change what is watched, and another program may change it
    back each time: after FREE such passes in a row the next ones wait longer and longer, at most an interval. Any
    other wake, or CALM seconds without a change, ends it."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._row = 0

    def woken(self, reasons: Set[str], rested: float) -> None:
        """`rested`: seconds from the end of the last pass to the first of these reasons."""
        self._row = self._row + 1 if reasons & FILES and rested < CALM else 0

    @property
    def pause(self) -> float:
        """Seconds from the end of a pass to one that only files want."""
        late = self._row - FREE
        return min(2.0 ** min(late, 30), self._interval) if late >= 0 else 0.0
