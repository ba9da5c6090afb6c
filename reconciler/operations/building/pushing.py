"""What `build` asks of a registry: which builds it lacks, and to take one with its numbers and its signature."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from reconciler.domain.machine.registries import RegistrySettings
from reconciler.domain.reference import Comparison
from reconciler.engine.machine import stored_artifact
from reconciler.engine.pass_context import PassContext
from reconciler.host.clock import now
from reconciler.host.reading import read_whole

if TYPE_CHECKING:  # it loads where a registry is asked
    from reconciler.registry.client import RegistryClient


def absent_from(
    settings: RegistrySettings, build_keys: Iterable[str], unsigned: Callable[["RegistryClient", str, str], bool]
) -> list[str]:
    """Also what has to be signed."""
    from reconciler.registry.opening import open_registry
    from reconciler.registry.transfer import find

    with open_registry(settings, push=True) as opened:
        found = {key: find(opened.registry, key) for key in build_keys}
        return [key for key, digest in found.items() if digest is None or unsigned(opened.registry, key, digest)]


def push_build(
    settings: RegistrySettings,
    build_key: str,
    context: PassContext,
    signed: bytes,
    on_progress: Callable[[int, int], None],
) -> None:
    """The numbers and the signature first: whoever finds the artifact finds them too. `on_progress` gets the bytes of
    the artifact that are there, of how many."""
    from reconciler.registry.numbers import push_numbers
    from reconciler.registry.opening import open_registry
    from reconciler.registry.signatures import push_signature
    from reconciler.registry.transfer import push

    machine = context.machine
    artifact, fidelity = stored_artifact(machine, build_key), context.known().fidelity.get(build_key)
    manifest = machine.store.blob(artifact.digest)
    with open_registry(settings, push=True) as opened:
        if fidelity is not None and not fidelity.unmeasured:
            compared = Comparison(fidelity=fidelity, reference=machine.records.reference(build_key))
            push_numbers(opened.registry, read_whole(manifest), compared, context.fresh_staging())
        if signed:
            push_signature(opened.registry, read_whole(manifest), signed, now(), context.fresh_staging())
        push(opened.registry, manifest.rpartition(artifact.digest[7:])[0], artifact.digest, on_progress)
