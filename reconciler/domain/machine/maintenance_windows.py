"""Maintenance windows: at which times of day, on which days of the week, or by which cron schedule, a machine may
fetch, build and activate. Pure: the zone of the clock and the time are given.

By the clock on the wall: a window that ends before it starts ends on the next day, whatever the clock does meanwhile.
An hour that comes twice counts twice; where the clock leaps over a start, the window opens as much later. A window by
cron begins as Debian's cron would start a job, and lasts its duration.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo

from reconciler.domain.text.units import FORM

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MIDNIGHT = 24 * 60  # minutes
FIELDS = 5  # of a cron expression: minute, hour, day of the month, month, day of the week


@dataclass(frozen=True, kw_only=True)
class Window:
    """`start` and `end` in minutes since midnight; `days` as DAYS counts them, none for all."""

    start: int
    end: int
    days: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class CronWindow:
    """`schedule` is a cron expression of five fields that `is_schedule` accepts; `seconds` is how long it lasts."""

    schedule: str
    seconds: float


AnyWindow = Window | CronWindow


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Nothing named: at any time."""

    fetch: tuple[AnyWindow, ...] = ()
    build: tuple[AnyWindow, ...] = ()
    activate: tuple[AnyWindow, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Permission:
    """Whether something may begin now. Where not, `message` is why, and `until` when it may (RFC 3339, UTC), "" where
    no time alone allows it."""

    may: bool = True
    until: str = ""
    message: str = ""


ALLOWED = Permission()


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """What a machine may begin now, by its configuration and the clock. `budget` is for downloads, as is `metered`
    ("" | hold | urgent: domain.machine.bandwidth). `turns` are of what has to wait a little longer, by build key or
    digest of a source."""

    fetch: Permission = ALLOWED
    build: Permission = ALLOWED
    activate: Permission = ALLOWED
    budget: Permission = ALLOWED
    metered: str = ""
    turns: Mapping[str, Permission] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Spell:
    """It is open, or not, and stays so until then (seconds since 1970; None: for ever)."""

    is_open: bool
    until: float | None


def spell(windows: Iterable[AnyWindow], zone: tzinfo, at: float, share: float = 0.0, splay: float = 0.0) -> Spell:
    """`share` (0 to 1) of `splay` seconds, but of half a window at most, is how much later this machine begins: not all
    machines of a fleet do at once."""
    windows = tuple(windows)
    if not windows:
        return Spell(is_open=True, until=None)
    opening = []
    for begin, end in (one for window in windows for one in _occurrences(window, at, zone)):
        mine = begin + share * min(splay, (end - begin) / 2)
        if mine <= at < end:
            return Spell(is_open=True, until=end)
        if mine > at:
            opening.append(mine)
    return Spell(is_open=False, until=min(opening, default=None))


def _occurrences(window: AnyWindow, at: float, zone: tzinfo) -> Iterator[tuple[float, float]]:
    """Begin and end of those that may go on, and of those that come next."""
    if isinstance(window, CronWindow):
        return _by_schedule(window, at, zone)
    return _by_day(window, datetime.fromtimestamp(at, zone).date(), zone)


def _by_schedule(window: CronWindow, at: float, zone: tzinfo) -> Iterator[tuple[float, float]]:
    from cronsim import CronSim  # here, since workers load these values with the standard library alone

    for start in CronSim(window.schedule, datetime.fromtimestamp(at - window.seconds, zone)):
        begin = start.timestamp()
        yield begin, begin + window.seconds
        if begin > at:
            return


def is_schedule(text: str) -> bool:
    """Whether it is a cron expression of five fields that some day begins."""
    from cronsim import CronSim, CronSimError

    try:
        return len(text.split()) == FIELDS and next(CronSim(text, datetime(2000, 1, 1, tzinfo=UTC)), None) is not None
    except CronSimError:
        return False


def _by_day(window: Window, today: date, zone: tzinfo) -> Iterator[tuple[float, float]]:
    """Those that may go on, and those that begin within a week and a day."""
    length = window.end + (MIDNIGHT if window.end <= window.start else 0)
    for distance in range(-1, 9):
        day = today + timedelta(days=distance)
        if not window.days or day.weekday() in window.days:
            begin, end = instant(day, window.start, zone), instant(day, length, zone, last=True)
            if begin < end:
                yield begin, end


def instant(day: date, minutes: int, zone: tzinfo, *, last: bool = False) -> float:
    """When the clock on the wall shows so many minutes since the midnight that begins `day`; of two such times the
    first, or the `last`."""
    days, rest = divmod(minutes, MIDNIGHT)
    day += timedelta(days=days)
    shown = datetime(day.year, day.month, day.day, rest // 60, rest % 60, tzinfo=zone)
    return max(shown.timestamp(), shown.replace(fold=1).timestamp()) if last else shown.timestamp()


@dataclass(frozen=True, kw_only=True)
class Day:
    """A day of a budget: its date, and when the next one begins."""

    name: str
    ends: float


def day_at(zone: tzinfo, at: float, later: float = 0.0) -> Day:
    """This machine's days begin so many seconds later than midnight: not all machines of a fleet have a new budget at
    once."""
    today = datetime.fromtimestamp(at - later, zone).date()
    return Day(name=today.isoformat(), ends=instant(today, MIDNIGHT, zone) + later)


def when(at: float, now: float, zone: tzinfo, name: str) -> str:
    """For people: `22:00 (Europe/Ljubljana)`, with its date where that is another one."""
    then, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone).date()
    return f"{then:%H:%M} ({name})" if then.date() == today else f"{then:%Y-%m-%d %H:%M} ({name})"


def utc(at: float) -> str:
    """The second at which it has come for sure."""
    return datetime.fromtimestamp(-(-at // 1), UTC).strftime(FORM)
