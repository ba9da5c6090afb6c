"""Foundry Local 2.x as a `Backend`. Its catalog is a model_cache_dir, and what it loads are folders anywhere."""

import glob
import json
import os
from collections.abc import Mapping
from typing import ClassVar, Unpack

from reconciler.backends.foundry import folder, genai_config
from reconciler.backends.foundry.foundry import Foundry
from reconciler.backends.foundry.index import INDEX, read_index
from reconciler.backends.protocol import Backend, RuntimeOptions
from reconciler.domain.observed import Registration
from reconciler.host.places import installed_versions

SDK = "foundry-local-sdk"
NOTHING: Mapping[str, str] = {}
_OWN_ENDINGS = ("-generic-cpu", "-generic-gpu", "-generic-npu")


class FoundryLocal:
    name: ClassVar[str] = "foundry-local"
    packages: ClassVar[Mapping[str, str]] = {SDK: "2.2.1"}
    proved: ClassVar[tuple[str, ...]] = ("2.2.1", "2.2.0", "2.1.0")
    root_inside_catalog: ClassVar[str] = "Foundry Local sends the names that it finds in its cache to a public service"

    assemble = staticmethod(folder.assemble)
    inspect = staticmethod(folder.inspect)
    rewrite_marker = staticmethod(folder.rewrite_marker)
    release_in = staticmethod(folder.release_in)

    def __init__(self, catalog: str, provider_libraries: Mapping[str, str] = NOTHING) -> None:
        self.catalog = catalog
        self.provider_libraries = provider_libraries
        self.index = os.path.join(catalog, INDEX)

    @staticmethod
    def catalog_of(app: str, home: str) -> str:
        return os.path.join(home, f".{app}", "cache", "models")

    @staticmethod
    def catalogs_in(home: str) -> list[str]:
        """Also those of older versions, which have no index and search the folder for models."""
        caches = FoundryLocal.catalog_of("*", glob.escape(home))
        signs = (INDEX, os.path.join("*", ""))
        found = (path for sign in signs for path in glob.glob(os.path.join(caches, sign)))
        return sorted({os.path.dirname(path.rstrip(os.sep)) for path in found})

    @staticmethod
    def reserved(name: str) -> str:
        if not name.endswith(_OWN_ENDINGS):
            return ""
        return "Foundry Local strips this ending to find the alias of its own catalog's models"

    def sdk_version(self) -> str:
        return installed_versions((SDK,)).get(SDK, "")

    def registrations(self, *, every_byte: bool = False) -> tuple[Registration, ...]:
        """There are no copies: it loads the served folders."""
        return read_index(self.catalog)

    def runtime(self, **options: Unpack[RuntimeOptions]) -> Foundry:
        return Foundry(self.catalog, provider_libraries=self.provider_libraries, **options)

    def at(self, catalog: str) -> Backend:
        return FoundryLocal(catalog, self.provider_libraries)

    def rehearsal_at(self, catalog: str) -> Backend:
        return self.at(catalog)

    def context_length(self, folder: str) -> int:
        with open(os.path.join(folder, "genai_config.json"), "rb") as file:
            return genai_config.context_length(json.load(file))
