"""What wakes the loop, and how long it waits. Any thread, and a signal handler, may call `wake`; the loop alone waits.

A reason that is already waiting is not queued twice, so a burst costs one pass. One that comes while a pass runs is
kept for the next: its event may have happened after that pass looked. Durations follow the monotonic clock, so setting
the wall clock changes no wait.
"""

import queue
import random
import sys
import time
from collections.abc import Callable, Set
from datetime import UTC, datetime

from reconciler.domain.backoff import spread

START = "start"  # the first pass
INTERVAL = "interval"
SIGHUP = "sighup"
DECLARATIONS = "declarations"  # a manifest, or a model folder that one names
MACHINE = "machine"  # a served folder, Foundry's index or a suspension
WATCHING = "watching"  # other folders are watched from now on: something may have changed before
WEBHOOK = "webhook"
WORK_ENDED = "work-ended"
BACKOFF_ENDED = "backoff-ended"
RETRY = "retry"
RELEASED = "released"  # what waited for another model can be done now
SCRUB = "scrub"  # it found rot, and the pass that follows mends it
STOP = "stop"
FILES = frozenset({DECLARATIONS, MACHINE, WATCHING})

JITTER = 0.1  # of the interval, either way: machines that began together do not ask together
SOONEST = 1.0  # seconds
SLICE = 0.5 if sys.platform == "win32" else 3600.0  # seconds: there a signal does not end a wait, and comes after it
CALM = 5.0  # seconds without a change: then the files rest
FREE = 5  # passes in a row that files woke, before such wakes are put off


class Wake:
    """SimpleQueue, because its `put` is reentrant: a signal may come while the same thread is inside it."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._waiting: set[str] = set()

    def wake(self, reason: str) -> None:
        if reason not in self._waiting:
            self._waiting.add(reason)
            self._queue.put(reason)

    def wait(self, timeout: float) -> set[str]:
        """The reasons since the last time, as soon as there is one; none when the time is over."""
        reasons = self._take(timeout)
        while reasons and (more := self._take(0.0)):
            reasons |= more
        return reasons

    def _take(self, timeout: float) -> set[str]:
        until = time.monotonic() + timeout
        while True:
            try:
                reason = self._queue.get(timeout=min(max(until - time.monotonic(), 0.0), SLICE))
                break
            except queue.Empty:
                if time.monotonic() >= until:
                    return set()
        self._waiting.discard(reason)
        return {reason}


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
