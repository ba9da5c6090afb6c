"""What the converter asks of its worker: one conversion, its limits, and their JSON form on the pipe between them."""

from dataclasses import dataclass

from reconciler.domain.release import Recipe
from reconciler.host.codec import Codec

# Why a conversion was ended, as the worker reports it.
MEMORY_LIMIT, DISK_LIMIT, PROCESS_LIMIT = "MemoryLimit", "DiskLimit", "ProcessLimit"
NO_NETWORK = "RECONCILER_LEAVE_NETWORK"  # in the worker's environment: leave it at once


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one conversion may use, and what it may read besides its scratch folder where Landlock says so (empty: what
    the worker sees). 0: no limit."""

    memory_bytes: int = 0
    disk_bytes: int = 0  # of its scratch folder, and so of each file
    readable: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Order:
    """One conversion. All paths are absolute; `scratch` exists, is empty, is deleted by the client, and holds all
    that is written, `output` too."""

    recipe: Recipe
    source: str
    adapter: str | None
    output: str
    scratch: str
    log: str
    timeout: float  # seconds
    compared: str | None = None  # an artifact to be compared with the source, instead of a conversion
    bounds: Bounds = Bounds()


# As it crosses the pipe to the worker.
ORDER = Codec(Order)
