"""What the converter asks of its worker, as it crosses the pipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reconciler.domain.manifest import Target
from reconciler.domain.release import Recipe
from reconciler.domain.value import as_dict

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
    """One conversion. All paths are absolute; `scratch` exists, is empty, is deleted by whoever ordered, and holds all
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

    def as_json(self) -> dict[str, Any]:
        return as_dict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Order:
        recipe = {**document["recipe"], "target": Target(**document["recipe"]["target"])}
        bounds = {**document["bounds"], "readable": tuple(document["bounds"]["readable"])}
        return cls(**{**document, "recipe": Recipe(**recipe), "bounds": Bounds(**bounds)})
