"""The back ends that there are, by the name that a machine's configuration selects one with."""

from collections.abc import Sequence

from reconciler.backends.foundry.backend import FoundryLocal
from reconciler.backends.foundry_cache.cache_backend import FoundryLocalCache
from reconciler.backends.protocol import Backend
from reconciler.backends.together import ServedTogether
from reconciler.domain.machine.backends import BackendSettings
from reconciler.host.places import home

BACKENDS: dict[str, type[Backend]] = {one.name: one for one in (FoundryLocal, FoundryLocalCache)}
DEFAULT = FoundryLocal.name
SERVING_TOOLS = {package: version for one in BACKENDS.values() for package, version in one.packages.items()}


def backend_at(catalog: str, backends: Sequence[BackendSettings] = ()) -> Backend:
    """`catalog` is the folder that the first one keeps its names in (Foundry Local: its model_cache_dir). With several
    each model is served by all of them."""
    first, *others = backends or (BackendSettings(),)
    main = _made(first, catalog)
    return ServedTogether((main, *(_made(one, catalog_of(one)) for one in others))) if others else main


def catalog_of(settings: BackendSettings, app: str = "foundry") -> str:
    """ "" where this user has no home folder to find it in."""
    if settings.catalog:
        return settings.catalog
    return BACKENDS[settings.name or DEFAULT].catalog_of(settings.app or app, home()) if home() else ""


def parts_of(backend: Backend) -> tuple[Backend, ...]:
    """The runtimes of a machine, the main one first."""
    return backend.backends if isinstance(backend, ServedTogether) else (backend,)


def _made(settings: BackendSettings, catalog: str) -> Backend:
    kind = BACKENDS[settings.name or DEFAULT]
    if issubclass(kind, FoundryLocalCache):
        return kind(catalog, settings.sdk)
    return FoundryLocal(catalog, settings.provider_libraries) if issubclass(kind, FoundryLocal) else kind(catalog)
