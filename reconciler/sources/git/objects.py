"""Objects of a git repository, and the tree of one commit. Nothing is checked out, so there are no hooks, no filters,
no submodules and no case clashes; what is no plain file is known by its mode before a byte of it is read.

Two git processes answer all questions: one reports sizes, one gives bytes. A third runs for each large file, for as
long as it is read. At most `MOST_PATHS` paths and `LONGEST_OBJECT` bytes are held: a tree can name itself a thousand
times in a tree that is named a thousand times. GitPython's object database (gitdb) has no such limits: it inflates an
object whole before its size is known to us, so objects are read through git.
"""

import contextlib
import posixpath
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import IO

from reconciler.domain.errors import PermanentError, RaisedOnPurpose
from reconciler.sources.git.process import OutOfBounds
from reconciler.sources.git.runner import GitRunner

FILE, FOLDER, LINK, REPOSITORY, MISSING = "file", "folder", "link", "repository", "missing"
ABSENT = "absent"  # a file that the tree names, and a partial clone does not have
KINDS = {"100644": FILE, "100755": FILE, "100664": FILE, "040000": FOLDER, "120000": LINK, "160000": REPOSITORY}

PATIENCE = 120.0  # seconds for the answers to all questions together, and for each large file
MOST_PATHS = 300_000
LONGEST_OBJECT = 64 << 20
LONGEST_LINK = 4096
AT_ONCE = 500  # questions of 41 or 65 bytes: they fit into a pipe, so neither side blocks


class ObjectMissing(PermanentError): ...


FETCH_ALL = "`git fetch --refetch --no-filter origin` brings what is missing; a CI job clones without --filter"


