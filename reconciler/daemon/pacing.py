"""How long to wait. Only durations, which follow the monotonic clock: whoever sets the clock of the wall changes no
wait."""

from __future__ import annotations

import random
from collections.abc import Callable, Set
from datetime import UTC, datetime

from reconciler.daemon.wake import DECLARATIONS, MACHINE, WATCHING

JITTER = 0.1  # of the interval, either way: machines that began together do not ask together
FIRST_BACKOFF = 60.0  # seconds; or the interval, where that is shorter
LONGEST_BACKOFF = 300.0  # seconds; or the interval, where that is longer
STEPS_BACK = 8.0  # intervals
SOONEST = 1.0  # seconds
CALM = 5.0  # seconds without a change: then whoever changes files is a person again
FREE = 5  # passes in a row that files woke, before such wakes are put off
FILES = frozenset({DECLARATIONS, MACHINE, WATCHING})


def jittered(seconds: float, draw: Callable[[], float] = random.random) -> float:
    return seconds * (1.0 + JITTER * (2.0 * draw() - 1.0))


def backoff(failures: int, interval: float) -> float:
    """Before the next try, after so many failures in a row."""
    longest = max(interval, min(STEPS_BACK * interval, LONGEST_BACKOFF))
    return float(min(min(interval, FIRST_BACKOFF) * 2.0 ** min(failures, 30), longest))


def seconds_until(moment: str) -> float:
    """To an RFC 3339 time that a record names; a second at least, so that a clock which jumps cannot hurry the loop."""
    return max((datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds(), SOONEST)


class Crowding:
    """Passes that files wake, one after the other. A pass may change what is watched, and another program may change
    it back each time: after a few passes such wakes wait longer and longer, at last an interval. Other wakes do not,
    and some seconds of calm end it."""

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
