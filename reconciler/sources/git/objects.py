"""Objects of a git repository, asked for by name: trees, files and the beginnings of large files.

Two git processes answer all questions: one tells sizes, one gives bytes. A third runs for each large file, and only as
long as its beginning is read. Whatever is asked, more than `MOST_PATHS` paths or `LONGEST_OBJECT` bytes are not held: a
tree can name itself a thousand times in a tree that is named a thousand times.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from reconciler.domain.errors import PermanentError
from reconciler.sources.git.process import OutOfBounds
from reconciler.sources.git.tree import FILE, FOLDER, KINDS, Entry, Tree

PATIENCE = 120.0  # seconds for all questions together
MOST_PATHS = 300_000
LONGEST_OBJECT = 64 << 20
AT_ONCE = 500  # questions of 41 or 65 bytes: they fit into a pipe, so nobody waits for anybody


class ObjectMissing(PermanentError):
    code = "ObjectMissing"


class Objects:
    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command, self._environment = command, environment
        self._stack = contextlib.ExitStack()
        self._listings: dict[str, dict[str, Entry]] = {}
        self._paths = 0

    def __enter__(self) -> Objects:
        self._sizes = self._stack.enter_context(self._started("--batch-check"))
        self._bytes = self._stack.enter_context(self._started("--batch"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Of objects that are here; a partial clone lacks some."""
        found = {}
        for name in self._asked(self._sizes, names):
            answer, _, size = self._answer(self._sizes, name)
            if answer != "missing":
                found[name] = size
        return found

    def contents(self, names: Iterable[str]) -> dict[str, bytes]:
        return dict(self._contents(names))

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        """A large file: whoever reads its header does not wait for the rest."""
        with self._started("blob", name) as process:
            assert process.stdout is not None
            yield process.stdout

    def children(self, tree: str) -> dict[str, Entry]:
        """What a tree names. Each is read once, however many commits have it."""
        if tree not in self._listings:
            raw = [*_entries(self.contents([tree])[tree], len(tree) // 2)]
            self._paths += len(raw)
            if self._paths > MOST_PATHS:
                raise OutOfBounds(f"expected at most {MOST_PATHS:,} paths to look at")
            sizes = self.sizes({entry.object for entry in raw if entry.kind != FOLDER})
            self._listings[tree] = {entry.name: _sized(entry, sizes) for entry in raw}
        return self._listings[tree]

    def tree_of(self, commit: str) -> str:
        body = self.contents([commit])[commit]
        return body.partition(b"\n")[0].removeprefix(b"tree ").decode("ascii", "replace")

    def _contents(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for name in self._asked(self._bytes, names):
            answer, _, size = self._answer(self._bytes, name)
            if answer == "missing":
                raise ObjectMissing(
                    f"this clone lacks the object {name}", hint="fetch all of it (no --filter)"
                )
            if size > LONGEST_OBJECT:
                raise OutOfBounds(f"the object {name} has {size:,} bytes")
            pipe = _pipe(self._bytes.stdout)
            data = pipe.read(size + 1)
            if len(data) != size + 1:  # killed for its time, or by somebody
                raise _unanswered(name)
            yield name, data[:-1]

    def _asked(self, process: subprocess.Popen[bytes], names: Iterable[str]) -> Iterator[str]:
        """Each name whose answer is next to be read."""
        many = list(dict.fromkeys(names))
        for start in range(0, len(many), AT_ONCE):
            some = many[start : start + AT_ONCE]
            pipe = _pipe(process.stdin)
            with contextlib.suppress(BrokenPipeError):  # the answer that does not come says it
                pipe.write("".join(f"{name}\n" for name in some).encode())
                pipe.flush()
            yield from some

    def _answer(self, process: subprocess.Popen[bytes], name: str) -> tuple[str, str, int]:
        words = _pipe(process.stdout).readline(200).decode("ascii", "replace").split()
        if len(words) == 2 and words[1] == "missing":
            return "missing", "", 0
        if len(words) != 3 or words[0] != name:
            raise _unanswered(name)
        return words[0], words[1], int(words[2])

    @contextlib.contextmanager
    def _started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [*self._command, "cat-file", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )
        timer = threading.Timer(PATIENCE, process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()  # it holds nothing and writes nothing
            with contextlib.suppress(BrokenPipeError):
                _pipe(process.stdin).close()
            _pipe(process.stdout).close()
            process.wait()


class ObjectTree(Tree):
    """The tree of one commit, asked of `Objects`."""

    def __init__(self, objects: Objects, commit: str) -> None:
        self._objects = objects
        self._top = Entry(name="", kind=FOLDER, object=objects.tree_of(commit))

    def below(self, folder: Entry) -> tuple[Entry, ...]:
        return tuple(sorted(self._below(folder.object, ""), key=lambda entry: entry.name))

    def read(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        return self._objects.contents(entry.object for entry in entries)

    def opened(self, entry: Entry) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._objects.opened(entry.object)

    def _below(self, tree: str, prefix: str) -> Iterator[Entry]:
        stack, count = [(tree, prefix)], 0
        while stack:
            name, inside = stack.pop()
            for entry in self._children(name).values():
                count += 1
                if count > MOST_PATHS or len(inside) > 4096:
                    raise OutOfBounds(f"expected at most {MOST_PATHS:,} paths")
                path = f"{inside}{entry.name}"
                if entry.kind == FOLDER:
                    stack.append((entry.object, f"{path}/"))
                else:
                    yield Entry(name=path, kind=entry.kind, object=entry.object, size=entry.size)

    def _children(self, tree: str) -> dict[str, Entry]:
        return self._objects.children(tree)


def _entries(raw: bytes, width: int) -> Iterator[Entry]:
    """`<mode> <name>` NUL, then `width` bytes that name the object; one after the other."""
    start = 0
    while start < len(raw):
        space, end = raw.find(b" ", start), raw.find(b"\0", start)
        if not start < space < end < len(raw) - width:
            raise PermanentError(
                "a tree of this repository is malformed", hint="`git fsck` tells", code="GitFailed"
            )
        mode = raw[start:space].decode("ascii", "replace").zfill(6)
        name = raw[space + 1 : end].decode("utf-8", "surrogateescape")
        yield Entry(name=name, kind=KINDS.get(mode, "other"), object=raw[end + 1 : end + 1 + width].hex())
        start = end + 1 + width


def _sized(entry: Entry, sizes: Mapping[str, int]) -> Entry:
    """A file whose object is not here counts as none: a partial clone knows its name only."""
    if entry.kind != FILE or entry.object in sizes:
        return Entry(name=entry.name, kind=entry.kind, object=entry.object, size=sizes.get(entry.object, 0))
    return Entry(name=entry.name, kind="other", object=entry.object)


def _unanswered(name: str) -> PermanentError:
    hint = "the clone is broken, or larger than can be read in two minutes: `git fsck` tells"
    return PermanentError(f"git cat-file did not answer for {name}", hint=hint, code="GitFailed")


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "every process here is started with pipes"
    return stream
