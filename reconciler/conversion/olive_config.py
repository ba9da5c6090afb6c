"""A recipe as the exact configuration that Olive runs. Deterministic, and complete: `olive run --config` by hand gives
the same bytes of weights.

Olive drops options it does not know in silence, so only these are ever written, and the worker reads their effect back
from the result. Which passes lead to which precision on the CPU was measured (the builder's own int8 and fp16 do not
work with these pins): int8 is rounded before the builder, fp16 after it.
"""

from __future__ import annotations

from typing import Any

from reconciler.domain.release import Recipe

Passes = dict[str, dict[str, Any]]

_BUILDER_OPTIONS = {
    "block_size": "int4_block_size",
    "symmetric": "int4_is_symmetric",
    "accuracy_level": "int4_accuracy_level",
    "algorithm": "int4_algo_config",
}


def olive_config(
    recipe: Recipe, model_path: str, output_dir: str, cache_dir: str, adapter_path: str | None = None
) -> dict[str, Any]:
    """Paths are absolute; `adapter_path` is wanted when the recipe has an adapter."""
    accelerator = {"device": recipe.target.device, "execution_providers": [recipe.target.execution_provider]}
    adapter = {"adapter_path": adapter_path} if recipe.adapter else {}
    return {
        "input_model": {"type": "HfModel", "model_path": model_path, **adapter},
        "systems": {"local": {"type": "LocalSystem", "accelerators": [accelerator]}},
        "passes": passes_of(recipe),
        "host": "local",
        "target": "local",
        "no_artifacts": True,
        "output_dir": output_dir,
        "cache_dir": cache_dir,
        "log_severity_level": 1,  # it names some failures only at this level, and then says that all went well
    }


def passes_of(recipe: Recipe) -> Passes:
    # A LoRA is merged first: left to the builder, it ends in a file that Foundry Local does not load.
    merge: Passes = {"merge": {"type": "MergeAdapterWeights"}} if recipe.adapter else {}
    return merge | _ROADS[recipe.precision](recipe)


def _fp32(recipe: Recipe) -> Passes:
    return {"build": _builder("fp32")}


def _fp16(recipe: Recipe) -> Passes:
    # Weights inside model.onnx load three times slower.
    return {"build": _builder("fp32"), "halve": {"type": "OnnxFloatToFloat16", "save_as_external_data": True}}


def _int8(recipe: Recipe) -> Passes:
    options = recipe.options
    rounding = {
        "type": "Rtn",
        "bits": 8,
        "group_size": options.get("block_size", 32),
        "sym": options.get("symmetric", True),
        "lm_head": True,
    }
    return {"round": rounding, "build": _builder("int4", **_options(recipe, "accuracy_level"))}


def _int4(recipe: Recipe) -> Passes:
    return {"build": _builder("int4", **_options(recipe, *_BUILDER_OPTIONS))}


_ROADS = {"fp32": _fp32, "fp16": _fp16, "int8": _int8, "int4": _int4}


def _options(recipe: Recipe, *names: str) -> dict[str, Any]:
    return {_BUILDER_OPTIONS[name]: recipe.options[name] for name in names if name in recipe.options}


def _builder(precision: str, **options: Any) -> dict[str, Any]:
    # Without hf_remote=false the builder imports the repository's own Python files.
    return {"type": "ModelBuilder", "precision": precision, **options, "extra_options": {"hf_remote": False}}
