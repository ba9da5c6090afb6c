"""Remember what files hold, so that gigabytes are hashed once and a look at all of them costs a stat each.

A digest is remembered under the stamp of the file: (size, mtime, ctime, inode). No path is part of it: the
stamp names the content, whatever the file is called and in however many folders it is linked, and it stays
right when a folder is renamed. No program can set a ctime, so an edit that puts size and mtime back is still
seen. But adding or removing a hard link also changes the ctime, so both go through this book (`relink`,
`remove`), which carries the digest over when nothing else changed. A link made by anyone else only costs a
new hash.

A file changed in the same clock tick in which it was hashed would keep its stamp. So what is younger than a
tick is hashed again next time, unless we wrote it ourselves, where no other program writes (`vouch`).

Limits: file systems that keep time in seconds (FAT), and Windows, which has no ctime: there a restored mtime
is missed until the next full check.
"""

import hashlib
import os
import time
from collections.abc import Callable

from reconciler.domain.errors import HostRefused
from reconciler.host import durable
from reconciler.host.codec import Damaged, seal, unseal
from reconciler.host.reading import SLICE, open_regular, read_whole

TICK = 20_000_000  # nanoseconds; the coarsest tick of a Linux kernel is 10 ms

# On Windows `st_ctime` is the birth of the file. There links leave the stamp alone.
HAS_CHANGE_TIME = os.name != "nt"


class StampBook:
    """One file on disk; a damaged or missing one only means that everything is hashed again."""

    hashes = True

    def __init__(self, path: str, entries: dict[str, list[str]]) -> None:
        self._path = path
        self._entries = entries  # stamp -> [digest, the path that last had it]
        self._learned: set[str] = set()
        self._doubts: list[str] = []
        self._changed = False

    @classmethod
    def load(cls, path: str) -> "StampBook":
        try:
            return cls(path, unseal(read_whole(path)))
        except (OSError, Damaged):
            return cls(path, {})

    @classmethod
    def empty(cls) -> "StampBook":
        """One that is never saved."""
        return cls("", {})

    def digest(self, path: str) -> str:
        """Of the content as it is now; it is read only when the stamp is a new one."""
        return self.known(path) or self._hash(path)

    def known(self, path: str) -> str | None:
        """The digest, if it is known without reading."""
        entry = self._entries.get(stamp_of(os.stat(path)))
        if entry is None:
            return None
        entry[1] = path
        return entry[0]

    def vouch(self, path: str, digest: str) -> None:
        """Remember the digest of what we have just written ourselves."""
        self._remember(os.stat(path), digest, path)

    def forget(self, path: str) -> None:
        """Read it again next time: for the full check, which trusts no stamp."""
        self._changed |= self._entries.pop(stamp_of(os.stat(path)), None) is not None

    def remembered(self, status: os.stat_result) -> str | None:
        """The digest that a file with this status is trusted to have. From any thread."""
        entry = self._entries.get(stamp_of(status))
        return None if entry is None else entry[0]

    def doubt(self, path: str) -> None:
        """Its bytes are not what its stamp promises. From any thread; the owner of the book takes it in."""
        self._doubts.append(path)

    @property
    def doubted(self) -> bool:
        return bool(self._doubts)

    def take_doubts(self) -> list[str]:
        """Forget what is doubted, durably. Returns the paths."""
        taken = []
        count = len(self._doubts)
        for path in dict.fromkeys(self._doubts[:count]):
            if not os.path.exists(path):
                continue  # it is gone, and that is seen without us
            taken.append(path)
            self.forget(path)
        self.save()
        del self._doubts[:count]  # last: it counts as settled only when it is on disk
        return taken

    def relink(self, source: str, destination: str) -> str:
        """Give `destination` the content of `source`, sharing its bytes where that is safe and possible. Both files
        stay known. Returns the digest of what is there now."""
        before, digest = os.stat(source), self.digest(source)
        if not durable.share(source, destination):
            digest, _ = durable.copy_hashed(source, destination)
            self.vouch(destination, digest)
            return digest
        after = os.stat(source)
        if not only_links_changed(before, after):
            return self.digest(destination)
        self._remember(after, digest, source)
        self._remember(os.stat(destination), digest, source)
        return digest

    def move(self, source: str, destination: str) -> None:
        """Rename one file, durably."""
        before = os.stat(source)
        entry = self._entries.get(stamp_of(before))
        durable.rename(source, destination)
        after = os.stat(destination)
        if entry is not None and only_links_changed(before, after):
            self._remember(after, *entry)

    def remove(self, path: str) -> None:
        """Delete one file. Its other names, wherever they are, stay known."""
        before = os.lstat(path)
        entry = self._entries.pop(stamp_of(before), None)
        if entry is None or before.st_nlink == 1 or not HAS_CHANGE_TIME:
            durable.remove_file(path)
            return
        with open(path, "rb") as file:  # an open file can be asked for its stamp when this name is gone
            durable.remove_file(path)
            after = os.fstat(file.fileno())
        if only_links_changed(before, after):
            self._remember(after, *entry)

    def save(self) -> None:
        """Write the book if it changed. Where it cannot be written, the next pass is slower, and that is all."""
        if not (self._changed and self._path):
            return
        self._entries = {key: entry for key, entry in self._entries.items() if self._is_alive(key, entry[1])}
        try:
            durable.make_folder(os.path.dirname(self._path))
            durable.write_file(self._path, seal(self._entries))
        except (HostRefused, OSError):
            return
        self._changed = False

    def _hash(self, path: str) -> str:
        began = time.time_ns()
        descriptor, before = open_regular(path)
        with open(descriptor, "rb") as file:
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
        if stamp_of(before) == stamp_of(after) and began - _changed_at(before) > TICK:
            self._remember(before, digest, path)
        return digest

    def _remember(self, status: os.stat_result, digest: str, path: str) -> None:
        stamp = stamp_of(status)
        self._learned.add(stamp)
        self._changed |= self._entries.get(stamp, [""])[0] != digest
        self._entries[stamp] = [digest, os.path.abspath(path)]

    def _is_alive(self, stamp: str, path: str) -> bool:
        """Learned in this process, or still the stamp of the path that last had it."""
        try:
            return stamp in self._learned or stamp_of(os.stat(path)) == stamp
        except OSError:
            return False


