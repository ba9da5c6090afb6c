"""Rate, daily budget and window of downloads: over threads, over the death of the process, over a clock that is set.
No test waits: clocks are given."""

import threading
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from reconciler.domain.errors import Cancelled, Paused, RegistryFailed
from reconciler.domain.layout import Layout
from reconciler.domain.machine.bandwidth import Bandwidth
from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.maintenance_windows import Window, Windows
from reconciler.engine.registries import Silences
from reconciler.engine.timetable import Timetable, Turns, share_of
from reconciler.engine.traffic import AHEAD, RateLimit, Traffic

HERE = ZoneInfo("Europe/Ljubljana")
NIGHT = Windows(fetch=(Window(start=22 * 60, end=6 * 60),))
DAILY = 256 * 1000
NOON = datetime(2026, 11, 29, 12, tzinfo=HERE).timestamp()
DAY = 86_400.0


class Clock:
    """Of the wall, and of what nobody sets: a sleep moves both."""

    def __init__(self, now: float = NOON) -> None:
        self.now, self.slept, self._lock = now, 0.0, threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.slept += seconds


def traffic_of(root: Path, clock: Clock, bandwidth: Bandwidth = Bandwidth(), windows: Windows = Windows()) -> Traffic:
    traits = Traits(bandwidth=bandwidth, windows=windows, time_zone="Europe/Ljubljana")
    rate = RateLimit(bandwidth.rate, clock, clock.sleep)
    return Traffic(Layout(str(root)), bandwidth, Timetable(traits, "edge-7", clock), rate)


@pytest.mark.parametrize("rate", [16 << 10, 1_000_000, 1 << 40])
def test_a_rate_is_kept_to_the_byte(rate: int) -> None:
    clock = Clock(0.0)
    limit = RateLimit(rate, clock, clock.sleep)
    pieces = 200
    for _ in range(pieces):
        limit.spend(limit.piece)
    assert clock.now == pytest.approx(pieces * limit.piece / rate, abs=0.2)


def test_a_rate_is_smooth() -> None:
    """No piece takes longer than an eighth of a second, and no pause is saved up for a burst."""
    clock = Clock(0.0)
    limit = RateLimit(1_000_000, clock, clock.sleep)
    limit.spend(limit.piece)
    clock.now += 3600.0
    began = clock.now
    for count in range(1, 81):
        before = clock.now
        limit.spend(limit.piece)
        assert clock.now - before <= 1 / 8
        assert count * limit.piece <= 1_000_000 * (clock.now - began) + 1_000_000 * 0.1 + 1


def test_what_is_late_is_caught_up() -> None:
    clock = Clock(0.0)
    limit = RateLimit(1_000_000, clock, lambda seconds: clock.sleep(seconds + 0.003))  # a busy machine
    for _ in range(160):
        limit.spend(limit.piece)
    assert clock.now == pytest.approx(160 * limit.piece / 1_000_000, rel=0.02)


