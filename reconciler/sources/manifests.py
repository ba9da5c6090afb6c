"""Read a folder of manifests from disk and parse it. A daemon keeps the last parse in memory (`ParseCache`).

Files are opened by name without following symlinks and only when they are plain, small and the only name of their
bytes: a manifest comes from git, and git makes nothing else. Every refusal is a Problem beside the others.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from reconciler.domain import digest
from reconciler.domain.errors import Problem, UsageError
from reconciler.domain.sources.locked import LOCK_BYTES, LOCK_NAME
from reconciler.domain.text.quoting import printable
from reconciler.host.stamps import StampBook
from reconciler.manifests.parse import parse
from reconciler.manifests.parsed import Inputs, Parsed, Place
from reconciler.manifests.paths import ParseContext
from reconciler.templates.renderer import Renderer

MAX_FILES = 10_000
MAX_BYTES = 256 * 1024
ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class FoundManifests:
    """The manifests of one folder, by path relative to it with forward slashes, and what was refused."""

    files: Mapping[str, bytes]
    problems: tuple[Problem, ...]


class ParseCache:
    """The last parse of one folder, kept in memory by a process that reads the folder again and again.

    It holds while every manifest has the stamp it had, and every question that the parse asked about the disk has the
    same answer: a stat for each, and no byte of a manifest is read. A parse with problems is not kept.
    """

    def __init__(self) -> None:
        self._stamps = StampBook.empty()
        self._inputs: Inputs | None = None
        self._parsed = Parsed()

    def get(self, base: str, roots: tuple[str, ...], names: Iterable[str]) -> Parsed | None:
        known = self._inputs
        if known is None or (known.base, known.roots) != (base, roots):
            return None
        if self._digests(base, names) != known.manifests:
            return None
        disk = DiskAnswers()
        if any(disk.place(path) != place for path, place in known.places.items()):
            return None
        for path in known.files:
            disk.read(path)
        return self._parsed if disk.files == known.files else None

    def put(self, inputs: Inputs, parsed: Parsed) -> None:
        self._inputs, self._parsed = (None if parsed.problems else inputs), parsed
        for name in inputs.manifests:
            with contextlib.suppress(OSError):  # a file that is changing right now is read again
                self._stamps.digest(os.path.join(inputs.base, name))

    def _digests(self, base: str, names: Iterable[str]) -> dict[str, str | None]:
        return {name: self._digest(os.path.join(base, name)) for name in names}

    def _digest(self, path: str) -> str | None:
        try:
            status = os.lstat(path)
            _check(status, MAX_BYTES)
        except (OSError, _Unread):
            return None
        return self._stamps.remembered(status)


def load(path: str, *, allowed_roots: tuple[str, ...] = (), cache: ParseCache | None = None) -> Parsed:
    """What the manifests at `path` (a folder, or one file) declare.

    Paths in manifests may not leave the git checkout that holds them, except into `allowed_roots`.
    """
    base, only = _folder(path)
    prefix = _prefix(path, only)
    roots = (checkout_of(base), *(os.path.realpath(root) for root in allowed_roots))
    problems: list[Problem] = []
    names = sorted(only) if only else list(_walk(base, "", prefix, problems))
    if cache is not None and not problems and (known := cache.get(base, roots, names)):
        return known
    found = read_manifests(base, names, prefix, problems)
    inputs = Inputs.of(base=base, prefix=prefix, roots=roots, files=found.files)
    disk = DiskAnswers()
    parsed = interpret(found, inputs, disk)
    if cache is not None:
        cache.put(replace(inputs, places=disk.places, files=disk.files), parsed)
    return parsed


def read_manifests(base: str, names: Iterable[str], prefix: str, problems: list[Problem]) -> FoundManifests:
    """The files of those names below `base`. `problems` are those of the search for them."""
    files: dict[str, bytes] = {}
    problems = [*problems]
    for name in names:
        if len(files) == MAX_FILES:
            problems.append(refused(prefix, "", "TooManyFiles", f"expected at most {MAX_FILES:,} manifests"))
            break
        try:
            files[name] = _read(os.path.join(base, name), MAX_BYTES)
        except _Unread as refusal:
            problems.append(refused(prefix, name, refusal.code, str(refusal), refusal.hint))
    return FoundManifests(files=files, problems=tuple(problems))


def checkout_of(folder: str) -> str:
    """The top of the git checkout that holds `folder` (absolute); the folder's parent where there is none."""
    top = folder
    while not os.path.lexists(os.path.join(top, ".git")):
        parent = os.path.dirname(top)
        if parent == top:
            return os.path.dirname(folder)
        top = parent
    return top


class _Unread(Exception):
    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


def _folder(path: str) -> tuple[str, frozenset[str] | None]:
    """(real folder, names to read in it or None for all)."""
    if os.path.isdir(path):
        return os.path.realpath(path), None
    if os.path.lexists(path):
        folder, name = os.path.split(os.path.abspath(path))
        return os.path.realpath(folder), frozenset({name})
    hint = "pass the folder with your manifests (--path); `reconciler demo` shows a small one"
    raise UsageError(f"there is no folder {path}", hint=hint)


