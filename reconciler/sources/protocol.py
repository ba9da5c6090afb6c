"""Where the bytes of models come from, in three parts. `ModelFolders` looks at model folders by path; `SourceCache`
keeps on this machine what was fetched; `RemoteSource` is the place that it is fetched from. The rest of the package
knows these only; `sources.select` says what implements them.

tests/sources/test_contract.py holds every implementation to them. Manifests come from a folder or from git: both are
read by `sources.manifests.interpret`, which asks its `Disk`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

from reconciler.domain.sources.hub import HubSource, LockedFile
from reconciler.domain.sources.source_model import SourceAdapter, SourceModel
from reconciler.host.stamps import StampBook


@dataclass(frozen=True, kw_only=True)
class CachedSource:
    """`model` is what is known of a locked source, None before it was ever whole here. `missing` are bytes to fetch,
    and `damaged` the files that changed since they came; with neither, the folder is whole."""

    model: SourceModel | None
    missing: int = 0
    damaged: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        return not self.missing and not self.damaged


def unseen(source: HubSource) -> SourceModel:
    """Stands for a source that was never here: nothing is known of it but what the lock says."""
    weights = sum(file.size for file in source.files if file.path.endswith(".safetensors"))
    return SourceModel(path="", digest=source.digest, weight_bytes=weights, known=False)


class ModelFolders(Protocol):
    """Model and adapter folders: on this disk, or in the objects of git. What is wrong with one is in its `problems`;
    nothing is raised for what a folder holds."""

    def source(self, path: str) -> SourceModel: ...

    def adapter(self, path: str) -> SourceAdapter: ...

    def special_tokens(self, path: str) -> frozenset[str] | None:
        """The markers that its tokenizer reads as one token each; None when that cannot be read."""

    def locked(self, source: HubSource) -> CachedSource:
        """What is here of a source that the lock pins."""


class SourceCache(Protocol):
    """Locked sources on this machine, one folder for each set of files. Reads need no lock; the others hold the
    root's."""

    def look(self, source: HubSource, stamps: StampBook) -> CachedSource: ...

    def held(self) -> dict[str, int]:
        """Bytes on disk by digest, also of what is only partly there."""

    def places(self, digest: str) -> tuple[str, ...]:
        """All that `free` takes away."""

    def begin(self, source: HubSource) -> str:
        """The folder to fetch into, with what came earlier."""

    def publish(self, source: HubSource, stamps: StampBook) -> SourceModel:
        """Everything has come and was compared with the lock: give it its name."""

    def free(self, digest: str) -> None: ...

    def sweep(self) -> None:
        """Remove what a killed process left."""


class RemoteSource(Protocol):
    """A place that models are fetched from, a context manager. `cancel` may come from any thread."""

    def commit(self, repo: str, revision: str = "") -> str:
        """The commit that a branch is at; the default branch for ""."""

    def tree(self, source: HubSource) -> list[dict[str, Any]]:
        """`path`, `size` and `sha256` ("" where it is not known) of each file of a commit."""

    def download(self, source: HubSource, file: LockedFile, target: str, on_bytes: Callable[[int], None]) -> None:
        """One file, not compared with anything; goes on from what `target` holds."""

    def fetch(self, source: HubSource, folder: str, on_progress: Callable[[float, str], None]) -> None:
        """All files into a folder of `SourceCache.begin`, each compared with the lock."""

    def cancel(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
