"""Exponential back-off: the pause before the next try after a number of failures in a row.

Pure. Jitter spreads the tries of many machines; the caller draws it and gives it as a number from 0 to 1, so that a
plan and a test can repeat it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Seconds: `first` after one failure, doubled with each further one up to `longest`."""

    first: float
    longest: float

    def after(self, failures: int) -> float:
        """`failures` in a row, at least one."""
        return float(min(self.first * 2.0 ** min(failures - 1, 30), self.longest))


STEP = Backoff(first=10.0, longest=3600.0)  # a step of a plan; remembered across restarts
DELIVERY = Backoff(first=1.0, longest=300.0)  # a notification

FIRST_OF_PASSES = 60.0  # seconds; or the interval, where that is shorter
LONGEST_OF_PASSES = 300.0  # seconds; or the interval, where that is longer
INTERVALS = 8.0  # at most so many intervals, where those are short


def of_passes(interval: float) -> Backoff:
    """For a pass that failed and a repository that does not answer, in a daemon with this interval."""
    longest = max(interval, min(INTERVALS * interval, LONGEST_OF_PASSES))
    return Backoff(first=min(interval, FIRST_OF_PASSES), longest=longest)


def spread(seconds: float, low: float, high: float, drawn: float) -> float:
    """From `low` to `high` times `seconds`, as `drawn` from 0 to 1 says."""
    return seconds * (low + (high - low) * drawn)
