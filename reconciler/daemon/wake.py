"""What wakes the loop. Any thread, and a signal handler, may call `wake`; the loop alone waits.

A reason that is already waiting is not queued twice, so a burst costs one pass. One that comes while a pass runs is
kept for the next: its event may have happened after that pass looked.
"""

import queue

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
SCRUB = "scrub"  # it found rot, and the pass that follows mends it
STOP = "stop"


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

    def waiting(self, reason: str) -> bool:
        """Whether the next `wait` will name it."""
        return reason in self._waiting

    def _take(self, timeout: float) -> set[str]:
        try:
            reason = self._queue.get(timeout=max(timeout, 0.0))
        except queue.Empty:
            return set()
        self._waiting.discard(reason)
        return {reason}
