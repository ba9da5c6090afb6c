"""Foundry Local 0.5 to 1.x and its command line as a `Backend`. Its catalog is the cache that it searches."""

import glob
import os
from typing import ClassVar, Unpack

from reconciler.backends.foundry.backend import SDK, FoundryLocal
from reconciler.backends.foundry_cache.cache_runtime import CacheRuntime
from reconciler.backends.foundry_cache.dropped import PUBLISHER, found_in
from reconciler.backends.protocol import Backend, RuntimeOptions
from reconciler.domain.observed import Registration
from reconciler.host.places import version_in


class FoundryLocalCache(FoundryLocal):
    """Served folders are the same as those of Foundry Local 2.x. `sdk` is a folder with the packages of this runtime:
    where there is none, ours measures what it will serve."""

    name: ClassVar[str] = "foundry-local-1"
    proved: ClassVar[tuple[str, ...]] = ("1.2.4", "1.2.3", "1.2.2", "1.2.1")
    root_inside_catalog: ClassVar[str] = "Foundry Local searches its cache for models, and would list served folders"

    def __init__(self, catalog: str, sdk: str = "", *, is_private: bool = False) -> None:
        super().__init__(catalog)
        self.sdk, self._is_private = sdk, is_private
        self.index = os.path.join(catalog, PUBLISHER)

    @staticmethod
    def catalogs_in(home: str) -> list[str]:
        """Those that have a folder of ours."""
        return sorted(
            map(os.path.dirname, glob.glob(FoundryLocal.catalog_of("*", glob.escape(home)) + f"/{PUBLISHER}"))
        )

    def sdk_version(self) -> str:
        return version_in(self.sdk, SDK) if self.sdk else ""

    def registrations(self, *, every_byte: bool = False) -> tuple[Registration, ...]:
        return found_in(self.catalog, every_byte=every_byte)

    def runtime(self, **options: Unpack[RuntimeOptions]) -> CacheRuntime:
        return CacheRuntime(self.catalog, sdk=self.sdk, is_private=self._is_private, **options)

    def at(self, catalog: str) -> Backend:
        return FoundryLocalCache(catalog, self.sdk)

    def rehearsal_at(self, catalog: str) -> Backend:
        """Without its own packages in our runtime, which reads the same folders."""
        return FoundryLocalCache(catalog, self.sdk, is_private=True) if self.sdk else FoundryLocal(catalog)
