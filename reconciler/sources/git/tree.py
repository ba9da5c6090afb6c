"""Files of one commit, read from git objects. Nothing is checked out, so there are no hooks, no filters, no submodules
and no case clashes; what is no plain file is known by its mode before a byte of it is read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reconciler.sources.git.command import Command
from reconciler.sources.git.mirror import MirrorBroken

FILE, FOLDER, LINK, REPOSITORY, MISSING = "file", "folder", "link", "repository", "missing"
KINDS = {
    "100644": FILE,
    "100755": FILE,
    "100664": FILE,
    "040000": FOLDER,
    "120000": LINK,
    "160000": REPOSITORY,
}
_ENTRY = re.compile(rb"(\d{6}) \w+ ([0-9a-f]{40}) +(-|\d{1,18})\t(.*)", re.DOTALL)

LISTING = 32 << 20  # bytes: some 300,000 paths


@dataclass(frozen=True, kw_only=True)
class Entry:
    """`name` is relative to the tree that was listed; bytes that are no UTF-8 are surrogates in it."""

    name: str
    kind: str
    object: str = ""
    size: int = 0


class Tree:
    """The tree of one commit."""

    def __init__(self, git: Command, commit: str) -> None:
        self._git = git
        self._listings: dict[str, dict[str, Entry]] = {}
        tree = git.text("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")
        self._top = Entry(name="", kind=FOLDER, object=tree)

    def at(self, path: str) -> Entry:
        """What `path` (normalised, from the top) is. A link or another repository on the way ends the way: it is
        returned itself, and never followed."""
        entry = self._top
        for part in path.split("/") if path else ():
            if entry.kind in (LINK, REPOSITORY):
                return entry
            known = self._children(entry.object) if entry.kind == FOLDER else {}
            entry = known.get(part, Entry(name=part, kind=MISSING))
        return entry

    def children(self, folder: Entry) -> tuple[Entry, ...]:
        return tuple(self._children(folder.object).values())

    def below(self, folder: Entry) -> tuple[Entry, ...]:
        """Everything in `folder` that is no folder, at any depth, in order of name."""
        return tuple(sorted(self._list("-r", folder.object), key=lambda entry: entry.name))

    def read(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        """Bytes by object, of plain files that the caller found small enough."""
        wanted = {entry.object: entry.size for entry in entries}
        if not wanted:
            return {}
        said = "".join(f"{name}\n" for name in wanted).encode()
        limit = sum(wanted.values()) + 100 * len(wanted)
        _, answer = self._git.run("cat-file", "--batch", said=said, limit=limit)
        return _blobs(answer, wanted)

    def leads_to(self, link: Entry, path: str) -> Entry:
        """What the link at `path` leads to inside the repository, one step far."""
        if link.size > 4096:
            return Entry(name="", kind=MISSING)
        target = self.read([link])[link.object].decode("utf-8", "surrogateescape")
        where = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        outside = where.startswith(("/", "..")) or not target
        return Entry(name="", kind=MISSING) if outside else self.at(where)

    def _children(self, tree: str) -> dict[str, Entry]:
        if tree not in self._listings:
            self._listings[tree] = {entry.name: entry for entry in self._list("-l", tree)}
        return self._listings[tree]

    def _list(self, option: str, tree: str) -> Iterator[Entry]:
        _, listing = self._git.run("ls-tree", option, "-l", "-z", "--full-tree", tree, limit=LISTING)
        for line in listing.split(b"\0")[:-1]:
            found = _ENTRY.fullmatch(line)
            if found is None:
                raise MirrorBroken(f"git ls-tree does not know {tree}")
            mode, name, size, path = found.groups()
            yield Entry(
                name=path.decode("utf-8", "surrogateescape"),
                kind=KINDS.get(mode.decode(), "other"),
                object=name.decode(),
                size=0 if size == b"-" else int(size),
            )


def _blobs(answer: bytes, wanted: dict[str, int]) -> dict[str, bytes]:
    """`<object> blob <size>` LF bytes LF, one after the other, in the order of the questions."""
    found, start = {}, 0
    for name, size in wanted.items():
        head = f"{name} blob {size}\n".encode()
        if not answer.startswith(head, start):
            raise MirrorBroken(f"git cat-file does not know {name}")
        start += len(head)
        found[name] = answer[start : start + size]
        start += size + 1
    return found