def stamp_of(status: os.stat_result) -> str:
    """Of a file. Another stamp may be another content."""
    # The device is left out: its number may change with every boot, and then all would be hashed again.
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _changed_at(status: os.stat_result) -> int:
    return status.st_ctime_ns if HAS_CHANGE_TIME else status.st_mtime_ns


def only_links_changed(before: os.stat_result, after: os.stat_result) -> bool:
    """Between two looks at one file. We do not defend against an edit that restores the mtime between two of our own
    system calls."""
    return _content_stamp(before) == _content_stamp(after) and after.st_nlink > 0


def _content_stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


class Unhashed(StampBook):
    """For checks of what a folder is that need no digest of its gigabytes."""

    hashes = False

    def digest(self, path: str) -> str:
        return ""


class EveryByte(StampBook):
    """For the full check: every byte is read, whatever a stamp remembers, and a file with several names (a blob and the
    served folders that share it) once. What was remembered is only compared. Never saved. `read` is called with the
    number of bytes as they are read."""

    def __init__(self, remembered: StampBook, read: Callable[[int], None]) -> None:
        super().__init__("", {})
        self._remembered = remembered
        self._report = read
        self._read: dict[tuple[int, int], str] = {}
        self._rotten: set[tuple[int, int]] = set()

    def known(self, path: str) -> str | None:
        """Nothing is, until it has been read."""
        return self._read.get(_identity(os.stat(path)))

    def is_rotten(self, path: str) -> bool:
        """The bytes changed and the stamp did not: no pass will notice."""
        try:
            return _identity(os.stat(path)) in self._rotten
        except OSError:
            return False

    def _hash(self, path: str) -> str:
        hashing = hashlib.sha256()
        descriptor, status = open_regular(path)
        with open(descriptor, "rb", buffering=0) as file:
            while chunk := file.read(SLICE):
                hashing.update(chunk)
                self._report(len(chunk))
        digest = "sha256:" + hashing.hexdigest()
        self._read[_identity(status)] = digest
        if self._remembered.known(path) not in (None, digest):  # guard: rot is found
            self._rotten.add(_identity(status))
        return digest


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
