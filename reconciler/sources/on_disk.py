"""Model and adapter folders on this disk, as a resolver asks for them."""

from __future__ import annotations

from reconciler.domain.hub import HubSource
from reconciler.domain.source_model import SourceAdapter, SourceModel
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.files import Folder
from reconciler.sources.folder.model import inspect_adapter, inspect_source
from reconciler.sources.folder.special_tokens import special_tokens
from reconciler.sources.hub.cache import Shelf, Shelved


class OnDisk:
    """`shelf` holds what came from the hub; without one nothing has."""

    def __init__(self, stamps: StampBook, shelf: Shelf | None = None) -> None:
        self._stamps = stamps
        self._shelf = shelf

    def source(self, path: str) -> SourceModel:
        return inspect_source(path, self._stamps)

    def adapter(self, path: str) -> SourceAdapter:
        return inspect_adapter(path, self._stamps)

    def special_tokens(self, path: str) -> frozenset[str] | None:
        return special_tokens(Folder(path))

    def hub(self, source: HubSource) -> Shelved:
        if self._shelf is None:
            return Shelved(model=None, missing=source.size)
        return self._shelf.look(source, self._stamps)
