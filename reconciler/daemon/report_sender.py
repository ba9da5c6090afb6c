"""Sends the machine's report to its place, in a thread beside the passes: when something changed, and at least once a
day. A place that cannot be reached is tried again after longer and longer waits; no pass waits for it.

The machines of a fleet do not write at once: each waits its own share of a spread, after a change and before its daily
report. Whatever changes meanwhile goes with the same report.
"""

import time
from collections.abc import Callable

from reconciler.daemon.background import retry_after
from reconciler.daemon.state import State
from reconciler.domain.errors import ReconcilerError
from reconciler.engine import log
from reconciler.engine.timetable import share_of
from reconciler.operations.report import Reporting

AFTER_CHANGE = 30.0  # seconds, over which a fleet that changed together reports, where no splay is configured
DAILY = 86_400.0  # seconds between two reports without a change
EARLIER = 0.1  # of the time between two reports without a change
QUIET = 3600.0  # seconds between two lines about a place that does not answer


class ReportSender:
    """Opens nothing before its first report. `ticks` is the monotonic clock."""

    def __init__(
        self,
        reporting: Reporting,
        identity: str,
        *,
        splay: float = 0.0,
        every: float = DAILY,
        ticks: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._reporting, self._ticks, self._wall = reporting, ticks, wall
        share = share_of(identity, "report")
        self._wait = share * (splay or AFTER_CHANGE)
        self._every = every * (1.0 - EARLIER * share)
        self._begins = ticks() + self._wait  # a fleet whose power comes back does not write at once either
        self._key: object = None
        # When, by the monotonic clock; None: not asked for.
        self._change_due: float | None = None
        self._retry_due: float | None = None
        self._failures, self._logged = 0, -QUIET

    def passed(self, state: State) -> bool:
        """After each pass: whether there may be something to report."""
        key = _key(state)
        if key == self._key:
            return False
        self._key = key
        if self._change_due is None:
            self._change_due = self._ticks() + self._wait
        return True

    def step(self) -> float | None:
        """Sends what is due. Returns the seconds until something may be due again."""
        rest = self._rest()
        if rest > 0.0:
            return rest
        self._change_due = self._retry_due = None
        try:
            sent = self._reporting.send(unchanged=self._daily() <= 0.0)
        except ReconcilerError as error:
            self._failed(error)
        else:
            self._failures = 0
            if sent:
                log.info("report.sent", to=self._reporting.to, bytes=sent)
        return max(self._rest(), 1.0)

    def _rest(self) -> float:
        now = self._ticks()
        if self._retry_due is not None:
            return self._retry_due - now
        if self._change_due is not None:
            return self._change_due - now
        return max(self._daily(), self._begins - now)

    def _daily(self) -> float:
        """Seconds to the report that goes without a change. A clock that was set back does not put it off."""
        since = self._wall() - self._reporting.last_sent()
        return self._every - since if since >= 0.0 else 0.0

    def _failed(self, error: ReconcilerError) -> None:
        """What was to be sent still is; nothing of it is kept, because the next try makes it anew."""
        self._failures += 1
        self._reporting.failed(f"{error.code}: {error}")
        wait = max(retry_after(self._failures), getattr(error, "delay", 0.0))
        self._change_due, self._retry_due = self._ticks(), self._ticks() + wait
        if self._ticks() - self._logged >= QUIET:
            self._logged = self._ticks()
            facts = {"code": error.code, "message": str(error), "hint": error.hint}
            log.warning("report.failed", to=self._reporting.to, failures=self._failures, **facts)


def _key(state: State) -> object:
    """What a report would say anew, as far as a pass knows it without a look at the disk."""
    conditions = {
        name: [(one.type, one.status, one.reason) for one in held.values()] for name, held in state.conditions.items()
    }
    verdicts = {name: [(one.gate, one.measure, one.status) for one in held] for name, held in state.verdicts.items()}
    return state.applied, state.attempted, conditions, verdicts, dict(state.sizes)
