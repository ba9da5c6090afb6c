"""Scrubber: reads every byte of the store, of what is served and of what came from the hub within a day, because passes
trust stamps (size, times, inode), and bits rot without changing them.

It reads in a thread of its own, slowly (bytes left by seconds left), and writes nothing but its position. A file whose
bytes do not match its stamp is doubted (`StampBook.doubt`), and a pass is woken, which drops the stamp, hashes the file
and plans its repair. The position moves on only once a finding is on disk: a crash costs reading twice, no finding.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from reconciler.domain.errors import DiskFull
from reconciler.engine import log
from reconciler.engine.machine import Machine
from reconciler.host.clock import now, seconds_between
from reconciler.host.disk_usage import size_once
from reconciler.host.durable import is_temporary
from reconciler.host.reading import SLICE, SlowFile, step_back
from reconciler.state.progress import Round, Scrubbed, scrub_progress

PERIOD = 86_400.0
SETTLED = 60.0  # seconds after the start
SLOWEST, FASTEST = 4 << 20, 64 << 20  # bytes a second
SHARE = 0.8  # of the time that is left: a machine may sleep
CHECKPOINT = 300.0  # seconds between two writes of the position
LONGEST_REST = 3600.0  # the clock may be set meanwhile
TOPS = ("oci", "served", os.path.join("sources", "hub"))
PARTIAL = "partial"


class Scrubber:
    """Of one root. Only `close` is called by another thread than the one that steps."""

    def __init__(
        self, machine: Machine, wake: Callable[[], None], period: float = PERIOD, portion: int = SLICE
    ) -> None:
        self._machine = machine
        self._wake = wake
        self._period = period
        self._portion = portion  # bytes of a step
        self._state = scrub_progress(machine.layout).read()
        self._reading: Iterator[int] | None = None  # the round under way
        self._half = 0  # bytes read of its present file: a restart reads that one from its beginning
        self._saved = time.monotonic()
        self._unsaved = False  # a round has ended, and that is not on disk yet
        self._first = True

    def step(self) -> float:
        """Read a slice. Returns the seconds to rest before the next one."""
        if self._first:
            self._first = False
            step_back()
            return min(SETTLED, self._period / 2)
        if self._reading is None:
            if self._unsaved and not self._save():
                return 1.0
            rest = self._rest()
            if rest > 0.0:
                return min(rest, LONGEST_REST)
            self._reading = self._round()
        read = next(self._reading, None)
        if read is None:
            self._end()
            return 0.0
        if time.monotonic() - self._saved > CHECKPOINT:
            self._save()
        return read / self._rate()

    def run(self) -> Scrubbed:
        """One whole round now, as fast as it goes."""
        self._state = replace(self._state, now=Round(), position="")
        for _ in self._round():
            pass
        self._end()
        return self._state

    def close(self) -> None:
        """After the thread has ended."""
        if self._reading is not None or self._unsaved:
            self._save()
        self._reading = None

    def _rest(self) -> float:
        """Seconds to the next round; none while one is under way, and none when the clock went back."""
        began = self._state.last.began
        if self._state.now.began or not began:
            return 0.0
        gone = seconds_between(began, now())
        return 0.0 if gone < 0.0 else max(self._period - gone, 0.0)

    def _round(self) -> Iterator[int]:
        """Reads every file once, in a new round or the one that a restart cut off; yields the bytes of each slice."""
        root = self._machine.layout.root
        files = sorted(_files(root))
        doing, position = (self._state.now, self._state.position) if self._state.now.began else (Round(began=now()), "")
        total = size_once(os.path.join(root, name) for name in files)
        self._state = Scrubbed(last=self._state.last, now=replace(doing, total=total), position=position)
        seen: set[tuple[int, int]] = set()
        read = 0
        for name in files:
            if name <= position:
                continue
            for count in self._file(os.path.join(root, name), seen):
                read += count
                if read >= self._portion:
                    yield read
                    read = 0
            self._half = 0
            if not self._machine.stamps.doubted:  # a finding that is not on disk yet is found again after a crash
                self._state = replace(self._state, position=name)
        if read:
            yield read

    def _file(self, path: str, seen: set[tuple[int, int]]) -> Iterator[int]:
        """Reads one file, if it was not read under another name, and judges it; yields the bytes of each part."""
        try:
            with contextlib.closing(SlowFile(path)) as file:
                identity = (file.status.st_dev, file.status.st_ino)
                if identity in seen:
                    return
                seen.add(identity)
                while count := file.read(self._portion):
                    self._half = file.done
                    self._count(checked=count)
                    yield count
                promised = self._machine.stamps.remembered(file.ended_as())
                if promised not in (None, file.digest) and _same(file.status, file.ended_as()):
                    self._found(path, "its bytes changed, and its time stamps did not")
        except FileNotFoundError:
            pass  # it was removed meanwhile
        except OSError as error:
            self._found(path, str(error.strerror))

    def _count(self, checked: int = 0, found: int = 0) -> None:
        doing = self._state.now
        doing = replace(doing, checked=doing.checked + checked, found=doing.found + found)
        self._state = replace(self._state, now=doing)

    def _found(self, path: str, why: str) -> None:
        self._count(found=1)
        log.warning("scrub.found", path=path, why=why)
        self._machine.stamps.doubt(path)
        self._wake()

    def _end(self) -> None:
        ended = replace(self._state.now, ended=now(), total=self._state.now.checked)
        self._reading = None
        self._state = Scrubbed(last=ended)
        self._unsaved = True
        log.info("scrub.done", bytes=ended.checked, found=ended.found, began=ended.began)
        self._save()

    def _save(self) -> bool:
        """Save the position, unless a finding waits for its pass: that must be on disk first."""
        if self._reading is None and self._machine.stamps.doubted:
            return False
        self._saved, self._unsaved = time.monotonic(), False
        doing = replace(self._state.now, checked=self._state.now.checked - self._half)
        scrub_progress(self._machine.layout).write(replace(self._state, now=doing))
        return True

    def _rate(self) -> float:
        """Bytes a second, so that the round ends in time."""
        doing = self._state.now
        time_left = SHARE * self._period - max(seconds_between(doing.began, now()), 0.0)
        wanted = (doing.total - doing.checked) / max(time_left, 1.0)
        return min(max(wanted, SLOWEST), FASTEST)


def scrub_now(machine: Machine) -> None:
    """A whole round, as fast as it goes. The pass that follows repairs what was found."""
    scrubber = Scrubber(machine, lambda: None)
    scrubber.run()
    take_doubts(machine)
    scrubber.close()


def take_doubts(machine: Machine) -> None:
    """In the thread that makes passes, before it observes: what the scrub found is hashed again by this pass."""
    if not machine.stamps.doubted:
        return
    for path in machine.stamps.take_doubts():
        if os.path.basename(path) == "index.json":
            machine.store.doubt_index()
        message = "its bytes are not what its time stamps promise; it is hashed again"
        with contextlib.suppress(DiskFull):
            name = os.path.relpath(path, machine.layout.root)
            machine.records.add_event("scrub.found", variant="", path=name, message=message)


def _files(root: str) -> Iterator[str]:
    """Names below the root, without partial downloads."""
    for top in TOPS:
        for folder, below, names in os.walk(os.path.join(root, top)):
            below[:] = [name for name in below if name != PARTIAL]
            inside = os.path.relpath(folder, root)
            yield from (os.path.join(inside, name) for name in names if not is_temporary(name))


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    """Not written, linked or unlinked between."""
    names = ("st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink")
    return all(getattr(before, name) == getattr(after, name) for name in names)
