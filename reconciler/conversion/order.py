"""What the converter asks of its worker, as it crosses the pipe."""

from __future__ import annotations

from typing import Any

from reconciler.core.manifest import Target
from reconciler.core.release import Recipe
from reconciler.core.value import as_dict, value


@value
class Order:
    """One conversion. All paths are absolute; `scratch` exists, is empty, and is deleted by whoever ordered."""

    recipe: Recipe
    source: str
    adapter: str | None
    output: str
    scratch: str
    log: str
    timeout: float  # seconds
    compared: str | None = None  # an artifact to be compared with the source, instead of a conversion

    def as_json(self) -> dict[str, Any]:
        return as_dict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Order:
        recipe = {**document["recipe"], "target": Target(**document["recipe"]["target"])}
        return cls(**{**document, "recipe": Recipe(**recipe)})
