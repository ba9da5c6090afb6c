"""Read a folder of manifests from disk and parse it. A daemon keeps the last parse in memory (`ParseCache`).

Files are opened by name without following symlinks and only when they are plain, small and the only name of their
bytes: a manifest comes from git, and git makes nothing else. Every refusal is a Problem beside the others.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from reconciler.domain import digest
from reconciler.domain.errors import InputRefused, Problem, UsageError
from reconciler.domain.sources.locked import LOCK_BYTES, LOCK_NAMES
from reconciler.domain.text.quoting import printable
from reconciler.host.stamps import StampBook
from reconciler.manifests.documents.reading import FileReader
from reconciler.manifests.manifest_text import MANIFEST_BYTES, is_manifest
from reconciler.manifests.parse import parse
from reconciler.manifests.parsed import Parsed, Place
from reconciler.manifests.paths import ParseContext, inside
from reconciler.sources.ignored import IGNORE_BYTES, IGNORE_NAME, Ignores, ignores, nothing_ignored
from reconciler.sources.imported import MARK, mark_above
from reconciler.templates.renderer import Renderer

MAX_FILES = 10_000


@dataclass(frozen=True, kw_only=True)
class FoundManifests:
    """The manifests of one folder, by path relative to it with forward slashes, and what was refused."""

    files: Mapping[str, bytes]
    problems: tuple[Problem, ...]

    @cached_property
    def digests(self) -> dict[str, str | None]:
        return {name: digest.of_bytes(data) for name, data in self.files.items()}


@dataclass(kw_only=True)
class DiskAnswers:
    """Answers what a parse asks about the disk, and keeps the answers: places by path, digests of files by path (None:
    it could not be read). The files are templates, fixtures, golden prompts and the lock file."""

    places: dict[str, Place] = field(default_factory=dict)
    files: dict[str, str | None] = field(default_factory=dict)

    def hold(self) -> bool:
        """Whether the disk gives the same answers now."""
        now = DiskAnswers()
        for path in self.places:
            now.place(path)
        for path in self.files:
            now.read(path)
        return now == self

    def place(self, path: str) -> Place:
        real = os.path.realpath(path)
        self.places[path] = Place(path=real, kind=_kind(real))
        return self.places[path]

    def read(self, path: str) -> bytes | None:
        try:
            data = _read(path, limit_of(path))
        except InputRefused:
            self.files[path] = None
            return None
        self.files[path] = digest.of_bytes(data)
        return data


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All that a parse read below the checkout, by its path there. `folder` is that of the manifests; `folders` are
    where model folders and adapters lie on this disk; `outside` is what lies elsewhere."""

    folder: str
    files: Mapping[str, bytes]
    folders: Mapping[str, str]
    outside: tuple[str, ...]


def gather(found: FoundManifests, base: str, checkout: str, disk: DiskAnswers) -> Gathered:
    """After `interpret`, which asked `disk`."""
    folder = below(base, checkout)
    files = {f"{folder}/{name}".removeprefix("/"): data for name, data in found.files.items()}
    for path in [one for one in disk.files if inside(one, checkout)]:
        if (data := disk.read(path)) is not None:
            files[below(path, checkout)] = data
    folders = {path: place.path for path, place in disk.places.items() if place.kind == "folder"}
    return Gathered(
        folder=folder,
        files=files,
        folders={below(asked, checkout): path for asked, path in folders.items() if inside(asked, checkout)},
        outside=tuple(sorted(one for one in {*folders, *disk.files} if not inside(one, checkout))),
    )


def below(path: str, checkout: str) -> str:
    """Relative to the checkout, with forward slashes; "" for itself."""
    relative = os.path.relpath(path, checkout).replace(os.sep, "/")
    return "" if relative == "." else relative


class ParseCache:
    """The last parse of one folder, kept in memory by a process that reads the folder again and again.

    It holds while every manifest has the stamp it had, and every question that the parse asked about the disk has the
    same answer: a stat for each, and no byte of a manifest is read. A parse with problems is not kept.
    """

    def __init__(self) -> None:
        self._stamps = StampBook.empty()
        self._folder: tuple[str, tuple[str, ...]] = "", ()
        self._manifests: Mapping[str, str | None] = {}
        self._disk = DiskAnswers()
        self._parsed: Parsed | None = None

    def get(self, base: str, roots: tuple[str, ...], names: Iterable[str]) -> Parsed | None:
        if self._parsed is None or self._folder != (base, roots):
            return None
        if {name: self._digest(os.path.join(base, name)) for name in names} != self._manifests:
            return None
        return self._parsed if self._disk.hold() else None

    def put(self, base: str, roots: tuple[str, ...], found: FoundManifests, disk: DiskAnswers, parsed: Parsed) -> None:
        self._folder, self._manifests, self._disk = (base, roots), found.digests, disk
        self._parsed = None if parsed.problems else parsed
        for name in found.files:
            with contextlib.suppress(OSError):  # a file that is changing right now is read again
                self._stamps.digest(os.path.join(base, name))

    def _digest(self, path: str) -> str | None:
        try:
            status = os.lstat(path)
            _check(status, MANIFEST_BYTES)
        except (OSError, InputRefused):
            return None
        return self._stamps.remembered(status)


