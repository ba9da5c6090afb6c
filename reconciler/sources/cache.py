"""Model folders on this disk: those that a manifest names, and those fetched from remote sources. A fetched one is a
folder below the root, named after the lock's digest of its files: it is written once and never changed, and any two
models that pin the same files share it.

    sources/hub/<sha256>/           whole: every file is what the lock says
    sources/hub/partial/<sha256>/   what has come so far; a later attempt goes on from there
    sources/hub/facts/<sha256>.json what a look at the whole folder found

The facts outlive the folder: a machine that holds an artifact knows its recipe, and needs the weights only to convert.
"""

import contextlib
import os
import stat
from dataclasses import replace

from reconciler.domain.errors import Problem
from reconciler.domain.layout import Layout
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.source_model import SourceAdapter, SourceModel
from reconciler.host import durable
from reconciler.host.reading import names_in, read_whole
from reconciler.host.stamps import StampBook
from reconciler.manifests.paths import inside
from reconciler.sources.download import PART
from reconciler.sources.facts import model_facts, read_adapter_facts, read_model_facts
from reconciler.sources.folder.model import inspect_adapter, inspect_source
from reconciler.sources.imported import ADAPTER_FACTS, MODEL_FACTS, hub_facts, imported_folder
from reconciler.sources.model_card import read_card
from reconciler.sources.model_signature import NAME as SIGNATURE
from reconciler.sources.protocol import CachedSource, described

_HEX = 64


class SourceCache:
    """Locked sources on this machine, of every kind. Reads need no lock; the other methods need the root's."""

    def __init__(self, layout: Layout) -> None:
        self.home = layout.at("sources", "hub")
        self._imported = imported_folder(layout)

    def folder(self, digest: str) -> str:
        return os.path.join(self.home, _hex(digest))

    def partial(self, digest: str) -> str:
        return os.path.join(self.home, "partial", _hex(digest))

    def look(self, source: LockedSource, stamps: StampBook) -> CachedSource:
        folder = self.folder(source.digest)
        if not os.path.isdir(folder):
            missing = max(source.size - self._have(source), 1)
            return CachedSource(model=self._recall(source.digest) or described(source, folder), missing=missing)
        damaged = tuple(file for file in source.files if not _is(file, folder, stamps))
        if not damaged:
            return CachedSource(model=_named(inspect_source(folder, stamps, ready=source.ready), source))
        missing, names = sum(file.size for file in damaged), tuple(file.path for file in damaged)
        return CachedSource(model=self._recall(source.digest), missing=missing, damaged=names)

    def held(self) -> dict[str, int]:
        """Bytes on disk by digest, also of what is only partly there. Nothing where a link leads elsewhere: what is
        held may be freed, and that may be another's."""
        if any(map(os.path.islink, (os.path.dirname(self.home), self.home))):
            return {}
        sizes: dict[str, int] = {}
        for home in (self.home, os.path.join(self.home, "partial")):
            for name in names_in(home):
                if len(name) == _HEX:
                    digest = f"sha256:{name}"
                    sizes[digest] = sizes.get(digest, 0) + sum(_sizes(os.path.join(home, name)).values())
        return sizes

    def begin(self, source: LockedSource) -> str:
        """The folder to download into; with what came earlier, also of a whole folder that was damaged since."""
        folder, partial = self.folder(source.digest), self.partial(source.digest)
        durable.make_folder(os.path.dirname(partial))
        if os.path.lexists(folder):
            self._discard(partial)
            durable.rename(folder, partial)
        durable.make_folder(partial)
        return partial

    def publish(self, source: LockedSource, stamps: StampBook) -> SourceModel:
        """Everything has come and was compared with the lock."""
        partial, folder = self.partial(source.digest), self.folder(source.digest)
        for name in set(names_in(partial)) - {SIGNATURE, *(file.path for file in source.files)}:
            self._discard(os.path.join(partial, name))
        for file in source.files:
            stamps.vouch(os.path.join(partial, file.path), f"sha256:{file.sha256}")
        model = _named(replace(inspect_source(partial, stamps, ready=source.ready), path=folder), source)
        # order: the facts of a source are written, then it is named 1/2
        if not model.problems:  # before the folder has its name: the facts are read only while it is not whole
            path = self._facts(source.digest)
            durable.make_folder(os.path.dirname(path))
            durable.write_file(path, model_facts(model))
        durable.publish(partial, folder)  # order: the facts of a source are written, then it is named 2/2
        return model

    def free(self, digest: str) -> None:
        """All of one source. The name goes first."""
        for path in self.places(digest):
            self._discard(path)

    def free_files(self, digest: str) -> None:
        """All but what is known of it."""
        for path in (self.folder(digest), self.partial(digest)):
            self._discard(path)

    def places(self, digest: str) -> tuple[str, ...]:
        return self.folder(digest), self.partial(digest), self._facts(digest)

    def is_here(self, source: LockedSource) -> bool:
        """Whether all of it is, as far as names tell."""
        return os.path.isdir(self.folder(source.digest))

    def sweep(self) -> None:
        trash, parts = os.path.join(self.home, "trash"), os.path.join(self.home, "partial")
        if os.path.isdir(trash):
            durable.empty(trash)
        for name in names_in(parts):  # a power cut may keep both names of a folder that was renamed
            # order: a source that kept two names is freed under one
            if os.path.lexists(os.path.join(self.home, name)):
                self._discard(os.path.join(parts, name))
        durable.sweep_temporaries(os.path.join(self.home, "facts"))

    def _discard(self, path: str) -> None:
        if os.path.lexists(path):
            durable.free(durable.unname(path, os.path.join(self.home, "trash")))

    def _have(self, source: LockedSource) -> int:
        """Bytes that need not come again, if they turn out to be right."""
        wanted = {file.path: file.size for file in source.files}
        held = _sizes(self.partial(source.digest)).items()
        return sum(min(size, wanted.get(name.removesuffix(PART), 0)) for name, size in held)

    def _facts(self, digest: str) -> str:
        return os.path.join(self.home, "facts", f"{_hex(digest)}.json")

    def _recall(self, digest: str) -> SourceModel | None:
        places = (self._facts(digest), os.path.join(self._imported, hub_facts(digest)))
        models = (read_model_facts(data) for path in places if (data := _data(path)) is not None)
        model = next((one for one in models if one is not None), None)
        return replace(model, path=self.folder(digest)) if model is not None else None

    def imported_model(self, path: str) -> SourceModel | None:
        """What came with an import in the place of a model folder; it has no path, because its weights are not here."""
        data = _data(os.path.join(path, MODEL_FACTS)) if inside(path, self._imported) else None
        return read_model_facts(data) if data is not None else None

    def imported_adapter(self, path: str) -> SourceAdapter | None:
        data = _data(os.path.join(path, ADAPTER_FACTS)) if inside(path, self._imported) else None
        return read_adapter_facts(data) if data is not None else None


