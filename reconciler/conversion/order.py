"""What the converter asks of its worker, as it crosses the pipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from reconciler.core.manifest import Target
from reconciler.core.release import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One conversion. All paths are absolute; `scratch` exists, is empty, and is deleted by whoever ordered."""

    recipe: Recipe
    source: str
    adapter: str | None
    output: str
    scratch: str
    log: str
    timeout: float  # seconds

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Order:
        recipe = {**value["recipe"], "target": Target(**value["recipe"]["target"])}
        return cls(**{**value, "recipe": Recipe(**recipe)})
