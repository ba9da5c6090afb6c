"""What a power cut may leave of a recording: the weakest file system that POSIX allows, as ALICE models it.

Without a flush of the file its content may be the old one, none, half of the new one, or as many zeros. Without a flush
of the folder, each change of its names may be there or not, whatever came after it; a rename inside one folder is one
change, one across two folders is a name that came and, apart from that, a name that went. A flush of a file makes
nothing of its name last. What ext4 and XFS really leave (a journal that keeps the order, content that comes late) are
some of these states.
"""

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from tests.plug.recording import TOP, Data, Entry, Event, Sync, Tape

Tree = dict[str, tuple[str, str, int]]  # path -> (folder | file | link, content or where it leads, mode)
Settled = list[tuple[str, int, tuple[str, str, int]]]  # path, inode and what it is
TORN = ("old", "half", "zeros")
HIDDEN = ("staging", "trash", "logs")  # nobody reads there after a crash; it is swept


@dataclass(frozen=True, slots=True)
class Choice:
    """What the cut left of what was not flushed: changes of names by their numbers, and how torn each file is ("new"
    where it is not said)."""

    kept: frozenset[int]
    torn: tuple[tuple[int, str], ...] = ()


@dataclass(slots=True)
class Disk:
    """A recording, played to some point."""

    tape: Tape
    played: int = 0
    folders: dict[int, dict[str, int]] = field(default_factory=dict)  # flushed
    files: dict[int, tuple[str, int]] = field(default_factory=dict)
    entries: dict[int, list[tuple[int, Entry]]] = field(default_factory=dict)  # not flushed, by folder
    data: dict[int, list[Data]] = field(default_factory=dict)
    at: dict[int, str] = field(default_factory=dict)  # where the last `tree` has each inode
    settled: "dict[int, Settled | None]" = field(default_factory=dict)  # folders in which all is flushed

    def __post_init__(self) -> None:
        self.folders = {inode: dict(names) for inode, names in self.tape.folders.items()}
        self.files = dict(self.tape.files)

    def play(self) -> Event:
        event = self.tape.events[self.played]
        self.played += 1
        self.settled.clear()
        match event:
            case Entry():
                self.entries.setdefault(event.folder, []).append((self.played, event))
            case Data():
                self.data.setdefault(event.inode, []).append(event)
            case Sync():
                self._flush(event.inode)
        return event

    def _flush(self, inode: int) -> None:
        if self.tape.kinds[inode] == "folder":
            self.folders[inode] = self._names(inode, None)
            self.entries.pop(inode, None)
        elif inode in self.data:
            last = self.data.pop(inode)[-1]
            self.files[inode] = last.content, last.mode

    def _names(self, folder: int, kept: frozenset[int] | None) -> dict[str, int]:
        """None keeps all."""
        names = dict(self.folders.get(folder, {}))
        for number, entry in self.entries.get(folder, ()):
            if kept is None or number in kept:
                for name, inode in entry.names.items():
                    if inode is None:
                        names.pop(name, None)
                    else:
                        names[name] = inode
        return names

    def file(self, inode: int, torn: str) -> tuple[str, int]:
        pending = self.data.get(inode)
        old, mode = self.files.get(inode) or (self._content(b""), 0o600)
        if not pending:
            return old, mode
        new = pending[-1]
        if torn == "new":
            return new.content, new.mode
        return torn_content(self.tape, old, new.content, torn), mode

    def _content(self, data: bytes) -> str:
        return kept_content(self.tape, data)

    def tree(self, choice: Choice | None = None) -> Tree:
        """None: as everybody saw it before the cut."""
        found: Tree = {}
        torn = dict(choice.torn) if choice is not None else {}
        self.at.clear()
        self._below(TOP, "", None if choice is None else choice.kept, torn, found, ())
        return found

    def _below(
        self,
        folder: int,
        path: str,
        kept: frozenset[int] | None,
        torn: dict[int, str],
        found: Tree,
        above: tuple[int, ...],
    ) -> None:
        for name, inode in self._names(folder, kept).items():
            where = self.at[inode] = f"{path}{name}"
            kind = self.tape.kinds[inode]
            if kind == "folder":
                found[where] = kind, "", 0o755
                if (settled := self._settled(inode, above)) is not None:
                    for name_below, inode_below, entry in settled:
                        below = self.at[inode_below] = f"{where}/{name_below}"
                        found[below] = entry
                elif inode not in above:  # two names of one folder, of which one is below the other: nobody's
                    self._below(inode, f"{where}/", kept, torn, found, (*above, inode))
            elif kind == "link":
                found[where] = kind, self.tape.links[inode], 0
            else:
                found[where] = kind, *self.file(inode, torn.get(inode, "new"))

    def _settled(self, folder: int, above: tuple[int, ...]) -> "Settled | None":
        """All below, where no choice changes any of it: most folders, most of the time."""
        if folder not in self.settled:
            self.settled[folder] = None if folder in above else self._all_below(folder, (*above, folder))
        return self.settled[folder]

    def _all_below(self, folder: int, above: tuple[int, ...]) -> "Settled | None":
        if folder in self.entries:
            return None
        found: Settled = []
        for name, inode in self.folders.get(folder, {}).items():
            kind = self.tape.kinds[inode]
            if kind == "folder":
                below = self._settled(inode, above)
                if below is None:
                    return None
                found.append((name, inode, (kind, "", 0o755)))
                found += [(f"{name}/{rest}", one, entry) for rest, one, entry in below]
            elif kind == "link":
                found.append((name, inode, (kind, self.tape.links[inode], 0)))
            elif inode in self.data:
                return None
            else:
                found.append((name, inode, (kind, *self.file(inode, "new"))))
        return found

    def told(self, choice: Choice) -> str:
        """What is lost, for whoever looks for the reason."""
        self.tree()
        at, torn = dict(self.at), dict(choice.torn)
        lost = [
            f"{at.get(folder, folder)}/{{{', '.join(entry.names)}}}"
            for folder, entries in self.entries.items()
            for number, entry in entries
            if number not in choice.kept
        ]
        return f"lost {lost}, torn {[f'{at.get(inode, inode)} {torn[inode]}' for inode in torn if inode in self.data]}"

    def choices(self, rolled: random.Random, rolls: int) -> Iterator[Choice]:
        """All lost and all kept; each one lost, each one kept, in order up to each one (as a journal does); and
        `rolls` at random. What lies where nobody looks is one."""
        self.tree()
        where, groups = dict(self.at), list[frozenset[int]]()
        hidden: set[int] = set()
        for folder, changes in self.entries.items():
            if is_hidden(where.get(folder, "staging") + "/x"):
                hidden |= {number for number, _ in changes}
            else:
                groups += [frozenset({number}) for number, _ in changes]
        groups = sorted([*groups, *([frozenset(hidden)] if hidden else [])], key=min)
        seen = [inode for inode in self.data if not is_hidden(where.get(inode, "staging/x"))]
        unseen = [inode for inode in self.data if inode not in seen]
        every = frozenset[int]().union(*groups)
        lost = {how: tuple((inode, how) for inode in self.data) for how in TORN}
        yield Choice(every)
        for how in TORN:
            yield Choice(frozenset(), lost[how])
            yield Choice(every, lost[how])
        for group in groups:
            yield Choice(every - group)
            yield Choice(group, lost["old"])
            yield Choice(frozenset(number for number in every if number <= max(group)), lost["old"])
            yield Choice(frozenset(number for number in every if number <= max(group)))
        for inode in seen:
            for how in TORN:
                yield Choice(every, ((inode, how),))
            yield Choice(every, tuple((one, "old") for one in self.data if one != inode))
        for _ in range(rolls if groups or seen else 0):
            kept = frozenset[int]().union(*(group for group in groups if rolled.random() < 0.5))
            torn = [(one, how) for one in seen if (how := rolled.choice(("new", *TORN))) != "new"]
            yield Choice(kept, (*torn, *((one, "old") for one in unseen)))


