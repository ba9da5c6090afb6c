"""Times of day as RFC 3339 texts in UTC, and the seconds between them. Pure modules are given theirs."""

import calendar
import time

from reconciler.domain.text.units import FORM


def now() -> str:
    """RFC 3339, UTC, whole seconds."""
    return text_of(time.time())


def text_of(seconds: float) -> str:
    """Of a time in seconds since 1970."""
    return time.strftime(FORM, time.gmtime(seconds))


def seconds_between(earlier: str, later: str) -> float:
    """Negative when the clock was set back between them."""
    begin, end = unix(earlier), unix(later)
    return -1.0 if begin is None or end is None else end - begin


def unix(moment: str) -> float | None:
    """Seconds since 1970; None for what is no time."""
    try:
        return float(calendar.timegm(time.strptime(moment, FORM)))
    except ValueError:
        return None
