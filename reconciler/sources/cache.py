"""Model folders on this disk: those that a manifest names, and those fetched from remote sources. A fetched one is a
folder below the root, named after the lock's digest of its files: it is written once and never changed, and any two
models that pin the same files share it.

    sources/hub/<sha256>/           whole: every file is what the lock says
    sources/hub/partial/<sha256>/   what has come so far; a later attempt goes on from there
    sources/hub/facts/<sha256>.json what a look at the whole folder found

The facts outlive the folder: a machine that holds an artifact knows its recipe, and needs the weights only to convert.
"""

import os
import stat
from dataclasses import replace
from typing import Any

from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import Problem
from reconciler.domain.layout import Layout
from reconciler.domain.plain_data import as_dict
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.domain.sources.source_model import SourceAdapter, SourceModel
from reconciler.host import durable
from reconciler.host.reading import read_whole
from reconciler.host.sealed import Damaged, seal, unseal
from reconciler.host.stamps import StampBook
from reconciler.sources.download import PART
from reconciler.sources.folder.guarded_folder import Folder
from reconciler.sources.folder.model import inspect_adapter, inspect_source
from reconciler.sources.folder.special_tokens import special_tokens
from reconciler.sources.protocol import CachedSource

# Raise it when a look at a model folder finds something else.
FACTS_VERSION = 1
_HEX = 64


class SourceCache:
    """Locked sources on this machine, of every kind. Reads need no lock; the other methods need the root's."""

    def __init__(self, layout: Layout) -> None:
        self.home = layout.at("sources", "hub")

    def folder(self, digest: str) -> str:
        return os.path.join(self.home, _hex(digest))

    def partial(self, digest: str) -> str:
        return os.path.join(self.home, "partial", _hex(digest))

    def look(self, source: LockedSource, stamps: StampBook) -> CachedSource:
        folder = self.folder(source.digest)
        if not os.path.isdir(folder):
            return CachedSource(model=self._recall(source.digest), missing=max(self.missing(source), 1))
        damaged = tuple(file for file in source.files if not _is(file, folder, stamps))
        if damaged:
            return CachedSource(
                model=self._recall(source.digest),
                missing=sum(file.size for file in damaged),
                damaged=tuple(file.path for file in damaged),
            )
        return CachedSource(model=_named(inspect_source(folder, stamps), source))

    def missing(self, source: LockedSource) -> int:
        """Bytes to download, if what came before is right."""
        return source.size - self._have(source)

    def held(self) -> dict[str, int]:
        """Bytes on disk by digest, also of what is only partly there. Nothing where a link leads elsewhere: what is
        held may be freed, and that may be another's."""
        if any(map(os.path.islink, (os.path.dirname(self.home), self.home))):
            return {}
        sizes: dict[str, int] = {}
        for home in (self.home, os.path.join(self.home, "partial")):
            for name in _names(home):
                if len(name) == _HEX:
                    digest = f"sha256:{name}"
                    sizes[digest] = sizes.get(digest, 0) + sum(_sizes(os.path.join(home, name)))
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
        for name in set(_names(partial)) - {file.path for file in source.files}:
            self._discard(os.path.join(partial, name))
        for file in source.files:
            stamps.vouch(os.path.join(partial, file.path), f"sha256:{file.sha256}")
        model = _named(replace(inspect_source(partial, stamps), path=folder), source)
        # order: the facts of a source are written, then it is named 1/2
        if not model.problems:  # before the folder has its name: the facts are read only while it is not whole
            path = self._facts(source.digest)
            durable.make_folder(os.path.dirname(path))
            facts = {"version": FACTS_VERSION, "model": as_dict(replace(model, path=""))}
            durable.write_file(path, seal(facts))
        durable.publish(partial, folder)  # order: the facts of a source are written, then it is named 2/2
        return model

    def free(self, digest: str) -> None:
        """All of one source. The name goes first."""
        for path in self.places(digest):
            self._discard(path)

    def places(self, digest: str) -> tuple[str, ...]:
        """All that `free` takes away."""
        return self.folder(digest), self.partial(digest), self._facts(digest)

    def sweep(self) -> None:
        trash, parts = os.path.join(self.home, "trash"), os.path.join(self.home, "partial")
        if os.path.isdir(trash):
            durable.empty(trash)
        for name in _names(parts):  # a power cut may keep both names of a folder that was renamed
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
        total = 0
        for name in _names(partial := self.partial(source.digest)):
            size = wanted.get(name.removesuffix(PART))
            if size is not None:
                total += min(size, os.lstat(os.path.join(partial, name)).st_size)
        return total

    def _facts(self, digest: str) -> str:
        return os.path.join(self.home, "facts", f"{_hex(digest)}.json")

    def _recall(self, digest: str) -> SourceModel | None:
        try:
            facts = unseal(read_whole(self._facts(digest)))
        except (OSError, Damaged):
            return None
        return _model(facts["model"], self.folder(digest)) if facts["version"] == FACTS_VERSION else None


class OnDisk:
    """`ModelFolders` of this disk. Without a cache, nothing was fetched."""

    def __init__(self, stamps: StampBook, cache: SourceCache | None = None) -> None:
        self._stamps = stamps
        self._cache = cache

    def source(self, path: str) -> SourceModel:
        return inspect_source(path, self._stamps)

    def adapter(self, path: str) -> SourceAdapter:
        return inspect_adapter(path, self._stamps)

    def special_tokens(self, path: str) -> frozenset[str] | None:
        return special_tokens(Folder(path))

    def locked(self, source: LockedSource) -> CachedSource:
        if self._cache is None:
            return CachedSource(model=None, missing=source.size)
        return self._cache.look(source, self._stamps)


def _model(facts: dict[str, Any], path: str) -> SourceModel:
    changes = {
        "path": path,
        "files": tuple(StoredFile(**file) for file in facts["files"]),
        "shapes": {name: tuple(shape) for name, shape in facts["shapes"].items()},
        "problems": (),
        "warnings": tuple(Problem(**warning) for warning in facts["warnings"]),
    }
    return SourceModel(**facts | changes)


def _named(model: SourceModel, source: LockedSource) -> SourceModel:
    """Its problems name the repository: the folder's own name is a digest."""
    if not model.problems and not model.warnings:
        return model
    own, name = os.path.basename(model.path), source.repo

    def renamed(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
        return tuple(replace(one, file=one.file.replace(own, name, 1)) for one in problems)

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


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sizes(folder: str) -> list[int]:
    return [os.lstat(os.path.join(folder, name)).st_size for name in _names(folder)]