def load(path: str, *, allowed_roots: tuple[str, ...] = (), cache: ParseCache | None = None) -> Parsed:
    """What the manifests at `path` (a folder, or one file) declare.

    Paths in manifests may not leave the git checkout that holds them, except into `allowed_roots`.
    """
    return _loaded(path, allowed_roots, cache)[0]


def load_and_gather(path: str, *, allowed_roots: tuple[str, ...] = ()) -> tuple[Parsed, Gathered]:
    """The same, with all that was read for it."""
    parsed, gathered = _loaded(path, allowed_roots, None)
    assert gathered is not None
    return parsed, gathered


def _loaded(path: str, allowed_roots: tuple[str, ...], cache: ParseCache | None) -> tuple[Parsed, Gathered | None]:
    base, prefix, only = _folder(path)
    roots = (checkout_of(base), *(os.path.realpath(root) for root in allowed_roots))
    problems: list[Problem] = []
    names = [only] if only else list(_walk(base, "", prefix, _ignores(base, prefix, problems), problems))
    if cache is not None and not problems and (known := cache.get(base, roots, names)):
        return known, None
    found = read_manifests(base, names, prefix, problems)
    disk = DiskAnswers()
    parsed = _as_imported(interpret(found, base, prefix, roots, disk), base)
    if cache is not None:
        cache.put(base, roots, found, disk, parsed)
        return parsed, None
    return parsed, gather(found, base, roots[0], disk)


def _as_imported(parsed: Parsed, base: str) -> Parsed:
    """What was imported and is as it came has the revision of its commit."""
    mark = mark_above(base)
    if mark is None or mark.declared != parsed.revision:
        return parsed
    return replace(parsed, revision=mark.revision)


def read_manifests(base: str, names: Iterable[str], prefix: str, problems: list[Problem]) -> FoundManifests:
    """The files of those names below `base`. `problems` are those of the search for them."""
    files: dict[str, bytes] = {}
    problems = [*problems]
    for name in names:
        if len(files) == MAX_FILES:
            problems.append(refused(prefix, "", "TooManyFiles", f"expected at most {MAX_FILES:,} manifests"))
            break
        try:
            files[name] = _read(os.path.join(base, name), MANIFEST_BYTES)
        except InputRefused as refusal:
            problems.append(refused(prefix, name, refusal.code, str(refusal), refusal.hint))
    return FoundManifests(files=files, problems=tuple(problems))


def checkout_of(folder: str) -> str:
    """The top of the git checkout, or of the import, that holds `folder` (absolute); the folder's parent where there is
    none."""
    above = (folder, *map(str, Path(folder).parents))
    tops = (one for one in above if any(os.path.lexists(os.path.join(one, name)) for name in (".git", MARK)))
    return next(tops, os.path.dirname(folder))


def _folder(path: str) -> tuple[str, str, str]:
    """The real folder, its name as people write it, and the one file to read in it ("" for all)."""
    if not os.path.lexists(path):
        hint = "pass the folder with your manifests (--path); `reconciler demo` shows a small one"
        raise UsageError(f"there is no folder {path}", hint=hint)
    named, only = (path, "") if os.path.isdir(path) else os.path.split(path)
    return os.path.realpath(named or "."), os.path.normpath(named or ".").replace(os.sep, "/"), only


def _ignores(base: str, prefix: str, problems: list[Problem]) -> Ignores:
    """Nothing where the file is wrong: what it should leave out is then a problem, and nothing is pruned."""
    path = os.path.join(base, IGNORE_NAME)
    try:
        return ignores(_read(path, IGNORE_BYTES)) if os.path.lexists(path) else nothing_ignored
    except InputRefused as refusal:
        problems.append(refused(prefix, IGNORE_NAME, refusal.code, str(refusal), refusal.hint))
        return nothing_ignored