@lru_cache(maxsize=1 << 16)
def is_hidden(path: str) -> bool:
    return not set(HIDDEN).isdisjoint(path.split("/")[:-1])


def torn_content(tape: Tape, old: str, new: str, how: str) -> str:
    """What was appended may be torn, and what it was appended to may not."""
    before, after = tape.contents[old], tape.contents[new]
    if how == "old":
        return old
    start = before if after.startswith(before) else b""
    added = after[len(start) :]
    left = added[: len(added) // 2] if how == "half" else bytes(len(added))
    return kept_content(tape, start + left)


def kept_content(tape: Tape, data: bytes) -> str:
    digest = _digest(data)
    tape.contents[digest] = data
    return digest


@lru_cache(maxsize=4096)
def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


Signature = tuple[frozenset[tuple[str, tuple[str, str, int]]], frozenset[str]]


def signature(tree: Tree) -> Signature:
    """Two trees that differ only where nobody looks are one."""
    seen = frozenset(one for one in tree.items() if not is_hidden(one[0]))
    return seen, frozenset(path.split("/")[1] for path in tree if is_hidden(path))


def lay_out(tape: Tape, tree: Tree, top: str) -> None:
    """The tree as real files."""
    for path, (kind, held, mode) in sorted(tree.items()):
        where = os.path.join(top, path)
        if kind == "folder":
            os.makedirs(where, exist_ok=True)
        elif kind == "link":
            os.symlink(held, where)
        else:
            with open(where, "wb") as file:
                file.write(tape.contents[held])
            os.chmod(where, mode)
