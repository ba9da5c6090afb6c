"""The heavy packages: imported once, in the worker only, at the versions that the recipe names."""

import gc
import importlib
from contextlib import suppress
from typing import Any

from reconciler.conversion.precisions import OLIVE
from reconciler.conversion.toolchain import CONVERSION_VERSION, OWN_TOOL
from reconciler.domain.errors import ConversionFailed
from reconciler.host.places import installed_versions

# A job needs these later. Imported before the first fork, they are paid for once.
_LATER = (
    "onnxruntime_genai.models.quantized_model",
    "olive.systems.local",
    "olive.passes.onnx.model_builder",
    "onnx",
    "safetensors.torch",
    "torch.fx.experimental.symbolic_shapes",
    "torch.utils._device",
)
_FOR_ADAPTERS = ("olive.passes.pytorch.merge_adapter_weights", "peft")

_loaded: set[str] = set()


def check_versions(wanted: dict[str, str]) -> None:
    """Raises ConversionFailed: other versions give other bytes, or none."""
    installed = installed_versions(wanted) | {OWN_TOOL: CONVERSION_VERSION}
    found = {package: version.partition("+")[0] for package, version in installed.items()}  # torch 2.13.0+cpu
    wrong = [
        f"{package} is {found.get(package, 'not installed')}, expected {expected}"
        for package, expected in wanted.items()
        if found.get(package) != expected
    ]
    if wrong:
        raise ConversionFailed("; ".join(wrong), code="ToolsMissing")


def load(*purposes: str) -> None:
    """Import what every conversion needs, and what these purposes (a precision, "adapter") need. Takes seconds once."""
    if "" not in _loaded:
        _load_all()
    for purpose in purposes:
        if purpose not in _loaded:
            _import_all(_FOR_ADAPTERS if purpose == "adapter" else OLIVE[purpose].imports)
    _loaded.update(("", *purposes))


def _load_all() -> None:
    """The garbage collector is off meanwhile and never looks at what was imported, because modules do not become
    garbage. That saves a sixth of the time, and pages that forked jobs would copy."""
    gc.disable()
    try:
        importlib.import_module("olive.workflows")
        importlib.import_module("onnxruntime_genai.models.builder")
        _import_all(_LATER)
        _ask_no_stack()
    finally:
        gc.freeze()
        gc.enable()


def _ask_no_stack() -> None:
    """For its telemetry, which is off, Olive reads the source of all callers at each step: 0.2 s a conversion."""
    with suppress(ImportError):
        telemetry: Any = importlib.import_module("olive.telemetry.telemetry_extensions")
        telemetry._resolve_invoked_from = lambda *_: "Script"


def load_architecture(model_type: str) -> None:
    """Do before the fork what the first job of this architecture would import and compute (0.3 s)."""
    load()
    if model_type in _loaded:
        return
    _import_all(tuple(f"transformers.models.{model_type}.{kind}_{model_type}" for kind in ("modeling", "tokenization")))
    with suppress(Exception):  # an internal table of compiled patterns: where it is gone, the job does without
        importlib.import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping(model_type)
    _loaded.add(model_type)


def _import_all(names: tuple[str, ...]) -> None:
    for name in names:
        with suppress(ImportError):  # only a head start: the job reports what is missing
            importlib.import_module(name)
