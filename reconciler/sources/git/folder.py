"""A commit as `diff` reads it: manifests, templates and model folders, straight from objects. A folder outside the
repository, or one that the repository ignores, is not `known`."""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from typing import IO

from reconciler.domain.errors import InputRefused
from reconciler.domain.sources.locked import LockedSource
from reconciler.domain.sources.source_model import SourceAdapter, SourceModel
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.paths import inside
from reconciler.sources.folder.adapter import look_at_adapter
from reconciler.sources.folder.guarded_folder import Folder, special_tokens
from reconciler.sources.folder.model import look_at_source
from reconciler.sources.git.manifests import GitDisk, read_manifests
from reconciler.sources.git.objects import FILE, FOLDER, LINK, MISSING, Entry, Tree
from reconciler.sources.manifests import interpret
from reconciler.sources.protocol import CachedSource

# Stands for the top of the repository in paths: a name that no folder of a machine has.
CHECKOUT = os.path.join(os.sep, "git:")

SMALL = 1 << 20  # bytes: read at once, by the process that runs already
_LFS = b"version https://git-lfs.github.com/spec/"


def read_commit(tree: Tree, path: str, roots: tuple[str, ...] = ()) -> Parsed:
    """What a commit declares. `roots` are folders that the operator of the machines allows, by absolute path."""
    found, folder = read_manifests(tree, path)
    base = os.path.normpath(os.path.join(CHECKOUT, folder))
    return interpret(found, base, folder, (CHECKOUT, *roots), GitDisk(tree, CHECKOUT, None))


class InCommit:
    """Model and adapter folders of one commit, as a resolver asks for them."""

    def __init__(self, tree: Tree, *, exact: bool, seen: dict[str, SourceModel]) -> None:
        self._tree, self._exact, self._seen = tree, exact, seen

    def source(self, path: str) -> SourceModel:
        entry = self._entry(path)
        if entry is None:
            return SourceModel(path=path, digest=f"unknown:{path}", known=False)
        if entry.object not in self._seen:
            self._seen[entry.object] = self._source(path, entry)
        return self._seen[entry.object]

    def adapter(self, path: str) -> SourceAdapter:
        entry = self._entry(path)
        if entry is None:
            return SourceAdapter(path=path, digest=f"unknown:{path}")
        return look_at_adapter(GitFolder(path, self._tree, entry, exact=self._exact))

    def special_tokens(self, path: str) -> frozenset[str] | None:
        entry = self._entry(path)
        return special_tokens(GitFolder(path, self._tree, entry, exact=False)) if entry else None

    def locked(self, source: LockedSource) -> CachedSource:
        """Nothing is fetched to compare commits: it counts as new to every machine."""
        return CachedSource(model=None, missing=source.size)

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

    def _source(self, path: str, entry: Entry) -> SourceModel:
        folder = GitFolder(path, self._tree, entry, exact=self._exact)
        if folder.has_pointers():
            return SourceModel(path=path, digest=f"git:{entry.object}", known=False)
        return look_at_source(folder)

    def _entry(self, path: str) -> Entry | None:
        if not inside(path, CHECKOUT):
            return None
        entry = self._tree.at(os.path.relpath(path, CHECKOUT).replace(os.sep, "/"))
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

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        entry = self.entry(name)
        if entry.size <= SMALL:
            yield io.BytesIO(self._tree.read([entry])[entry.object])
            return
        with self._tree.opened(entry) as file:
            yield file

    def digest(self, name: str) -> str:
        if not self._exact:
            return f"git:{self.entry(name).object}"
        with self.opened(name) as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]  # a pipe can readinto

    def has_pointers(self) -> bool:
        """git-lfs keeps the files elsewhere: here is only what they hash to."""
        small = [one for one in self._files.values() if one.kind == FILE and 0 < one.size < 1024]
        held = self._tree.read(one for one in small if one.name.endswith((".safetensors", ".json")))
        return any(data.startswith(_LFS) for data in held.values())
