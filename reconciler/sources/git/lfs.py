"""Model folders of a commit of which Git LFS keeps files elsewhere. A pointer has sha256 and size, so such a folder is
a source that needs no lock file: each file is pinned by the tree, and comes from where the repository comes from
(`registry.lfs_source`). What its small files say is known before, where git has them itself.

Not followed, and refused by name as ever (`LfsPointer`): pointers of another form, and folders in which something else
is wrong. `.lfsconfig` is not read: an author does not choose which server a machine asks.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import IO

from reconciler.domain.errors import InputRefused, unless_we_fail
from reconciler.domain.manifest import Model
from reconciler.domain.sources.lfs_pointer import LONGEST, LfsPointer, is_pointer, read_pointer
from reconciler.domain.sources.locked import GIT, LockedFile, LockedSource, SourceFacts, is_safe
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.source_model import (
    COMPILED,
    GENAI_CONFIG,
    INDEX,
    ONNX_DATA,
    ONNX_GRAPH,
    SMALL_FILES,
    WEIGHTS,
)
from reconciler.manifests.parsed import Parsed
from reconciler.sources.folder.model import FolderParts, parts_without_weights
from reconciler.sources.folder.ready_onnx import parts_of_onnx
from reconciler.sources.folder.tokenizer_settings import TEMPLATE, TOKENIZER_CONFIG
from reconciler.sources.git.address import has_lfs
from reconciler.sources.git.export import MOST_FILES
from reconciler.sources.git.manifests_in_commit import SMALL, GitFolder
from reconciler.sources.git.objects import FILE, Entry, MirrorBroken, Tree
from reconciler.sources.model_card import LARGEST, README, card_of
from reconciler.sources.model_signature import NAME as SIGNATURE

CHUNK = 1 << 20
LONGEST_READ = 3600.0  # seconds for one file
MOST_READ = 256 << 20  # bytes that git holds beside pointers, where only commits are compared

_SAFETENSORS = ".safetensors"
_BY_SIZE = (_SAFETENSORS, ONNX_GRAPH, *ONNX_DATA, *COMPILED)  # the size of others is asked before they are read
_NOT_HERE = "LfsNotFetched"  # never leaves this module

MOST_HASHED = 20_000
# The sha256 of plain files by the name of their git object, whose bytes never change: each is hashed once in a process,
# because a repository is read with the lock of its mirror held.
_hashed: dict[str, str] = {}

# The folder at a path of a manifest, and its name in the repository; None for what is none of the commit.
FolderAt = Callable[[str], tuple[Entry, str] | None]


def with_lfs_sources(parsed: Parsed, tree: Tree, folder_at: FolderAt, address: str) -> Parsed:
    """With a `LockedSource` in the place of each such model folder. `address` is that of the repository; "" where it is
    not known, as for `diff`."""
    if address and not has_lfs(address):
        return parsed
    found = _Folders(tree, folder_at, address)
    models, half_read = (tuple(map(found.model, some)) for some in (parsed.models, parsed.half_read))
    return replace(parsed, models=models, half_read=half_read)


class _Folders:
    """Each is looked at once, however many models name it."""

    def __init__(self, tree: Tree, folder_at: FolderAt, address: str) -> None:
        self._tree, self._folder_at, self._address = tree, folder_at, address
        self._seen: dict[tuple[str, bool], LockedSource | None] = {}

    def model(self, model: Model) -> Model:
        if (remote := self._source(model.source_path, ready=model.ready)) is not None:
            model = replace(model, source_path="", remote=remote)
        if (original := self._source(model.original_path, ready=False)) is not None:
            model = replace(model, original_path="", original=original)
        return model

    def _source(self, path: str, *, ready: bool) -> LockedSource | None:
        if path and (path, ready) not in self._seen:
            # Where we fail the folder is taken as it is: its pointers are then refused by name.
            self._seen[path, ready] = unless_we_fail(partial(self._looked_at, path, ready=ready), lambda message: None)
        return self._seen.get((path, ready))

    def _looked_at(self, path: str, *, ready: bool) -> LockedSource | None:
        found = self._folder_at(path)
        if found is None:
            return None
        entry, name = found
        folder = PointedFolder(path, self._tree, entry)
        if not folder.pointers or (not self._address and folder.plain_bytes > MOST_READ):
            return None
        source = LockedSource(kind=GIT, repo=self._address, revision=entry.object, folder=name, ready=ready)
        return folder.locked(source)


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """The names of the files of a model, and what is known of it before they come."""

    names: frozenset[str]
    facts: SourceFacts | None = None


class PointedFolder(GitFolder):
    """A folder in git as it is once Git LFS has brought its files: those have the size and the digest of their
    pointers, and cannot be read: `lacking` are those that somebody wanted to read."""

    def __init__(self, path: str, tree: Tree, entry: Entry) -> None:
        super().__init__(path, tree, entry, exact=True)
        self.pointers, self._others = pointers_among(tree, self._files.values())
        self.lacking: set[str] = set()

    @property
    def plain_bytes(self) -> int:
        """Of what git holds itself."""
        return sum(one.size for one in self._files.values())

    def size(self, name: str) -> int:
        if name not in self.pointers:
            return super().size(name)
        if not name.endswith(_BY_SIZE):
            raise self._not_here(name)
        return self.pointers[name].size

    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        if name in self.pointers:
            raise self._not_here(name)
        entry = self.entry(name)
        return self._tree.opened(entry, LONGEST_READ) if entry.size > SMALL else super().opened(name)

    def _not_here(self, name: str) -> InputRefused:
        self.lacking.add(name)
        return InputRefused(_NOT_HERE, "kept by Git LFS")

    def digest(self, name: str) -> str:
        if name in self.pointers:
            return f"sha256:{self.pointers[name].oid}"
        entry = self.entry(name)
        return f"sha256:{_hashed.get(entry.object) or _remembered(self._tree, entry)}"

    def locked(self, source: LockedSource) -> LockedSource | None:
        """None where nothing of the model is elsewhere, or more is wrong with it than that."""
        taken = self._ready(source) if source.ready else self._convertible()
        if taken is None or taken.names.isdisjoint(self.pointers) or taken.names & self._others:
            return None
        if any(self.entry(one).kind != FILE for one in taken.names):
            return None
        files = tuple(self._file(name) for name in sorted(taken.names | self._signed(source)))
        return replace(source, files=files, facts=taken.facts, card=self._card())

    def _signed(self, source: LockedSource) -> set[str]:
        """The signature, and all that must be there where one covers it (`LockedSource.expects`)."""
        whole = {name for name, one in self._files.items() if one.kind == FILE} - self._others
        return {name for name in whole if name == SIGNATURE or source.includes(name)} if SIGNATURE in whole else set()

    def _ready(self, source: LockedSource) -> _Taken | None:
        found = parts_of_onnx(self)
        if any(one.code != _NOT_HERE for one in found.problems):
            return None
        if not any(one == GENAI_CONFIG or one.endswith(ONNX_GRAPH) for one in self.lacking):
            return _Taken(names=found.names)
        # What the graphs name is known once they are here: also what was compiled, whatever it is called.
        names = frozenset(one for one in self.names() if source.includes(one) or is_safe(one, COMPILED))
        return _Taken(names=names) if any(one.endswith(ONNX_GRAPH) for one in names) else None

    def _convertible(self) -> _Taken | None:
        found = parts_without_weights(self)
        if any(one.code != _NOT_HERE for one in found.problems):
            return None
        names = frozenset(filter(self.exists, SMALL_FILES))
        if INDEX in self.lacking:  # which files hold weights stands there
            weights = {one for one in self.names() if one.endswith(_SAFETENSORS) and is_safe(one)}
            return _Taken(names=names | weights | {INDEX})
        if not all(map(is_safe, found.weights)):
            return None
        index = () if WEIGHTS in found.weights else (INDEX,)
        return _Taken(names=names.union(found.weights, index), facts=self._facts(found))

    def _facts(self, found: FolderParts) -> SourceFacts | None:
        """The tokenizer is not among them: it may lie elsewhere."""
        template = TEMPLATE if self.exists(TEMPLATE) else TOKENIZER_CONFIG
        if self.lacking & {"config.json", template}:
            return None
        return SourceFacts(weights=found.weights, config=found.config, chat_template=found.template)

    def _file(self, name: str) -> LockedFile:
        pointer = self.pointers.get(name)
        size = pointer.size if pointer else self.entry(name).size
        return LockedFile(path=name, size=size, sha256=self.digest(name).removeprefix("sha256:"))

    def _card(self) -> ModelCard | None:
        entry = self.entry(README)
        if entry.kind != FILE or entry.size > LARGEST or README in self.pointers:
            return None
        return card_of(self._tree.read([entry])[entry.object])


def _remembered(tree: Tree, entry: Entry) -> str:
    found = hashlib.sha256()
    for piece in pieces_of(tree, entry):
        found.update(piece)
    if len(_hashed) >= MOST_HASHED:
        _hashed.clear()
    _hashed[entry.object] = found.hexdigest()
    return found.hexdigest()


def pieces_of(tree: Tree, entry: Entry) -> Iterator[bytes]:
    """All bytes of a file in git, however long that takes; raises MirrorBroken for fewer."""
    size = 0
    with tree.opened(entry, LONGEST_READ) as content:
        while piece := content.read(CHUNK):
            size += len(piece)
            yield piece
    if size != entry.size:
        raise MirrorBroken(f"git gave {size:,} of the {entry.size:,} bytes of {entry.object}")


def pointers_among(tree: Tree, entries: Iterable[Entry]) -> tuple[dict[str, LfsPointer], set[str]]:
    """The pointers by the name of their files, and the names of those whose form is another one."""
    small = [one for one in entries if one.kind == FILE and 0 < one.size < LONGEST]
    if len(small) > MOST_FILES:  # such a folder is no model
        return {}, set()
    held = tree.read(small)
    meant = {one.name: read_pointer(held[one.object]) for one in small if is_pointer(held[one.object])}
    return {name: one for name, one in meant.items() if one}, {name for name, one in meant.items() if not one}
