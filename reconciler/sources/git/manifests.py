"""The manifests of one commit, and what they name: the same rules, limits and problems as for a folder on disk
(`sources.manifests`), asked of git objects.

The repository is thought of as a folder on this disk, below which nothing is: paths in manifests are judged there by
the same code, and then looked up in the tree.
"""

import os
import re

from reconciler.domain import digest
from reconciler.domain.errors import InputRefused, Problem
from reconciler.domain.sources.locked import LOCK_NAME
from reconciler.domain.text.quoting import shown
from reconciler.manifests.parsed import Place
from reconciler.manifests.paths import inside
from reconciler.sources.git.export import Exports
from reconciler.sources.git.objects import FILE, FOLDER, LINK, MISSING, REPOSITORY, Entry, Tree
from reconciler.sources.git.process import OutOfBounds
from reconciler.sources.manifests import ENDINGS, MAX_BYTES, MAX_FILES, DiskAnswers, FoundManifests, limit_of, refused

MOST_BYTES = 64 << 20
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
        visible = [entry for entry in tree.below(top) if not _HIDDEN.search(entry.name)]
    except OutOfBounds:
        message = f"expected at most {MAX_FILES:,} manifests, got more paths than can be listed"
        return FoundManifests(files={}, problems=(refused(path, "", "TooManyFiles", message),)), path
    return _read(tree, path, visible), path


def _read(tree: Tree, folder: str, entries: list[Entry]) -> FoundManifests:
    problems: list[Problem] = []
    wanted: list[Entry] = []
    for entry in entries:
        problem = _refusal(tree, folder, entry)
        if problem is not None:
            problems.append(problem)
        elif entry.name.endswith(ENDINGS) and entry.kind == FILE:
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
    if not entry.name.endswith(ENDINGS):
        return None
    if not entry.name.isprintable():
        return refused(folder, entry.name, "FileName", "expected a printable file name")
    if entry.size > MAX_BYTES:
        message = f"expected at most {MAX_BYTES // 1024} KiB, got {entry.size:,} bytes"
        return refused(folder, entry.name, "FileTooLarge", message)
    return None


def _link_refusal(tree: Tree, folder: str, entry: Entry) -> Problem | None:
    """A link to a plain file that is no manifest is ignored; any other could hide manifests."""
    if entry.name.endswith(ENDINGS):
        message = "expected a file, got a symbolic link"
        return refused(folder, entry.name, "SymlinkRefused", message, "put the file itself here")
    if tree.leads_to(entry, f"{folder}/{entry.name}".strip("/")).kind != FILE:
        message = "expected a folder, got a symbolic link"
        return refused(folder, entry.name, "SymlinkRefused", message, "put the manifests in this folder")
    return None


def _may_be_template(entry: Entry) -> bool:
    return entry.kind == FILE and entry.size <= MAX_BYTES and not entry.name.endswith(ENDINGS)


class GitDisk(DiskAnswers):
    """`checkout` is where the repository would lie if it were a folder. Model folders that manifests name are exported
    when they are asked for, and a place is then where the files are.

    Without `exports` the disk is never asked: it would show the author of a manifest what exists there. What is outside
    the repository, or ignored by it, is `unknown`: neither right nor wrong."""

    def __init__(self, tree: Tree, checkout: str, exports: Exports | None) -> None:
        super().__init__()
        self._tree, self._checkout, self._exports = tree, checkout, exports
        self._bytes: dict[str, bytes] = {}  # by object

    def place(self, path: str) -> Place:
        if inside(path, self._checkout):
            self.places[path] = self._place(path)
        elif self._exports is None:
            self.places[path] = Place(path=path, kind="unknown")
        else:
            return super().place(path)
        return self.places[path]

    def read(self, path: str) -> bytes | None:
        if not inside(path, self._checkout):
            return super().read(path) if self._exports is not None else None
        entry = self._tree.at(self._inner(path))
        fits = entry.kind == FILE and entry.size <= limit_of(path)
        data = self._bytes_of(entry, os.path.dirname(self._inner(path))) if fits else None
        self.files[path] = digest.of_bytes(data) if data is not None else None
        return data

    def _bytes_of(self, entry: Entry, folder: str) -> bytes:
        """Where one template lies there are more: one git process reads them all."""
        if entry.object not in self._bytes:
            beside = [one for one in self._tree.children(self._tree.at(folder)) if _may_be_template(one)]
            few = sum(one.size for one in beside) <= MOST_BYTES
            self._bytes |= self._tree.read([entry, *(beside if few else ())])
        return self._bytes[entry.object]

    def _place(self, path: str) -> Place:
        entry = self._tree.at(self._inner(path))
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
        may_be_elsewhere = self._exports is None and os.path.basename(path) != LOCK_NAME
        return Place(path=path, kind="unknown" if may_be_elsewhere else "missing")

    def _inner(self, path: str) -> str:
        relative = os.path.relpath(path, self._checkout).replace(os.sep, "/")
        return "" if relative == "." else relative
