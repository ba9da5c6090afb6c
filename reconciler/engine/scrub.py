"""The scrub: every byte of the store, of what is served and of what came from the hub is read within a day, because
bits rot without touching a stamp, and a pass believes stamps.

It reads in a thread of its own, slowly (bytes left by seconds left), and writes nothing but where it stands. A file
whose bytes are not what its stamp promises is doubted (`StampBook.doubt`) and a pass is woken: that pass forgets the
stamp, so that it hashes the file like one that somebody changed, and plans its repair. A finding is told once it is on
disk, and the position moves on only then; so a crash costs reading twice, never a finding.
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
from reconciler.host.durable import is_temporary
from reconciler.host.reading import SLICE, SlowFile, step_back
from reconciler.state.scrub_progress import Round, Scrubbed, read_scrubbed, write_scrubbed

PERIOD = 86_400.0
SETTLED = 60.0  # seconds after the start, which has other things to do
SLOWEST, FASTEST = 4 << 20, 64 << 20  # bytes a second; what is little is read at once, and is no burden
SHARE = 0.8  # of the time that is left: a machine sleeps sometimes
CHECKPOINT = 300.0  # seconds between notes of where it stands
LONGEST_REST = 3600.0  # the clock may be set meanwhile
TOPS = ("oci", "served", os.path.join("sources", "hub"))
PARTIAL = "partial"


class Scrub:
    """One root's. Only `close` is called by another thread than the one that steps."""

    def __init__(
        self, machine: Machine, wake: Callable[[], None], period: float = PERIOD, portion: int = SLICE
    ) -> None:
        self._machine = machine
        self._wake = wake
        self._period = period
        self._portion = portion  # bytes of a step
        self._state = read_scrubbed(machine.layout)
        self._left: list[str] | None = None  # files of the round under way, the next one last
        self._seen: set[tuple[int, int]] = set()
        self._file: SlowFile | None = None
        self._noted = time.monotonic()
        self._unsaid = False  # a round has ended, and the records do not say so yet
        self._first = True

    def step(self) -> float:
        """Read a slice. Returns the seconds to rest before the next one."""
        if self._first:
            self._first = False
            step_back()
            return min(SETTLED, self._period / 2)
        if self._left is None:
            if self._unsaid and not self._note():
                return 1.0
            rest = self._rest()
            if rest > 0.0:
                return min(rest, LONGEST_REST)
            self._begin()
        read = self._slice()
        if time.monotonic() - self._noted > CHECKPOINT:
            self._note()
        return read / self._rate()

    def run(self) -> Scrubbed:
        """One whole round now, as fast as it goes."""
        self._state = replace(self._state, now=Round(), position="")
        self._begin()
        while self._left is not None:
            self._slice()
        return self._state

    def close(self) -> None:
        """After the thread has ended."""
        if self._left is not None or self._unsaid:
            self._note()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rest(self) -> float:
        """Seconds to the next round; none while one is under way, and none when the clock went back."""
        began = self._state.last.began
        if self._state.now.began or not began:
            return 0.0
        gone = seconds_between(began, now())
        return 0.0 if gone < 0.0 else max(self._period - gone, 0.0)

    def _begin(self) -> None:
        """A new round, or the one that a restart cut off."""
        files = sorted(_files(self._machine.layout.root), reverse=True)
        total = _bytes(self._machine.layout.root, files)
        going_on = self._state.now if self._state.now.began else Round(began=now())
        position = self._state.position if self._state.now.began else ""
        self._state = Scrubbed(last=self._state.last, now=replace(going_on, total=total), position=position)
        self._left = [name for name in files if name > position]
        self._seen = set()

    def _slice(self) -> int:
        """As many files as make a slice, or a part of one."""
        read = 0
        while read < self._portion:
            if self._file is None and not self._open():
                self._end()
                break
            read += self._read_some(self._portion - read)
        return read

    def _open(self) -> bool:
        """The next file that was not read under another name. False: there is none."""
        while self._left:
            name = self._left[-1]
            path = os.path.join(self._machine.layout.root, name)
            try:
                file = SlowFile(path)
            except FileNotFoundError:
                pass  # it went while we worked, as things do
            except OSError as error:
                self._found(path, str(error.strerror))
            else:
                identity = (file.status.st_dev, file.status.st_ino)
                if identity not in self._seen:
                    self._seen.add(identity)
                    self._file = file
                    return True
                file.close()
            self._done(name)
        return False

    def _read_some(self, most: int) -> int:
        file = self._file
        assert file is not None
        try:
            count = file.read(most)
        except OSError as error:
            self._found(file.path, str(error.strerror))
            count = 0
        if count:
            self._state = replace(self._state, now=replace(self._state.now, checked=self._state.now.checked + count))
            return count
        self._judge(file)
        file.close()
        self._file = None
        if self._left:
            self._done(self._left[-1])
        return 0

    def _judge(self, file: SlowFile) -> None:
        promised = self._machine.stamps.remembered(file.ended_as())
        if promised is not None and promised != file.digest and _same(file.status, file.ended_as()):
            self._found(file.path, "its bytes changed, and its time stamps did not")

    def _found(self, path: str, why: str) -> None:
        self._state = replace(self._state, now=replace(self._state.now, found=self._state.now.found + 1))
        log.warning("scrub.found", path=path, why=why)
        self._machine.stamps.doubt(path)
        self._wake()

    def _done(self, name: str) -> None:
        assert self._left is not None
        self._left.pop()
        if not self._machine.stamps.doubted:  # a finding that is not on disk yet is found again after a crash
            self._state = replace(self._state, position=name)

    def _end(self) -> None:
        ended = replace(self._state.now, ended=now(), total=self._state.now.checked)
        self._left = None
        self._state = Scrubbed(last=ended)
        self._unsaid = True
        log.info("scrub.done", bytes=ended.checked, found=ended.found, began=ended.began)
        self._note()

    def _note(self) -> bool:
        """Not while a finding waits for its pass: a round that nobody can lose is one whose findings are on disk."""
        if self._left is None and self._machine.stamps.doubted:
            return False
        self._noted, self._unsaid = time.monotonic(), False
        half = self._file.done if self._file is not None else 0  # a restart reads this file from its beginning
        doing = replace(self._state.now, checked=self._state.now.checked - half)
        write_scrubbed(self._machine.layout, replace(self._state, now=doing))
        return True

    def _rate(self) -> float:
        """Bytes a second, so that the round ends in time."""
        doing = self._state.now
        time_left = SHARE * self._period - max(seconds_between(doing.began, now()), 0.0)
        wanted = (doing.total - doing.checked) / max(time_left, 1.0)
        return min(max(wanted, SLOWEST), FASTEST)


