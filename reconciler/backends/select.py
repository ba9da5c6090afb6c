"""The back ends that there are, by the name that a machine's configuration selects one with."""

from reconciler.backends.foundry.backend import FoundryLocal
from reconciler.backends.protocol import Backend

BACKENDS: dict[str, type[Backend]] = {one.name: one for one in (FoundryLocal,)}
DEFAULT = FoundryLocal.name
SERVING_TOOLS = {package: version for one in BACKENDS.values() for package, version in one.packages.items()}


def backend_at(catalog: str, name: str = "") -> Backend:
    """`catalog` is the folder that the back end keeps its names in (Foundry Local: its model_cache_dir)."""
    return BACKENDS[name or DEFAULT](catalog)
