"""Model and adapter folders on this disk, as a resolver asks for them."""

from reconciler.domain.sources.hub import HubSource
from reconciler.domain.sources.source_model import SourceAdapter, SourceModel
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.guarded_folder import Folder
from reconciler.sources.folder.model import inspect_adapter, inspect_source
from reconciler.sources.folder.special_tokens import special_tokens
from reconciler.sources.protocol import CachedSource, SourceCache


class OnDisk:
    """`cache` holds what was fetched; without one nothing was."""

    def __init__(self, stamps: StampBook, cache: SourceCache | None = None) -> None:
        self._stamps = stamps
        self._cache = cache

    def source(self, path: str) -> SourceModel:
        return inspect_source(path, self._stamps)

    def adapter(self, path: str) -> SourceAdapter:
        return inspect_adapter(path, self._stamps)

    def special_tokens(self, path: str) -> frozenset[str] | None:
        return special_tokens(Folder(path))

    def locked(self, source: HubSource) -> CachedSource:
        if self._cache is None:
            return CachedSource(model=None, missing=source.size)
        return self._cache.look(source, self._stamps)
