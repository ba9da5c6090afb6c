"""Windows by the clock on the wall: nights, days of the week, and the two nights of a year in which it leaps."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from reconciler.domain.machine.maintenance_windows import (
    MIDNIGHT,
    AnyWindow,
    CronWindow,
    Spell,
    Window,
    day_at,
    is_schedule,
    spell,
    utc,
    when,
)

HERE = ZoneInfo("Europe/Ljubljana")


def at(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=HERE, fold=fold).timestamp()


def window(start: str, end: str, *days: int) -> Window:
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in (start, end)]
    return Window(start=minutes[0], end=minutes[1], days=frozenset(days))


NIGHT = window("22:00", "06:00")
WEEKEND = window("00:00", "24:00", 5, 6)
FRIDAY_NIGHT = window("22:00", "06:00", 4)  # 2026-11-27 is a Friday

WORKDAYS = CronWindow(schedule="0 8 * * mon-fri", seconds=5 * 3600)
FIRST_OF_QUARTER = CronWindow(schedule="0 22 1 */3 *", seconds=6 * 3600)
EACH_THIRD_HOUR = CronWindow(schedule="0 */3 * * *", seconds=3600)

CASES = [
    ("before it", [NIGHT], "2026-11-29 21:59", False, "2026-11-29 22:00"),
    ("when it opens", [NIGHT], "2026-11-29 22:00", True, "2026-11-30 06:00"),
    ("after midnight", [NIGHT], "2026-11-30 05:59", True, "2026-11-30 06:00"),
    ("when it ends", [NIGHT], "2026-11-30 06:00", False, "2026-11-30 22:00"),
    ("a day before its day", [WEEKEND], "2026-11-27 12:00", False, "2026-11-28 00:00"),
    ("a whole day", [WEEKEND], "2026-11-28 12:00", True, "2026-11-29 00:00"),
    ("the last minute", [WEEKEND], "2026-11-29 23:59", True, "2026-11-30 00:00"),
    ("until next week", [WEEKEND], "2026-11-30 00:00", False, "2026-12-05 00:00"),
    ("a night belongs to the day on which it starts", [FRIDAY_NIGHT], "2026-11-28 05:00", True, "2026-11-28 06:00"),
    ("and to no other", [FRIDAY_NIGHT], "2026-11-28 22:30", False, "2026-12-04 22:00"),
    ("the day after it", [window("08:00", "09:00", 0)], "2026-11-30 09:00", False, "2026-12-07 08:00"),
    ("the first of several", [NIGHT, WEEKEND], "2026-11-28 12:00", True, "2026-11-29 00:00"),
    ("cron: before it", [WORKDAYS], "2026-11-27 07:59", False, "2026-11-27 08:00"),
    ("cron: when it opens", [WORKDAYS], "2026-11-27 08:00", True, "2026-11-27 13:00"),
    ("cron: when it ends", [WORKDAYS], "2026-11-27 13:00", False, "2026-11-30 08:00"),
    ("cron: past midnight, and months later", [FIRST_OF_QUARTER], "2026-11-30 12:00", False, "2027-01-01 22:00"),
    ("cron: on the day after", [FIRST_OF_QUARTER], "2027-01-02 03:59", True, "2027-01-02 04:00"),
    ("cron: each third hour", [EACH_THIRD_HOUR], "2026-11-30 10:00", False, "2026-11-30 12:00"),
    ("cron beside a night", [WORKDAYS, NIGHT], "2026-11-27 14:00", False, "2026-11-27 22:00"),
    ("the next of several", [NIGHT, window("12:00", "13:00")], "2026-11-30 11:00", False, "2026-11-30 12:00"),
]


@pytest.mark.parametrize(
    ("windows", "now", "is_open", "until"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_windows(windows: list[AnyWindow], now: str, is_open: bool, until: str) -> None:
    assert spell(windows, HERE, at(now)) == Spell(is_open=is_open, until=at(until))


def test_an_hour_that_is_left_out_opens_later_and_one_that_comes_twice_opens_once() -> None:
    """2027-03-28 has no 02:30, 2026-10-25 has two: as Debian's cron starts a job of a fixed time."""
    window = CronWindow(schedule="30 2 * * *", seconds=3600)
    assert spell([window], HERE, at("2027-03-28 01:59")) == Spell(is_open=False, until=at("2027-03-28 03:00"))
    first = at("2026-10-25 02:30")
    assert spell([window], HERE, first) == Spell(is_open=True, until=first + 3600)
    assert not spell([window], HERE, first + 3600).is_open


