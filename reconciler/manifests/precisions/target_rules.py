"""What a manifest may say of the hardware that a model is converted for: a provider, and the device that it has."""

from reconciler.domain.manifest import Target
from reconciler.domain.targets.execution_providers import CONVERTED, DEFAULT_PROVIDER, ExecutionProvider, converted_for
from reconciler.domain.text.quoting import listed
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.loader import Path
from reconciler.manifests.schema import ModelManifest

TARGET: Path = ("spec", "target")


def target_of(written: Target) -> Target:
    """The provider decides the device, which may be left out."""
    found = converted_for(written.execution_provider)
    return Target(device=found.device, execution_provider=found.name)


def provider_named(declaration: Declaration[ModelManifest]) -> ExecutionProvider:
    """What the manifest's precisions are for; the CPU where that was refused."""
    return converted_for(declaration.text(*TARGET, "executionProvider") or "")


def check_target(declaration: Declaration[ModelManifest]) -> None:
    device, name = (declaration.text(*TARGET, one) for one in ("device", "executionProvider"))
    ours = [one.name for one in CONVERTED.values() if one.device == device]
    if not ours:  # left out, or refused as a word
        return
    path = (*TARGET, "device")
    if name is None and DEFAULT_PROVIDER.device != device:
        message = f"expected an executionProvider beside {device}, got none"
        declaration.report(path, "TargetContradiction", message, f"it is one of {listed(ours)}")
    elif name in CONVERTED and CONVERTED[name].device != device:
        message = f"expected {CONVERTED[name].device}, where {name} computes, got {device}"
        hint = f"delete `device`: the provider decides it; on {device} computes {listed(ours)}"
        declaration.report(path, "TargetContradiction", message, hint)
