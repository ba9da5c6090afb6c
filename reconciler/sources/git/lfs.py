"""Model folders of a commit of which Git LFS keeps files elsewhere. A pointer has sha256 and size, so such a folder is
a source that needs no lock file: each file is pinned by the tree, and comes from where the repository comes from
(`registry.lfs_source`). What its small files say is known before, where git has them itself.

Not followed, and refused by name as ever (`LfsPointer`): pointers of another form, and folders in which something else
is wrong. `.lfsconfig` is not read: an author does not choose which server a machine asks.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from reconciler.domain.errors import InputRefused, unless_we_fail
from reconciler.domain.manifest import Model
from reconciler.domain.sources.lfs_pointer import LONGEST, LfsPointer, is_pointer, read_pointer
from reconciler.domain.sources.locked import GIT, LockedFile, LockedSource, SourceFacts, is_safe
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.source_model import GENAI_CONFIG, INDEX, ONNX_DATA, ONNX_GRAPH
from reconciler.manifests.parsed import Parsed
from reconciler.sources.folder.model import look_without_weights
from reconciler.sources.git.address import has_lfs
from reconciler.sources.git.export import MOST_FILES
from reconciler.sources.git.manifests_in_commit import GitFolder
from reconciler.sources.git.objects import FILE, Entry, MirrorBroken, Tree
from reconciler.sources.model_card import LARGEST, README, card_of
from reconciler.sources.model_signature import NAME as SIGNATURE

CHUNK = 1 << 20
LONGEST_READ = 3600.0  # seconds for one file
MOST_READ = 256 << 20  # bytes that git holds beside pointers, where only commits are compared

_SAFETENSORS = ".safetensors"
_NOT_READ = (_SAFETENSORS, ONNX_GRAPH, *ONNX_DATA)  # a look without weights asks for their size alone
_NOT_HERE = "LfsNotFetched"  # never leaves this module

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
    pointers, and cannot be read."""

    def __init__(self, path: str, tree: Tree, entry: Entry) -> None:
        super().__init__(path, tree, entry, exact=True)
        self.pointers, self._others = pointers_among(tree, self._files.values())

    @property
    def plain_bytes(self) -> int:
        """Of what git holds itself."""
        return sum(one.size for one in self._files.values())

    def size(self, name: str) -> int:
        if name not in self.pointers:
            return super().size(name)
        if not name.endswith(_NOT_READ):
            raise InputRefused(_NOT_HERE, "kept by Git LFS")
        return self.pointers[name].size

    def digest(self, name: str) -> str:
        if name in self.pointers:
            return f"sha256:{self.pointers[name].oid}"
        entry, found = self.entry(name), hashlib.sha256()
        for piece in pieces_of(self._tree, entry):
            found.update(piece)
        return f"sha256:{found.hexdigest()}"

    def locked(self, source: LockedSource) -> LockedSource | None:
        """None where nothing of the model is elsewhere, or more is wrong with it than that."""
        taken = self._ready(source) if source.ready else self._convertible(source)
        if taken is None or taken.names.isdisjoint(self.pointers) or taken.names & self._others:
            return None
        if any(self.entry(one).kind != FILE for one in taken.names):
            return None
        signature = {SIGNATURE} & {name for name, one in self._files.items() if one.kind == FILE}
        files = tuple(self._file(name) for name in sorted(taken.names | signature))
        return replace(source, files=files, facts=taken.facts, card=self._card())

    def _ready(self, source: LockedSource) -> _Taken | None:
        names = frozenset(filter(source.includes, self.names()))
        return _Taken(names=names) if GENAI_CONFIG in names and any(one.endswith(ONNX_GRAPH) for one in names) else None

    def _convertible(self, source: LockedSource) -> _Taken | None:
        found = look_without_weights(self)
        if any(one.code != _NOT_HERE for one in found.problems):
            return None
        names = frozenset(filter(source.includes, self.names()))
        if found.problems:  # which files hold weights may stand in one that is not here
            more = self.names() if INDEX in self.pointers else ()
            return _Taken(names=names.union(one for one in more if one.endswith(_SAFETENSORS) and is_safe(one)))
        weights = tuple(one.path for one in found.files if one.path.endswith(_SAFETENSORS))
        if not all(map(is_safe, weights)):
            return None
        facts = SourceFacts(weights=weights, config=found.config, chat_template=found.chat_template)
        return _Taken(names=names.union(weights), facts=facts)

    def _file(self, name: str) -> LockedFile:
        pointer = self.pointers.get(name)
        size = pointer.size if pointer else self.entry(name).size
        return LockedFile(path=name, size=size, sha256=self.digest(name).removeprefix("sha256:"))

    def _card(self) -> ModelCard | None:
        entry = self.entry(README)
        if entry.kind != FILE or entry.size > LARGEST or README in self.pointers:
            return None
        return card_of(self._tree.read([entry])[entry.object])


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