def scrub_now(machine: Machine) -> None:
    """Everything, as fast as it goes; the pass that follows mends what was found, and only then it is remembered."""
    scrub = Scrub(machine, lambda: None)
    scrub.run()
    take_doubts(machine)
    scrub.close()


def take_doubts(machine: Machine) -> None:
    """In the thread that makes passes, before it looks: what the scrub found is hashed again by this pass."""
    if not machine.stamps.doubted:
        return
    for path in machine.stamps.take_doubts():
        if os.path.basename(path) == "index.json":
            machine.store.doubt_index()
        event = {
            "time": now(),
            "type": "scrub.found",
            "variant": "",
            "path": os.path.relpath(path, machine.layout.root),
            "message": "its bytes are not what its time stamps promise; it is looked at again",
        }
        with contextlib.suppress(DiskFull):
            machine.records.append_event(event)


def _files(root: str) -> Iterator[str]:
    """Names below the root. What is being fetched is not promised to anybody yet."""
    for top in TOPS:
        for folder, below, names in os.walk(os.path.join(root, top)):
            below[:] = [name for name in below if name != PARTIAL]
            inside = os.path.relpath(folder, root)
            yield from (os.path.join(inside, name) for name in names if not is_temporary(name))


def _bytes(root: str, names: list[str]) -> int:
    """Files with several names are counted, as they are read, once."""
    sizes: dict[tuple[int, int], int] = {}
    for name in names:
        with contextlib.suppress(OSError):
            status = os.lstat(os.path.join(root, name))
            sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    """Not written, linked or unlinked between."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_nlink) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
        after.st_nlink,
    )