def _prefix(path: str, names: frozenset[str] | None) -> str:
    named = os.path.dirname(path) if names else path
    return os.path.normpath(named or ".").replace(os.sep, "/")


def _walk(base: str, inner: str, prefix: str, problems: list[Problem]) -> Iterator[str]:
    """Names of manifests in order; folders that are symlinks or other repositories are refused, not entered."""
    try:
        entries = sorted(os.scandir(os.path.join(base, inner)), key=lambda entry: entry.name)
    except OSError as error:
        problems.append(refused(prefix, inner, "Unreadable", f"expected a readable folder: {error.strerror}"))
        return
    for entry in entries:
        name = f"{inner}/{entry.name}".removeprefix("/")
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            if os.path.lexists(os.path.join(entry.path, ".git")):
                message = "expected a folder of this repository, got another repository"
                problems.append(refused(prefix, name, "NestedRepository", message))
            else:
                yield from _walk(base, name, prefix, problems)
        elif entry.name.endswith(ENDINGS):
            yield name
        elif entry.is_symlink() and entry.is_dir():  # guard: a linked folder is not entered
            message = "expected a folder, got a symbolic link"
            problems.append(refused(prefix, name, "SymlinkRefused", message, "put the manifests in this folder"))


def _read(path: str, limit: int) -> bytes:
    """The bytes of a plain file. Checked by name before it is opened (opening a FIFO or a device can block or act), and
    again on what was opened, because the name may have changed hands in between."""
    try:
        if not os.path.basename(path).isprintable():
            raise _Unread("FileName", "expected a printable file name")
        _check(os.lstat(path), limit)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _Unread("Unreadable", f"expected a readable file: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        _check(os.fstat(descriptor), limit)
        return file.read(limit + 1)


def _check(status: os.stat_result, limit: int) -> None:
    if stat.S_ISLNK(status.st_mode):  # guard: a linked manifest is not read
        raise _Unread("SymlinkRefused", "expected a file, got a symbolic link", "put the file itself here")
    if not stat.S_ISREG(status.st_mode):  # guard: a device is not opened
        raise _Unread("NotAFile", "expected a file, got a pipe, a device or a socket")
    if status.st_nlink > 1:  # guard: a hard link is not read
        raise _Unread("HardLinkRefused", "expected a file of its own, got a hard link", "copy it (cp), then replace it")
    if status.st_size > limit:  # guard: a large manifest is not read
        raise _Unread("FileTooLarge", f"expected at most {limit // 1024} KiB, got {status.st_size:,} bytes")


def refused(prefix: str, name: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(
        code=code, file=printable("/".join(part for part in (prefix, name) if part)), message=message, hint=hint
    )


class DiskAnswers:
    """Answers what a parse asks about the disk, and keeps the answers: places by path, digests of files by path (None:
    it could not be read)."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.files: dict[str, str | None] = {}

    def place(self, path: str) -> Place:
        real = os.path.realpath(path)
        self.places[path] = Place(path=real, kind=_kind(real))
        return self.places[path]

    def read(self, path: str) -> bytes | None:
        try:
            data = _read(path, limit_of(path))
        except _Unread:
            self.files[path] = None
            return None
        self.files[path] = digest.of_bytes(data)
        return data


def limit_of(path: str) -> int:
    """Of a file that manifests lead to: a template, or the lock."""
    return LOCK_BYTES if os.path.basename(path) == LOCK_NAME else MAX_BYTES


def _kind(path: str) -> str:
    try:
        path.encode()  # a name that is not UTF-8 could not be written into any record
        mode = os.stat(path).st_mode
    except UnicodeEncodeError:
        return "other"
    except OSError:
        return "missing"
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def interpret(found: FoundManifests, inputs: Inputs, disk: DiskAnswers) -> Parsed:
    """What `found` declares; `disk` answers what the parse asks, and keeps the answers."""
    checkout, *roots = inputs.roots
    with Renderer() as renderer:
        context = ParseContext(
            base=inputs.base,
            prefix=inputs.prefix,
            checkout=checkout,
            roots=tuple(roots),
            place=disk.place,
            read=disk.read,
            render=renderer.render_fixture,
        )
        result = parse(found.files, context)
    if not (found.files or found.problems):
        result = replace(result, warnings=(*result.warnings, _nothing(inputs.prefix)))
    return replace(
        result,
        revision=replace(inputs, files=disk.files).revision,
        problems=tuple(sorted((*found.problems, *result.problems), key=lambda p: (p.file, p.line))),
    )


def _nothing(prefix: str) -> Problem:
    hint = "--path names the folder with your manifests; what it no longer declares would be pruned"
    return refused(prefix or ".", "", "NoManifests", "expected manifests (*.yaml, *.yml), found none", hint)