def test_a_rate_holds_over_all_threads() -> None:
    clock = Clock(0.0)
    limit = RateLimit(1_000_000, clock, lambda seconds: None)  # each sees the same moment: all of them pay
    threads = [threading.Thread(target=lambda: [limit.spend(10_000) for _ in range(50)]) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert limit._paid == pytest.approx(4 * 50 * 10_000 / 1_000_000)


@pytest.mark.parametrize(
    ("rate", "buffer"), [(0, 0), (16 << 10, 64 << 10), (500_000, 125_000), (800_000, 200_000), (1_000_000, 0)]
)
def test_a_low_rate_lets_the_kernel_hold_little(rate: int, buffer: int) -> None:
    assert RateLimit(rate).receive_buffer == buffer


def test_without_a_rate_nothing_waits() -> None:
    clock = Clock()
    limit = RateLimit(0, clock, clock.sleep)
    limit.spend(1 << 40)
    assert (clock.slept, limit.piece) == (0.0, 1 << 20)


def test_a_long_pause_ends_when_the_download_is_cancelled_or_its_window_ends(tmp_path: Path) -> None:
    """A source that tells of much at once is waited for as long as that takes at the rate."""
    clock = Clock(datetime(2026, 11, 29, 23, tzinfo=HERE).timestamp())
    traffic = traffic_of(tmp_path, clock, Bandwidth(rate=1_000_000), NIGHT)
    meter = traffic.meter(is_cancelled=lambda: clock.slept >= 3.0)
    with pytest.raises(Cancelled):
        meter.moved("catalog", 600_000_000)
    assert clock.slept == 3.0
    clock.now += 600.0  # paid
    with pytest.raises(Paused, match="window"):
        traffic.meter().moved("catalog", 1_000_000 * 8 * 3600)
    assert clock.now == pytest.approx(datetime(2026, 11, 30, 6, tzinfo=HERE).timestamp(), abs=1.5)


def test_a_budget_ends_a_download_and_the_next_day_lets_it_go_on(tmp_path: Path) -> None:
    clock = Clock()
    traffic = traffic_of(tmp_path, clock, Bandwidth(daily=DAILY))
    meter = traffic.meter()
    for _ in range(255):
        meter.moved("registry", 1000)
    with pytest.raises(Paused, match="budget"):
        meter.moved("registry", 1000)
    with pytest.raises(Paused):
        traffic.meter(urgent=True).moved("registry", 1)
    permission = traffic.timetable.permissions(traffic.used, Turns(), ()).budget
    assert not permission.may
    assert permission.until == "2026-11-29T23:00:00Z"
    assert permission.message.endswith("have come today (bandwidth.daily): until 2026-11-30 00:00 (Europe/Ljubljana)")
    clock.now = NOON + DAY / 2
    assert traffic.timetable.permissions(traffic.used, Turns(), ()).budget.may
    meter.moved("registry", 1000)
    assert (traffic.used, traffic.budget) == (1000, (1000, DAILY))
    assert traffic.origins == {"registry": 257_001}


@pytest.mark.parametrize("piece", [100, 999, 5000])
def test_a_process_that_dies_has_counted_everything_and_little_more(tmp_path: Path, piece: int) -> None:
    came = 0
    for _ in range(6):  # each dies without a word
        clock = Clock()
        traffic = traffic_of(tmp_path, clock, Bandwidth(daily=DAILY))
        assert came <= traffic.used <= came + DAILY // AHEAD
        came = traffic.used
        for _ in range(7):
            traffic.meter().moved("registry", piece)
            came += piece
    traffic.settle()
    assert traffic_of(tmp_path, clock, Bandwidth(daily=DAILY)).used == traffic.used == came


def test_the_disk_is_written_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic, written = traffic_of(tmp_path, Clock(), Bandwidth(daily=DAILY)), []
    monkeypatch.setattr(traffic._stored, "write", written.append)
    for _ in range(DAILY // 10 - 1):
        traffic.meter().moved("registry", 10)
    assert len(written) <= AHEAD + 1
    unlimited = traffic_of(tmp_path / "other", Clock())
    unlimited.meter().moved("registry", 1 << 30)
    unlimited.settle()
    assert not (tmp_path / "other").exists()


def test_a_clock_that_is_set_gives_no_second_budget(tmp_path: Path) -> None:
    """Forth and back, also over a restart: each date has its own."""
    clock = Clock()
    traffic = traffic_of(tmp_path, clock, Bandwidth(daily=DAILY))
    with pytest.raises(Paused):
        traffic.meter().moved("registry", DAILY)
    for leap in (10 * 365 * DAY, -20 * 365 * DAY):
        clock.now = NOON + leap
        assert traffic.used == 0
        traffic.meter().moved("registry", 7)
        traffic.settle()
        again = traffic_of(tmp_path, Clock(), Bandwidth(daily=DAILY))
        assert again.used == DAILY
        clock.now = NOON
        assert traffic.used == DAILY


@pytest.mark.parametrize(("day", "hours"), [("2027-03-28", 23), ("2026-10-25", 25)])
def test_a_day_on_which_the_clock_leaps_has_one_budget(tmp_path: Path, day: str, hours: int) -> None:
    begin = datetime.fromisoformat(day).replace(tzinfo=HERE).timestamp()
    clock = Clock(begin)
    traffic = traffic_of(tmp_path, clock, Bandwidth(daily=DAILY))
    traffic.moved("registry", 5)
    for hour in range(hours):
        clock.now = begin + hour * 3600.0
        assert traffic.used == 5
    clock.now = begin + hours * 3600.0
    assert traffic.used == 0


def test_damage_to_what_is_kept_is_no_error(tmp_path: Path) -> None:
    traffic = traffic_of(tmp_path, Clock(), Bandwidth(daily=DAILY))
    traffic.moved("registry", 5)
    for path in (tmp_path / "records" / "downloads").iterdir():
        path.write_bytes(b"{")
    assert traffic_of(tmp_path, Clock(), Bandwidth(daily=DAILY)).used == 0


def test_a_window_that_ends_pauses_and_one_that_opens_lets_go_on(tmp_path: Path) -> None:
    evening = NOON + DAY * 10 / 24
    clock = Clock(evening)
    traffic = traffic_of(tmp_path, clock, windows=NIGHT)
    meter = traffic.meter()
    meter.moved("registry", 1)
    clock.now = evening + 8 * 3600.0 - 1
    meter.moved("registry", 1)
    clock.now = evening + 8 * 3600.0
    with pytest.raises(Paused, match="window"):
        meter.moved("registry", 1)
    traffic.meter(urgent=True).moved("registry", 1)
    clock.now = evening - 1  # the clock was set back: it is not open yet
    with pytest.raises(Paused):
        meter.moved("registry", 1)
    clock.now = evening + DAY
    meter.moved("registry", 1)


def test_the_splay_moves_the_start_of_a_window_and_of_a_day() -> None:
    clock = Clock()
    bandwidth = Bandwidth(daily=1 << 20, splay=3600.0)
    traits = Traits(bandwidth=bandwidth, windows=NIGHT, time_zone="Europe/Ljubljana")
    later = {name: share_of(name) * 3600.0 for name in ("a", "b", "c")}
    assert len(set(later.values())) == 3
    for name, seconds in later.items():
        table = Timetable(traits, name, clock)
        assert table.fetching().until == pytest.approx(NOON + DAY * 10 / 24 + seconds)
        assert table.day().ends == pytest.approx(NOON + DAY / 2 + seconds)


def test_shares_are_even_and_stay() -> None:
    shares = [share_of(f"edge-{number}") for number in range(10_000)]
    assert shares == [share_of(f"edge-{number}") for number in range(10_000)]
    tenths = [sum(tenth <= share * 10 < tenth + 1 for share in shares) for tenth in range(10)]
    assert sum(tenths) == 10_000
    assert min(tenths) > 850
    assert max(tenths) < 1150


def test_turns() -> None:
    clock = Clock(0.0)
    turns = Turns("edge-7", interval=60.0, splay=1800.0, ticks=clock)
    begins = share_of("edge-7") * 60.0
    assert turns.before_asking == begins
    first = turns.before("a")
    assert first == max(begins, share_of("edge-7", "a") * 1800.0)
    clock.now = 10_000.0
    assert (turns.before_asking, turns.before("a")) == (0.0, 0.0)
    assert turns.before("b") == pytest.approx(share_of("edge-7", "b") * 1800.0)
    assert Turns().before("a") == Turns().before_asking == 0.0


def test_a_silent_registry_is_asked_less_and_less() -> None:
    clock = Clock(0.0)
    silences = Silences(clock, lambda: 0.5)
    error = RegistryFailed("no connection")
    assert silences.error("a") is None
    for rest in (60.0, 120.0, 240.0, 480.0, 900.0, 900.0):
        silences.failed("a", error)
        clock.now += rest - 1
        assert silences.error("a") is error
        assert silences.error("b") is None
        clock.now += 2
        assert silences.error("a") is None
    silences.failed("a", RegistryFailed("busy", delay=5000.0))
    clock.now += 4999
    assert silences.error("a") is not None
    silences.answered("a")
    assert silences.error("a") is None
