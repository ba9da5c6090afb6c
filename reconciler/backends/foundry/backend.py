"""Foundry Local 2.x as a `Backend`. Its catalog is a model_cache_dir, and what it loads are folders anywhere."""

import json
import os
from collections.abc import Callable

from reconciler.backends.foundry import folder, genai_config
from reconciler.backends.foundry.foundry import Foundry
from reconciler.backends.foundry.index import INDEX, read_index
from reconciler.domain.observed import Registration


class FoundryLocal:
    assemble = staticmethod(folder.assemble)
    inspect = staticmethod(folder.inspect)
    rewrite_marker = staticmethod(folder.rewrite_marker)

    def __init__(self, cache_dir: str) -> None:
        self._cache_dir = cache_dir
        self.index = os.path.join(cache_dir, INDEX)

    def registrations(self) -> tuple[Registration, ...]:
        return read_index(self._cache_dir)

    def runtime(
        self, *, scratch: str, log: str, confined: bool = False, is_cancelled: Callable[[], bool] = lambda: False
    ) -> Foundry:
        return Foundry(self._cache_dir, scratch=scratch, log=log, confined=confined, is_cancelled=is_cancelled)

    def at(self, catalog: str) -> "FoundryLocal":
        return FoundryLocal(catalog)

    def context_length(self, folder: str) -> int:
        with open(os.path.join(folder, "genai_config.json"), "rb") as file:
            return genai_config.context_length(json.load(file))
