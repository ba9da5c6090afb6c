"""The request for one conversion that the client sends to its worker: paths, limits, JSON form, and the files of a
result."""

from dataclasses import dataclass, field

from reconciler.domain.release import Recipe
from reconciler.domain.sources.source_model import TOKENIZER_FILES
from reconciler.host.codec import Codec

# The files of an artifact; Olive's model_config.json is none, because it holds paths of this machine.
ARTIFACT_FILES = ("model.onnx", "model.onnx.data", "genai_config.json", *TOKENIZER_FILES)

# Why a conversion was ended, as the worker reports it.
MEMORY_LIMIT, DISK_LIMIT, PROCESS_LIMIT = "MemoryLimit", "DiskLimit", "ProcessLimit"
NO_NETWORK = "RECONCILER_LEAVE_NETWORK"  # in the worker's environment: leave it at once


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one conversion may use (0: no limit). Where Landlock works, it reads only `readable` and its scratch folder
    (empty: whatever the worker sees)."""

    memory_bytes: int = 0
    disk_bytes: int = 0  # of its scratch folder, and so of each file
    readable: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Order:
    """All paths are absolute. Everything is written below `scratch`, `output` too; the client makes and deletes it."""

    recipe: Recipe
    source: str
    adapter: str | None
    output: str
    scratch: str
    log: str
    timeout: float  # seconds
    compared: str | None = None  # an artifact to be compared with the source, instead of a conversion
    bounds: Bounds = Bounds()
    digests: dict[str, str] = field(default_factory=dict)  # of files of the sources, by stamp (host.stamps)


# As it crosses the pipe to the worker.
ORDER = Codec(Order)