def _walk(base: str, inner: str, prefix: str, ignored: Ignores, problems: list[Problem]) -> Iterator[str]:
    """Names of manifests in order; folders that are symlinks or other repositories are refused, not entered."""
    try:
        entries = sorted(os.scandir(os.path.join(base, inner)), key=lambda entry: entry.name)
    except OSError as error:
        problems.append(refused(prefix, inner, "Unreadable", f"expected a readable folder: {error.strerror}"))
        return
    for entry in entries:
        name = f"{inner}/{entry.name}".removeprefix("/")
        if entry.name.startswith(".") or ignored(f"{name}/" if entry.is_dir(follow_symlinks=False) else name):
            continue
        if entry.is_dir(follow_symlinks=False):
            if os.path.lexists(os.path.join(entry.path, ".git")):
                message = "expected a folder of this repository, got another repository"
                problems.append(refused(prefix, name, "NestedRepository", message))
            else:
                yield from _walk(base, name, prefix, ignored, problems)
        elif is_manifest(entry.name):
            yield name
        elif entry.is_symlink() and entry.is_dir():  # guard: a linked folder is not entered
            message = "expected a folder, got a symbolic link"
            problems.append(refused(prefix, name, "SymlinkRefused", message, "put the manifests in this folder"))


def _read(path: str, limit: int) -> bytes:
    """The bytes of a plain file. Checked by name before it is opened (opening a FIFO or a device can block or act), and
    again on what was opened, because the name may have changed hands in between."""
    try:
        if not os.path.basename(path).isprintable():
            raise InputRefused("FileName", "expected a printable file name")
        _check(os.lstat(path), limit)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except OSError as error:
        raise InputRefused("Unreadable", f"expected a readable file: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        _check(os.fstat(descriptor), limit)
        return file.read(limit + 1)


def _check(status: os.stat_result, limit: int) -> None:
    if stat.S_ISLNK(status.st_mode):  # guard: a linked manifest is not read
        raise InputRefused("SymlinkRefused", "expected a file, got a symbolic link", "put the file itself here")
    if not stat.S_ISREG(status.st_mode):  # guard: a device is not opened
        raise InputRefused("NotAFile", "expected a file, got a pipe, a device or a socket")
    if status.st_nlink > 1:  # guard: a hard link is not read
        raise InputRefused(
            "HardLinkRefused", "expected a file of its own, got a hard link", "copy it (cp), then replace it"
        )
    if status.st_size > limit:  # guard: a large manifest is not read
        raise InputRefused("FileTooLarge", f"expected at most {limit // 1024} KiB, got {status.st_size:,} bytes")


def refused(prefix: str, name: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(
        code=code, file=printable("/".join(part for part in (prefix, name) if part)), message=message, hint=hint
    )


def limit_of(path: str) -> int:
    """Of a file that manifests lead to: a template, or the lock and what belongs to it."""
    return LOCK_BYTES if os.path.basename(path) in LOCK_NAMES else MANIFEST_BYTES


def _kind(path: str) -> str:
    try:
        path.encode()  # a name that is not UTF-8 could not be written into any record
        mode = os.stat(path).st_mode
    except UnicodeEncodeError:
        return "other"
    except OSError:
        return "missing"
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def interpret(
    found: FoundManifests,
    base: str,
    prefix: str,
    roots: tuple[str, ...],
    disk: DiskAnswers,
    reader: FileReader | None = None,
) -> Parsed:
    """What `found` declares; `disk` answers what the parse asks. The first of `roots` is the checkout. Whoever has more
    than one version to interpret gives one `reader` for all.

    The revision names the declarations alone: neither where they lie nor what else is on the disk."""
    with Renderer() as renderer:
        context = ParseContext(
            base=base,
            prefix=prefix,
            checkout=roots[0],
            roots=roots[1:],
            place=disk.place,
            read=disk.read,
            render=renderer.render_fixture,
        )
        result = parse(found.files, context, reader)
    if not (found.files or found.problems):
        hint = "--path names the folder with your manifests; what it no longer declares would be pruned"
        message = "expected manifests (*.yaml, *.yml), found none"
        nothing = refused(prefix or ".", "", "NoManifests", message, hint)
        result = replace(result, warnings=(*result.warnings, nothing))
    declared = {"manifests": found.digests, "templates": sorted(one for one in disk.files.values() if one)}
    return replace(
        result,
        revision=f"folder@{digest.of_value(declared)}",
        texts={context.shown(name): data for name, data in found.files.items()},
        problems=tuple(sorted((*found.problems, *result.problems), key=lambda p: (p.file, p.line))),
    )
