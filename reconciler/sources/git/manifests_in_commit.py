"""What one commit holds: its manifests by the same rules, limits and problems as for a folder on disk
(`sources.manifests`), and the model folders that they name, all asked of git objects.

The repository is thought of as a folder on this disk, below which nothing is: paths in manifests are judged there by
the same code, and then looked up in the tree. For `diff` that folder is `CHECKOUT`; there, a folder outside the
repository, or one that the repository ignores, is not `known`.
"""

import hashlib
import io
import os
import re
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import IO

from reconciler.domain import digest
from reconciler.domain.errors import InputRefused, Problem
from reconciler.domain.sources import lfs_pointer
from reconciler.domain.sources.locked import GIT, LOCK_NAMES, LockedSource
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.source_model import COMPILED, ONNX_DATA, ONNX_GRAPH, SourceAdapter, SourceModel
from reconciler.domain.text.quoting import shown
from reconciler.manifests.documents.reading import FileReader
from reconciler.manifests.manifest_text import MANIFEST_BYTES, is_manifest
from reconciler.manifests.parsed import Parsed, Place
from reconciler.manifests.paths import inside
from reconciler.sources.folder.guarded_folder import Folder
from reconciler.sources.folder.model import look_at_adapter, look_at_source
from reconciler.sources.git.export import Exports
from reconciler.sources.git.objects import ABSENT, FILE, FOLDER, LINK, MISSING, REPOSITORY, Entry, Tree
from reconciler.sources.git.process import OutOfBounds
from reconciler.sources.ignored import IGNORE_BYTES, IGNORE_NAME, Ignores, ignores, nothing_ignored
from reconciler.sources.manifests import MAX_FILES, DiskAnswers, FoundManifests, below, interpret, limit_of, refused
from reconciler.sources.model_card import LARGEST, README, card_of
from reconciler.sources.protocol import CachedSource, described

# Stands for the top of the repository in paths: a name that no folder of a machine has.
CHECKOUT = os.path.join(os.sep, "git:")

SMALL = 1 << 20  # bytes: read at once, by the process that runs already
MOST_BYTES = 64 << 20  # of all manifests, and of templates that are read together
_OF_MODELS = (".safetensors", ONNX_GRAPH, *ONNX_DATA, ".json", ".jinja")
_HIDDEN = re.compile(r"(^|/)\.")


def read_manifests(tree: Tree, path: str) -> tuple[FoundManifests, str]:
    """Every manifest at `path` (a folder or one file), and the folder that they are in."""
    top = tree.at(path)
    if top.kind == FILE:
        folder, _, name = path.rpartition("/")
        return _read(tree, folder, [Entry(name=name, kind=FILE, object=top.object, size=top.size)]), folder
    if top.kind != FOLDER:
        found = "it is a symbolic link" if top.kind == LINK else "there is none"
        message = f"expected a folder of this name in the repository, but {found}"
        # A problem like others, because the next commit may bring it back.
        problem = refused("", path, "PathMissing", message, "--path is relative to the top of the repository")
        return FoundManifests(files={}, problems=(problem,)), path
    try:
        entries = tree.below(top)
    except OutOfBounds:
        message = f"expected at most {MAX_FILES:,} manifests, got more paths than can be listed"
        return FoundManifests(files={}, problems=(refused(path, "", "TooManyFiles", message),)), path
    ignored, problems = _ignores(tree, path, entries)
    visible = [one for one in entries if not (_HIDDEN.search(one.name) or ignored(one.name))]
    manifests = _read(tree, path, visible)
    return replace(manifests, problems=(*problems, *manifests.problems)), path


def _ignores(tree: Tree, path: str, entries: list[Entry]) -> tuple[Ignores, tuple[Problem, ...]]:
    """Nothing where the file is wrong: what it should leave out is then a problem, and nothing is pruned."""
    file = next((one for one in entries if one.name == IGNORE_NAME), None)
    if file is None:
        return nothing_ignored, ()
    if file.kind != FILE or file.size > IGNORE_BYTES:
        message = f"expected a plain file of at most {IGNORE_BYTES // 1024} KiB"
        return nothing_ignored, (refused(path, IGNORE_NAME, "IgnoreInvalid", message),)
    try:
        return ignores(tree.read([file])[file.object]), ()
    except InputRefused as refusal:
        return nothing_ignored, (refused(path, IGNORE_NAME, refusal.code, str(refusal)),)


def _read(tree: Tree, folder: str, entries: list[Entry]) -> FoundManifests:
    problems: list[Problem] = []
    wanted: list[Entry] = []
    for entry in entries:
        problem = _refusal(tree, folder, entry)
        if problem is not None:
            problems.append(problem)
        elif is_manifest(entry.name) and entry.kind in (FILE, ABSENT):  # an absent one is an error
            wanted.append(entry)
    if len(wanted) > MAX_FILES:
        problems.append(refused(folder, "", "TooManyFiles", f"expected at most {MAX_FILES:,} manifests"))
        del wanted[MAX_FILES:]
    if sum(entry.size for entry in wanted) > MOST_BYTES:
        message = f"expected at most {MOST_BYTES >> 20} MiB of manifests together"
        problems.append(refused(folder, "", "ManifestsTooLarge", message))
        wanted.clear()
    bytes_of = tree.read(wanted)
    return FoundManifests(files={entry.name: bytes_of[entry.object] for entry in wanted}, problems=tuple(problems))


