"""Which back end serves: Foundry Local, the only one there is."""

from reconciler.backends.foundry.backend import FoundryLocal
from reconciler.backends.protocol import Backend


def backend_at(catalog: str) -> Backend:
    """`catalog` is the folder that the back end keeps its names in (Foundry Local: its model_cache_dir)."""
    return FoundryLocal(catalog)