class OnDisk:
    """`ModelFolders` of this disk. Without a cache, nothing was fetched."""

    def __init__(self, stamps: StampBook, cache: SourceCache | None = None) -> None:
        self._stamps = stamps
        self._cache = cache

    def source(self, path: str, *, ready: bool = False) -> SourceModel:
        imported = self._cache.imported_model(path) if self._cache is not None else None
        return imported or inspect_source(path, self._stamps, ready=ready)

    def adapter(self, path: str) -> SourceAdapter:
        imported = self._cache.imported_adapter(path) if self._cache is not None else None
        return imported or inspect_adapter(path, self._stamps)

    def locked(self, source: LockedSource) -> CachedSource:
        if self._cache is None:
            return CachedSource(model=None, missing=source.size)
        return self._cache.look(source, self._stamps)

    def card(self, path: str) -> ModelCard | None:
        return read_card(path)


def _named(model: SourceModel, source: LockedSource) -> SourceModel:
    """Its problems name the repository: the folder's own name is a digest."""

    def renamed(some: tuple[Problem, ...]) -> tuple[Problem, ...]:
        own = os.path.basename(model.path)
        return tuple(replace(one, file=one.file.replace(own, source.name, 1)) for one in some)

    return replace(model, problems=renamed(model.problems), warnings=renamed(model.warnings))


def _is(file: LockedFile, folder: str, stamps: StampBook) -> bool:
    """Nothing of it is read while its stamp is the one it was published with."""
    path = os.path.join(folder, file.path)
    try:
        status = os.lstat(path)
        plain = stat.S_ISREG(status.st_mode) and status.st_size == file.size
        return plain and stamps.digest(path) in (f"sha256:{file.sha256}", "")
    except OSError:
        return False


def _data(path: str) -> bytes | None:
    try:
        return read_whole(path)
    except OSError:
        return None


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _sizes(folder: str) -> dict[str, int]:
    """By name. A download beside us renames its parts: what is gone meanwhile is left out."""
    sizes = {}
    for name in names_in(folder):
        with contextlib.suppress(FileNotFoundError):
            sizes[name] = os.lstat(os.path.join(folder, name)).st_size
    return sizes