def _refusal(tree: Tree, folder: str, entry: Entry) -> Problem | None:
    if entry.kind == REPOSITORY:  # guard: a submodule is no folder
        message = "expected a folder of this repository, got another repository (a submodule)"
        return refused(folder, entry.name, "NestedRepository", message)
    if entry.kind == LINK:  # guard: a link in git is no manifest
        return _link_refusal(tree, folder, entry)
    if not is_manifest(entry.name):
        return None
    if not entry.name.isprintable():
        return refused(folder, entry.name, "FileName", "expected a printable file name")
    if entry.size > MANIFEST_BYTES:
        message = f"expected at most {MANIFEST_BYTES // 1024} KiB, got {entry.size:,} bytes"
        return refused(folder, entry.name, "FileTooLarge", message)
    return None


def _link_refusal(tree: Tree, folder: str, entry: Entry) -> Problem | None:
    """A link to a plain file that is no manifest is ignored; any other could hide manifests."""
    if is_manifest(entry.name):
        message = "expected a file, got a symbolic link"
        return refused(folder, entry.name, "SymlinkRefused", message, "put the file itself here")
    if tree.leads_to(entry, f"{folder}/{entry.name}".strip("/")).kind != FILE:
        message = "expected a folder, got a symbolic link"
        return refused(folder, entry.name, "SymlinkRefused", message, "put the manifests in this folder")
    return None


class GitDisk(DiskAnswers):
    """`checkout` is where the repository would lie if it were a folder. Model folders that manifests name are exported
    when they are asked for, and a place is then where the files are.

    Without `exports` the disk is never asked: it would show the author of a manifest what exists there. What is outside
    the repository, or ignored by it, is `unknown`: neither right nor wrong."""

    def __init__(self, tree: Tree, checkout: str, exports: Exports | None) -> None:
        super().__init__()
        self._tree, self._checkout, self._exports = tree, checkout, exports
        self._bytes: dict[str, bytes] = {}  # by object
        self._kept = 0  # bytes of them

    def place(self, path: str) -> Place:
        if inside(path, self._checkout):
            self.places[path] = self._place(path)
        elif self._exports is None:
            self.places[path] = Place(path=path, kind="unknown")
        else:
            return super().place(path)
        return self.places[path]

    def folders(self) -> dict[str, tuple[Entry, str]]:
        """What was exported, by its path, and how the repository calls it."""
        asked = {place.path: path for path, place in self.places.items() if place.kind == "folder"}
        names = {place: below(path, self._checkout) for place, path in asked.items() if inside(path, self._checkout)}
        return {place: (self._tree.at(name), name) for place, name in names.items()}

    def read(self, path: str) -> bytes | None:
        if not inside(path, self._checkout):
            return super().read(path) if self._exports is not None else None
        entry = self._tree.at(below(path, self._checkout))
        fits = entry.kind == FILE and entry.size <= limit_of(path)
        data = self._bytes_of(entry, os.path.dirname(below(path, self._checkout))) if fits else None
        self.files[path] = digest.of_bytes(data) if data is not None else None
        return data

    def _bytes_of(self, entry: Entry, folder: str) -> bytes:
        """Where one template lies there are more: one git process reads them all."""
        if entry.object not in self._bytes:
            small = (
                one
                for one in self._tree.children(self._tree.at(folder))
                if one.kind == FILE and one.size <= MANIFEST_BYTES
            )
            beside = [one for one in small if not is_manifest(one.name)]
            few = sum(one.size for one in beside) <= MOST_BYTES
            if self._kept > MOST_BYTES:  # what was read ahead is read again, if at all
                self._bytes, self._kept = {}, 0
            found = self._tree.read([entry, *(beside if few else ())])
            self._bytes |= found
            self._kept += sum(map(len, found.values()))
        return self._bytes[entry.object]

    def _place(self, path: str) -> Place:
        entry = self._tree.at(below(path, self._checkout))
        if entry.kind == LINK:
            message = f"expected a file or folder, but {shown(entry.name)} is a symbolic link"
            raise InputRefused("SymlinkRefused", message, "put the file itself there")
        if entry.kind == REPOSITORY:
            message = f"expected a folder of this repository, but {shown(entry.name)} is another one (a submodule)"
            raise InputRefused("NestedRepository", message)
        if entry.kind == FOLDER:
            return Place(path=self._exports.export(self._tree, entry) if self._exports else path, kind="folder")
        if entry.kind != MISSING:
            return Place(path=path, kind="file")
        may_be_elsewhere = self._exports is None and os.path.basename(path) not in LOCK_NAMES
        return Place(path=path, kind="unknown" if may_be_elsewhere else "missing")


