"""A recording of everything that happens below a folder while somebody acts in it, in the order in which it happened.

Nobody is asked to tell: before each call of this process that could change a file system (Python's audit events), and
around each fsync, the whole folder is compared with what it was. So whoever wrote (our one module of durable writes, a
stand-in of Foundry Local's, a git that we started) is recorded alike. Limits: what came and went between two looks was
never there, and a child's own fsyncs are not seen, so all that it wrote counts as not flushed.
"""

import hashlib
import os
import stat
import sys
import threading
import time
from dataclasses import dataclass, field

TOP = 0
RACY = 50_000_000  # nanoseconds; a file that changed so lately may change again and keep its times

_CHANGING = frozenset(
    f"os.{name}"
    for name in ("rename", "remove", "rmdir", "mkdir", "link", "symlink", "truncate", "chmod", "chown", "utime")
) | {"open", "subprocess.Popen", "os.fork", "os.posix_spawn"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, slots=True)
class Entry:
    """Names in one folder changed, at once: name -> inode, or None for a name that went."""

    folder: int
    names: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Data:
    """The content and mode of a file changed."""

    inode: int
    content: str
    mode: int


@dataclass(frozen=True, slots=True)
class Sync:
    inode: int


Event = Entry | Data | Sync


@dataclass(slots=True)
class Tape:
    """What was there, what happened, and all that was ever read. Inodes are numbered by us: the system's come again."""

    folders: dict[int, dict[str, int]] = field(default_factory=dict)  # as they were when it began
    files: dict[int, tuple[str, int]] = field(default_factory=dict)
    links: dict[int, str] = field(default_factory=dict)  # inode -> where it leads; nobody changes one
    kinds: dict[int, str] = field(default_factory=lambda: {TOP: "folder"})  # of all that ever was
    events: list[Event] = field(default_factory=list)
    contents: dict[str, bytes] = field(default_factory=dict)
    stamps: dict[str, tuple[int, str]] = field(default_factory=dict)  # size:mtime:ctime:inode -> what had it


@dataclass(slots=True)
class _Seen:
    """One look at all: by the system's inode numbers."""

    folders: dict[int, dict[str, int]] = field(default_factory=dict)
    files: dict[int, tuple[str, os.stat_result]] = field(default_factory=dict)
    links: dict[int, str] = field(default_factory=dict)


class Recorder:
    """`names` are looked at below `top`, and nothing beside them."""

    def __init__(self, top: str, names: tuple[str, ...]) -> None:
        self.tape = Tape()
        self._top, self._names = top, names
        self._lock = threading.RLock()
        self._numbers: dict[int, int] = {}
        self._next = TOP + 1
        self._folders: dict[int, dict[str, int]] = {TOP: {}}
        self._files: dict[int, tuple[str, int]] = {}
        self._stats: dict[int, str] = {}
        self._recording = False
        self._looking = False
        self.look()
        self.tape.folders = {inode: dict(names) for inode, names in self._folders.items()}
        self.tape.files = dict(self._files)
        self.tape.events.clear()

    def start(self) -> None:
        """For the rest of this process: an audit hook stays."""
        self._recording, fsync = True, os.fsync
        sys.addaudithook(self._before)

        def recorded(descriptor: int) -> None:
            self.look()
            fsync(descriptor)
            self._synced(os.fstat(descriptor).st_ino)

        os.fsync = recorded  # type: ignore[assignment]

    def stop(self) -> Tape:
        self.look()
        self._recording = False
        return self.tape

    def _before(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in _CHANGING or not self._recording:
            return
        if event != "open" or int(arguments[2] or 0) & _WRITES:  # type: ignore[call-overload]
            self.look()

    def _synced(self, inode: int) -> None:
        with self._lock:
            if inode in self._numbers:
                self.tape.events.append(Sync(self._numbers[inode]))

    def look(self) -> None:
        with self._lock:
            if self._looking:  # our own calls are told of, too
                return
            self._looking = True
            try:
                self._compare(self._scan())
            finally:
                self._looking = False

    def _scan(self) -> _Seen:
        seen = _Seen()
        seen.folders[TOP] = {}
        for name in self._names:
            self._visit(seen, os.path.join(self._top, name), seen.folders[TOP], name)
        return seen

    def _visit(self, seen: _Seen, path: str, names: dict[str, int], name: str) -> None:
        try:
            status = os.lstat(path)
            names[name] = status.st_ino
            if stat.S_ISDIR(status.st_mode):
                below = seen.folders[status.st_ino] = {}
                for one in os.listdir(path):
                    self._visit(seen, os.path.join(path, one), below, one)
            elif stat.S_ISLNK(status.st_mode):
                seen.links[status.st_ino] = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                seen.files[status.st_ino] = path, status
        except FileNotFoundError:  # a child is at work beside us
            names.pop(name, None)

    def _compare(self, seen: _Seen) -> None:
        numbers = {TOP: TOP, os.stat(self._top).st_ino: TOP}
        for inode in (*seen.folders, *seen.files, *seen.links):
            if inode != TOP:
                numbers[inode] = self._number(inode, seen)
        for inode, where in seen.links.items():
            self.tape.links[numbers[inode]] = where
        old, self._numbers = self._folders, numbers
        self._folders = {
            numbers[folder]: {name: numbers[one] for name, one in names.items()}
            for folder, names in seen.folders.items()
        }
        self._tell_entries(old, self._folders)
        for inode, (path, status) in seen.files.items():
            self._tell_data(numbers[inode], path, status)

    def _number(self, inode: int, seen: _Seen) -> int:
        kind = "folder" if inode in seen.folders else "file" if inode in seen.files else "link"
        known = self._numbers.get(inode)
        if known is not None and self.tape.kinds[known] == kind:
            return known
        number, self._next = self._next, self._next + 1
        self.tape.kinds[number] = kind
        return number

    def _tell_entries(self, old: dict[int, dict[str, int]], new: dict[int, dict[str, int]]) -> None:
        """A rename in one folder is one change; across two it is a name there and a name gone here. A folder that is no
        longer there was removed empty, or went to where nobody looks with all that it holds."""
        came, went = [], []
        for folder, after in new.items():
            before = old.get(folder, {})
            came += [(folder, name, one) for name, one in after.items() if before.get(name) != one]
            went += [(folder, name, one) for name, one in before.items() if name not in after]
        changes: list[tuple[int, dict[str, int | None]]] = []
        for folder, name, one in sorted(came):
            change: dict[str, int | None] = {name: one}
            moved = next((gone for gone in went if gone[0] == folder and gone[2] == one), None)
            if moved is not None:
                change[moved[1]] = None
                went.remove(moved)
            changes.append((folder, change))
        changes += [(folder, {name: None}) for folder, name, _ in sorted(went)]
        self.tape.events += [Entry(folder, change) for folder, change in changes]

    def _tell_data(self, number: int, path: str, status: os.stat_result) -> None:
        stamp = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
        settled = time.time_ns() - status.st_ctime_ns > RACY
        if settled and self._stats.get(number) == stamp:
            return
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return
        held = self._held(data), stat.S_IMODE(status.st_mode)
        if settled:
            self._stats[number] = stamp
        if self._files.get(number) != held:
            self.tape.events.append(Data(number, *held))
        self._files[number] = held
        self.tape.stamps[stamp] = number, held[0]

    def _held(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.tape.contents[digest] = data
        return digest
