"""Where the bytes of models come from. `ModelFolders` looks at model folders, on this disk or in a commit; a
`RemoteSource` is what locked sources are fetched from into the cache (`sources.cache`). Their kinds are named by
`engine.remote_sources.kinds`.

tests/sources/test_contract.py holds every implementation to them. Manifests come from a folder or from git: both are
read by `sources.manifests.interpret`, which asks its `Disk`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from reconciler.domain.digest import StoredFile
from reconciler.domain.machine.bandwidth import PIECE
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.sources.model_config import architecture_of
from reconciler.domain.sources.source_model import (
    COMPILED,
    INDEX,
    ONNX_DATA,
    ONNX_GRAPH,
    SMALL_FILES,
    WEIGHTS,
    SourceAdapter,
    SourceModel,
    digest_of,
)


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


def unseen(source: LockedSource) -> SourceModel:
    """Stands for a source that was never here: all that is known of it is what the lock holds."""
    endings = (ONNX_GRAPH, *ONNX_DATA, *COMPILED) if source.ready else (".safetensors",)
    weights = sum(file.size for file in source.files if file.path.endswith(endings))
    return SourceModel(path="", digest=source.digest, weight_bytes=weights, known=False, ready=source.ready)


def described(source: LockedSource, path: str = "") -> SourceModel | None:
    """What the lock's facts say of a source that was never here: all that decides its recipes and releases, and nothing
    of what a conversion costs. None without facts. `path` is where it will lie."""
    facts = source.facts
    if facts is None:
        return None
    held = {one.path: StoredFile(path=one.path, size=one.size, digest=f"sha256:{one.sha256}") for one in source.files}
    index = () if WEIGHTS in facts.weights else (INDEX,)
    files = tuple(held[name] for name in sorted({*SMALL_FILES, *index, *facts.weights} & held.keys()))
    return SourceModel(
        path=path,
        digest=digest_of({file.path: file.digest for file in files}),
        architecture=architecture_of(facts.config),
        config=facts.config,
        files=files,
        weight_bytes=sum(file.size for file in files if file.path in facts.weights),
        context_length=facts.config["max_position_embeddings"],
        chat_template=facts.chat_template,
    )


class ModelFolders(Protocol):
    """Model and adapter folders: on this disk, or in the objects of git. What is wrong with one is in its `problems`;
    nothing is raised for what a folder holds."""

    def source(self, path: str, *, ready: bool = False) -> SourceModel:
        """`ready`: a ready ONNX folder, which is taken as it is."""

    def adapter(self, path: str) -> SourceAdapter: ...

    def locked(self, source: LockedSource) -> CachedSource:
        """What is here of a source that the lock pins."""

    def card(self, path: str) -> ModelCard | None:
        """The model card in a folder of these; None where there is none that can be read."""


class RemoteSource(Protocol):
    """One kind of place that models are fetched from, a context manager. `cancel` may come from any thread."""

    def commit(self, source: LockedSource, branch: str = "") -> str:
        """The revision that a branch or tag of its repository is at now; the default one for ""."""

    def tree(self, source: LockedSource) -> list[dict[str, Any]]:
        """`path`, `size` and `sha256` ("" where it is not known) of each file of the revision."""

    def download(
        self, source: LockedSource, file: LockedFile, target: str, on_bytes: Callable[[int], None], piece: int = PIECE
    ) -> None:
        """One file, not compared with anything; goes on from what `target` holds. `on_bytes` is called after each
        `piece` with the bytes so far; no more is read before it returns, and an error that it raises ends
        the download. A count below the last one says from where it begins anew, before more comes."""

    def held(self, target: str) -> int:
        """Bytes of a download that was cut, which `download` goes on from: they do not come again."""

    def cancel(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