def test_a_fleet_opens_a_cron_window_one_after_the_other() -> None:
    opens = at("2026-11-27 08:00")
    assert spell([WORKDAYS], HERE, opens, share=0.5, splay=3600) == Spell(is_open=False, until=opens + 1800)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("0 1 * * *", True),
        ("0 1 * * mon-fri", True),
        ("*/20 0-6 1,15 jan-mar *", True),
        ("0 1 * *", False),
        ("0 0 1 * * *", False),  # with seconds
        ("@daily", False),
        ("61 * * * *", False),
        ("0 0 30 feb *", False),
        ("", False),
    ],
)
def test_a_schedule_has_five_fields_and_begins_some_day(text: str, good: bool) -> None:
    assert is_schedule(text) is good


def test_without_windows_it_is_always_open() -> None:
    assert spell([], HERE, at("2026-11-29 12:00")) == Spell(is_open=True, until=None)


@pytest.mark.parametrize(("evening", "hours"), [("2027-03-27", 7), ("2026-10-24", 9), ("2026-11-29", 8)])
def test_a_night_ends_by_the_clock_on_the_wall(evening: str, hours: int) -> None:
    now = at(f"{evening} 22:00")
    assert spell([NIGHT], HERE, now) == Spell(is_open=True, until=now + hours * 3600)
    assert not spell([NIGHT], HERE, now + hours * 3600).is_open


def test_a_start_that_the_clock_leaps_over_comes_as_much_later() -> None:
    one = [window("02:30", "04:00")]
    found = spell(one, HERE, at("2027-03-28 01:00"))
    assert found.until == at("2027-03-28 03:30")
    assert spell(one, HERE, at("2027-03-28 03:30")) == Spell(is_open=True, until=at("2027-03-28 04:00"))


def test_an_hour_that_comes_twice_counts_twice() -> None:
    one = [window("02:15", "02:45")]
    for fold, minutes in ((0, 30), (0, 50), (1, 10), (1, 44)):
        assert spell(one, HERE, at(f"2026-10-25 02:{minutes}", fold)).is_open
    assert not spell(one, HERE, at("2026-10-25 02:10")).is_open
    assert not spell(one, HERE, at("2026-10-25 02:45", 1)).is_open


@pytest.mark.parametrize(
    ("share", "splay", "opens"), [(0.5, 3600, "22:30"), (0.5, 86_400, "00:00"), (0.0, 3600, "22:00")]
)
def test_machines_of_a_fleet_begin_one_after_the_other(share: float, splay: float, opens: str) -> None:
    """Within half of the window at most: the last one has the other half."""
    day = "2026-11-29" if opens > "12" else "2026-11-30"
    found = spell([NIGHT], HERE, at("2026-11-29 21:00"), share, splay)
    assert found == Spell(is_open=False, until=at(f"{day} {opens}") if splay < 86_400 else at("2026-11-30 00:00"))
    assert spell([NIGHT], HERE, at(f"{day} {opens}"), share, splay).until == at("2026-11-30 06:00")


@pytest.mark.parametrize(
    ("now", "name", "ends"),
    [
        ("2026-11-29 00:00", "2026-11-29", "2026-11-30 00:00"),
        ("2026-11-29 23:59", "2026-11-29", "2026-11-30 00:00"),
        ("2027-03-28 12:00", "2027-03-28", "2027-03-29 00:00"),
        ("2026-10-25 12:00", "2026-10-25", "2026-10-26 00:00"),
    ],
)
def test_days(now: str, name: str, ends: str) -> None:
    found = day_at(HERE, at(now))
    assert (found.name, found.ends) == (name, at(ends))


def test_a_day_may_begin_later() -> None:
    assert day_at(HERE, at("2026-11-29 00:20"), 1800.0).name == "2026-11-28"
    assert day_at(HERE, at("2026-11-29 00:20"), 1800.0).ends == at("2026-11-29 00:30")
    assert day_at(HERE, at("2026-11-29 00:30"), 1800.0).name == "2026-11-29"


def test_days_without_a_midnight() -> None:
    """In Santiago the clock leaps over it."""
    zone = ZoneInfo("America/Santiago")
    before = datetime(2026, 9, 5, 12, tzinfo=zone).timestamp()
    assert day_at(zone, before).ends == datetime(2026, 9, 6, 1, tzinfo=zone).timestamp()
    assert day_at(zone, day_at(zone, before).ends).name == "2026-09-06"


def test_in_words() -> None:
    now = at("2026-11-29 12:00")
    assert when(at("2026-11-29 22:00"), now, HERE, "Europe/Ljubljana") == "22:00 (Europe/Ljubljana)"
    assert when(at("2026-11-30 22:00"), now, HERE, "Europe/Ljubljana") == "2026-11-30 22:00 (Europe/Ljubljana)"
    assert utc(0.2) == "1970-01-01T00:00:01Z"
    assert utc(datetime(2026, 11, 29, tzinfo=UTC).timestamp()) == "2026-11-29T00:00:00Z"
    assert MIDNIGHT == 1440