def read_commit(tree: Tree, path: str, roots: tuple[str, ...] = (), reader: FileReader | None = None) -> Parsed:
    """What a commit declares. `roots` are folders that the operator of the machines allows, by absolute path; one
    `reader` reads once what several commits share."""
    found, folder = read_manifests(tree, path)
    base = os.path.normpath(os.path.join(CHECKOUT, folder))
    return interpret(found, base, folder, (CHECKOUT, *roots), GitDisk(tree, CHECKOUT, None), reader)


class InCommit:
    """`ModelFolders` of one commit, for `diff`."""

    def __init__(self, tree: Tree, *, exact: bool, seen: dict[str, SourceModel]) -> None:
        self._tree, self._exact, self._seen = tree, exact, seen

    def source(self, path: str, *, ready: bool = False) -> SourceModel:
        entry = self._entry(path)
        if entry is None:
            return SourceModel(path=path, digest=f"unknown:{path}", known=False, ready=ready)
        key = f"{entry.object} ready" if ready else entry.object
        if key not in self._seen:
            self._seen[key] = self._source(path, entry, ready=ready)
        return self._seen[key]

    def adapter(self, path: str) -> SourceAdapter:
        entry = self._entry(path)
        if entry is None:
            return SourceAdapter(path=path, digest=f"unknown:{path}", known=False)
        folder = GitFolder(path, self._tree, entry, exact=self._exact)
        if folder.lies_elsewhere():
            return SourceAdapter(path=path, digest=f"git:{entry.object}", known=False)
        return look_at_adapter(folder)

    def locked(self, source: LockedSource) -> CachedSource:
        """Nothing is fetched to compare commits: it counts as new to every machine. What is known of one in git was
        read in this commit."""
        return CachedSource(model=described(source) if source.kind == GIT else None, missing=source.size)

    def card(self, path: str) -> ModelCard | None:
        data = self.file(path, README, LARGEST)
        return card_of(data) if data is not None else None

    def file(self, folder: str, name: str, limit: int) -> bytes | None:
        """A small file of a model folder, if it is there."""
        entry = self._entry(folder)
        found = GitFolder(folder, self._tree, entry, exact=False).entry(name) if entry else None
        if found is None or found.kind != FILE or found.size > limit:
            return None
        return self._tree.read([found])[found.object]

    def tree_of(self, path: str) -> str:
        """The name of the tree that a folder is, "" outside the repository."""
        entry = self._entry(path)
        return entry.object if entry else ""

    def _source(self, path: str, entry: Entry, *, ready: bool) -> SourceModel:
        folder = GitFolder(path, self._tree, entry, exact=self._exact)
        if folder.lies_elsewhere(ready=ready):
            return SourceModel(path=path, digest=f"git:{entry.object}", known=False, ready=ready)
        return look_at_source(folder, ready=ready)

    def at(self, path: str) -> tuple[Entry, str] | None:
        """The folder at a path, and how the repository calls it; None for what is no folder of it."""
        entry = self._entry(path)
        return (entry, below(path, CHECKOUT)) if entry else None

    def _entry(self, path: str) -> Entry | None:
        if not inside(path, CHECKOUT):
            return None
        entry = self._tree.at(below(path, CHECKOUT))
        return entry if entry.kind == FOLDER else None


class GitFolder(Folder):
    """With `exact` a file has the digest of its bytes; without, the name of its object will do: it costs nothing, and
    is equal where the bytes are."""

    def __init__(self, path: str, tree: Tree, entry: Entry, *, exact: bool) -> None:
        super().__init__(path)
        self._tree, self._exact = tree, exact
        self._files = {one.name: one for one in tree.children(entry)}

    def entry(self, name: str) -> Entry:
        return self._files.get(name, Entry(name=name, kind=MISSING))

    def refusal(self, missing: str) -> None:
        """It was found in the tree."""

    def names(self) -> list[str]:
        return sorted(self._files)

    def exists(self, name: str) -> bool:
        return name in self._files

    def size(self, name: str) -> int:
        entry = self.entry(name)
        if entry.kind == LINK:
            message = "a symbolic link, which is not followed in git"
            raise InputRefused("LinkLeadsOut", message, "put the file itself there")
        if entry.kind != FILE:
            raise InputRefused("NotAFile", "expected a regular file")
        return entry.size

    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        entry = self.entry(name)
        if entry.size <= SMALL:
            return io.BytesIO(self._tree.read([entry])[entry.object])
        return self._tree.opened(entry)

    def digest(self, name: str) -> str:
        if not self._exact:
            return f"git:{self.entry(name).object}"
        with self.opened(name) as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]  # a pipe can readinto

    def lies_elsewhere(self, *, ready: bool = False) -> bool:
        """Git LFS keeps files elsewhere, and here is only what they hash to; a partial clone leaves them out."""
        if any(one.kind == ABSENT for one in self._files.values()):
            return True
        small = [one for one in self._files.values() if one.kind == FILE and 0 < one.size < lfs_pointer.LONGEST]
        endings = (*_OF_MODELS, *(COMPILED if ready else ()))  # of other folders nobody reads a .bin
        held = self._tree.read(one for one in small if one.name.endswith(endings))
        return any(map(lfs_pointer.is_pointer, held.values()))
