"""Traffic: all that this process downloads for its models, kept within the rate, the daily budget and the window for
downloads. Every download asks a Meter of it after each piece.

What came today is kept on disk, cheaply: a write counts a share of the budget ahead, and the next one comes when that
is used up. A process that dies has counted at most that share too much, and at most a piece too little. Kept by date: a
clock that is set forth and back finds what came on either day. What is in flight when a download pauses is not counted.
"""

import threading
import time
from collections.abc import Callable, Mapping

from reconciler.domain.errors import Cancelled, Paused
from reconciler.domain.layout import Layout
from reconciler.domain.machine.bandwidth import PIECE, SLOWEST, Bandwidth, Meter
from reconciler.engine.timetable import Timetable
from reconciler.state.progress import Downloaded, download_progress

AHEAD = 256  # parts of a budget: as many writes a day, at most
DAYS_KEPT = 8
PIECES = 8  # a second, where the rate is low
LARGEST_BUFFER = 200 << 10  # bytes; Linux's net.core.rmem_max is 208 KiB
LATE = 0.1  # seconds that a pause may be late, and that are caught up
SLICE = 1.0  # seconds of a pause after which it is asked whether it still makes sense


class RateLimit:
    """Bytes a second over all threads together, each piece paid after it came. 0: none."""

    def __init__(
        self, rate: int, ticks: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._rate, self._ticks, self._sleep = rate, ticks, sleep
        self._paid = ticks()  # until then, all that came is paid for
        self._lock = threading.Lock()

    @property
    def piece(self) -> int:
        return min(max(self._rate // PIECES, SLOWEST // PIECES), PIECE) if self._rate else PIECE

    @property
    def receive_buffer(self) -> int:
        """What the kernel may hold of a connection: else megabytes come at full speed before it notices that they
        are not read. 0 (as it likes) where a rate needs more than most systems grant."""
        wanted = max(self._rate // 4, SLOWEST * 4)
        return wanted if self._rate and wanted <= LARGEST_BUFFER else 0

    def spend(self, count: int, go_on: Callable[[], None] = lambda: None) -> None:
        """Waits until they are paid. `go_on` is called in a long pause again and again, and ends it by raising."""
        if not self._rate:
            return
        with self._lock:
            now = self._ticks()
            self._paid = max(self._paid, now - LATE) + count / self._rate
            rest = self._paid - now
        while rest > 0:
            self._sleep(min(rest, SLICE))
            rest -= SLICE
            go_on()


class Traffic:
    def __init__(
        self, layout: Layout, bandwidth: Bandwidth, timetable: Timetable, rate: RateLimit | None = None
    ) -> None:
        self.timetable = timetable
        self.rate = rate or RateLimit(bandwidth.rate)
        self._daily = bandwidth.daily
        self._stored = download_progress(layout)
        self._days: dict[str, int] | None = None  # as used; read when first needed
        self._noted: dict[str, int] = {}  # as on disk
        self._origins: dict[str, int] = {}
        self._lock = threading.Lock()
        self._open_within = (0.0, 0.0)  # by the clock: when the window for downloads is known to be open

    @property
    def origins(self) -> Mapping[str, int]:
        """Bytes that came, by origin, since this process began."""
        with self._lock:
            return dict(self._origins)

    @property
    def used(self) -> int:
        """Of today's budget; 0 where there is none."""
        with self._lock:
            return self._read().get(self.timetable.day().name, 0) if self._daily else 0

    @property
    def budget(self) -> tuple[int, int] | None:
        """Bytes used today, of how many."""
        return (self.used, self._daily) if self._daily else None

    def meter(self, *, urgent: bool = False, is_cancelled: Callable[[], bool] = lambda: False) -> Meter:
        """Of one download. An `urgent` one waits for no window."""
        return _Meter(self, urgent, is_cancelled)

    def moved(self, origin: str, count: int, go_on: Callable[[], None] = lambda: None) -> None:
        with self._lock:
            self._origins[origin] = self._origins.get(origin, 0) + count
            if self._daily:
                self._count(count)
        self.rate.spend(count, go_on)

    def require(self, *, urgent: bool) -> None:
        """Raises Paused where nothing more may come now."""
        # guard: nothing comes beyond the daily budget
        if self._daily and self.used >= self._daily:
            raise Paused("today's budget is used up; what has come is kept")
        # guard: a download ends with its window
        if not (urgent or self._is_open()):
            raise Paused("the window for downloads has ended; what has come is kept")

    def settle(self) -> None:
        """What really came, in place of what was counted ahead."""
        with self._lock:
            if self._daily and self._days is not None and self._days != self._noted:
                self._write(dict(self._days))

    def _is_open(self) -> bool:
        """The clock is asked for each piece, the windows only where it has left what is known."""
        begin, end = self._open_within
        now = self.timetable.clock()
        if begin <= now < end:
            return True
        found = self.timetable.fetching()
        if found.is_open:
            self._open_within = now, float("inf") if found.until is None else found.until
        return found.is_open

    def _count(self, count: int) -> None:
        days, today = self._read(), self.timetable.day().name
        days[today] = days.pop(today, 0) + count  # the newest last
        for old in list(days)[:-DAYS_KEPT]:
            del days[old]
        if days[today] > self._noted.get(today, 0):
            self._write({**days, today: max(min(days[today] + self._daily // AHEAD, self._daily), days[today])})

    def _read(self) -> dict[str, int]:
        if self._days is None:
            self._noted = dict(self._stored.read().days)
            self._days = dict(self._noted)
        return self._days

    def _write(self, days: dict[str, int]) -> None:
        self._stored.write(Downloaded(days=days))
        self._noted = days


class _Meter(Meter):
    def __init__(self, traffic: Traffic, urgent: bool, is_cancelled: Callable[[], bool]) -> None:
        self._traffic, self._urgent, self._is_cancelled = traffic, urgent, is_cancelled
        self.piece = traffic.rate.piece

    def moved(self, origin: str, count: int) -> None:
        self._traffic.moved(origin, count, self._go_on)
        self._go_on()

    def _go_on(self) -> None:
        if self._is_cancelled():
            raise Cancelled("it was cancelled", delay=0)
        self._traffic.require(urgent=self._urgent)