class MirrorBroken(RaisedOnPurpose):
    """Our mirror cannot be read: it is cloned anew."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """`name` is relative to the tree that was listed; bytes that are no UTF-8 are surrogates in it."""

    name: str
    kind: str
    object: str = ""
    size: int = 0


class Objects:
    """A context manager. With `complete` every object must be there and a missing one is MirrorBroken; without, the
    repository may be a partial clone; `partial` where it says that it is one."""

    def __init__(self, git: GitRunner, *, complete: bool, partial: bool = False) -> None:
        self._git, self._complete, self._partial = git, complete, partial
        self._stack = contextlib.ExitStack()
        self._listings: dict[str, dict[str, Entry]] = {}
        self._paths = 0
        self._patience = PATIENCE

    def __enter__(self) -> "Objects":
        self._sizes = self._stack.enter_context(self._git.piped("cat-file", "--batch-check"))
        self._bytes = self._stack.enter_context(self._git.piped("cat-file", "--batch"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Of the objects that are here; a partial clone lacks some."""
        found = {name: self._answer(self._sizes, name) for name in self._asked(self._sizes, names)}
        if self._complete and (lost := next((name for name, size in found.items() if size is None), None)):
            raise self._missing(lost)
        return {name: size for name, size in found.items() if size is not None}

    def contents(self, names: Iterable[str]) -> dict[str, bytes]:
        found = {}
        for name in self._asked(self._bytes, names):
            size = self._answer(self._bytes, name)
            if size is None:
                raise self._missing(name)
            if size > LONGEST_OBJECT:
                raise OutOfBounds(f"the object {name} has {size:,} bytes")
            data = _pipe(self._bytes.stdout).read(size + 1)
            if len(data) != size + 1:  # killed, for its time or from outside
                raise self._unanswered(name)
            found[name] = data[:-1]
        return found

    @contextlib.contextmanager
    def opened(self, name: str, seconds: float = PATIENCE) -> Iterator[IO[bytes]]:
        """A large file, from its beginning; the rest need not be read."""
        with self._git.piped("cat-file", "blob", name) as process, _killed_after(process, seconds):
            yield _pipe(process.stdout)

    def children(self, tree: str) -> dict[str, Entry]:
        """What a tree names. Each is read once, however many commits have it."""
        if tree not in self._listings:
            raw = [*_entries(self.contents([tree])[tree], len(tree) // 2)]
            self._paths += len(raw)
            if self._paths > MOST_PATHS:
                raise OutOfBounds(f"expected at most {MOST_PATHS:,} paths to look at")
            sizes = self.sizes({entry.object for entry in raw if entry.kind in (FILE, LINK)})
            self._listings[tree] = {entry.name: _sized(entry, sizes) for entry in raw}
        return self._listings[tree]

    def _asked(self, process: subprocess.Popen[bytes], names: Iterable[str]) -> Iterator[str]:
        """Each name whose answer is next to be read."""
        many = list(dict.fromkeys(names))
        for start in range(0, len(many), AT_ONCE):
            some = many[start : start + AT_ONCE]
            began = time.monotonic()
            with _killed_after(process, max(self._patience, 0.0)):
                with contextlib.suppress(BrokenPipeError):  # then there is no answer, and that is an error
                    _pipe(process.stdin).write("".join(f"{name}\n" for name in some).encode())
                    _pipe(process.stdin).flush()
                yield from some
            self._patience -= time.monotonic() - began

    def _answer(self, process: subprocess.Popen[bytes], name: str) -> int | None:
        """The size of the object; None when it is not here."""
        words = _pipe(process.stdout).readline(200).decode("ascii", "replace").split()
        if len(words) == 2 and words[1] == "missing":
            return None
        if len(words) != 3 or words[0] != name or not words[2].isdigit():
            raise self._unanswered(name)
        return int(words[2])

    def _missing(self, name: str) -> Exception:
        if self._complete:
            return MirrorBroken(f"the object {name} is missing")
        kind = "is partial, and lacks" if self._partial else "lacks"
        return ObjectMissing(f"this clone {kind} the object {name}", hint=FETCH_ALL)

    def _unanswered(self, name: str) -> Exception:
        message = f"git cat-file did not answer for {name}"
        if self._complete:
            return MirrorBroken(message)
        if self._partial:  # git would fetch it, and ends because it may not
            return self._missing(name)
        hint = "the clone is broken, or larger than can be read in two minutes: `git fsck` shows where"
        return PermanentError(message, hint=hint, code="GitFailed")


class Tree:
    """The tree of one commit, or the one that `top` names. Paths are normalised and relative to its top."""

    def __init__(self, objects: Objects, commit: str = "", *, top: str = "") -> None:
        self._objects = objects
        self._top = Entry(name="", kind=FOLDER, object=top or _tree_of(objects, commit))

    def at(self, path: str) -> Entry:
        """What `path` is. A link or another repository on the way is returned itself and never followed."""
        entry = self._top
        for part in path.split("/") if path else ():
            if entry.kind in (LINK, REPOSITORY):
                return entry
            known = self._objects.children(entry.object) if entry.kind == FOLDER else {}
            entry = known.get(part, Entry(name=part, kind=MISSING))
        return entry

    def children(self, folder: Entry) -> tuple[Entry, ...]:
        return tuple(self._objects.children(folder.object).values())

    def below(self, folder: Entry) -> list[Entry]:
        """Everything in `folder` that is no folder, at any depth, in order of name."""
        found: list[Entry] = []
        folders, count = [(folder.object, "")], 0
        while folders:
            tree, inside = folders.pop()
            for entry in self._objects.children(tree).values():
                count += 1
                if count > MOST_PATHS or len(inside) > 4096:
                    raise OutOfBounds(f"expected at most {MOST_PATHS:,} paths")
                path = f"{inside}{entry.name}"
                if entry.kind == FOLDER:
                    folders.append((entry.object, f"{path}/"))
                else:
                    found.append(replace(entry, name=path))
        return sorted(found, key=lambda entry: entry.name)

    def read(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        """Bytes by object, of plain files that the caller found small enough."""
        return self._objects.contents(entry.object for entry in entries)

    def opened(self, entry: Entry, seconds: float = PATIENCE) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._objects.opened(entry.object, seconds)

    def leads_to(self, link: Entry, path: str) -> Entry:
        """What the link at `path` leads to inside the repository. Only one step is followed."""
        if link.size > LONGEST_LINK:
            return Entry(name="", kind=MISSING)
        target = self.read([link])[link.object].decode("utf-8", "surrogateescape")
        where = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        outside = where.startswith(("/", "..")) or not target
        return Entry(name="", kind=MISSING) if outside else self.at(where)


def _tree_of(objects: Objects, commit: str) -> str:
    first_line = objects.contents([commit])[commit].partition(b"\n")[0]
    return first_line.removeprefix(b"tree ").decode("ascii", "replace")


def _entries(raw: bytes, width: int) -> Iterator[Entry]:
    """`<mode> <name>` NUL, then `width` bytes that name the object; one after the other."""
    start = 0
    while start < len(raw):
        space, end = raw.find(b" ", start), raw.find(b"\0", start)
        if not start < space < end < len(raw) - width:
            raise PermanentError(
                "a tree of this repository is malformed", hint="`git fsck` shows where", code="GitFailed"
            )
        mode = raw[start:space].decode("ascii", "replace").zfill(6)
        name = raw[space + 1 : end].decode("utf-8", "surrogateescape")
        yield Entry(name=name, kind=KINDS.get(mode, "other"), object=raw[end + 1 : end + 1 + width].hex())
        start = end + 1 + width


def _sized(entry: Entry, sizes: Mapping[str, int]) -> Entry:
    kind = ABSENT if entry.kind == FILE and entry.object not in sizes else entry.kind
    return replace(entry, kind=kind, size=sizes.get(entry.object, 0))


@contextlib.contextmanager
def _killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "every process here is started with pipes"
    return stream
