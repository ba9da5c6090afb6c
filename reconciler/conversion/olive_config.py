"""A recipe as the exact configuration that Olive runs. Deterministic and complete: `olive run --config` by hand gives
the same bytes of weights.

Olive drops options it does not know in silence, so only known ones are written, and the worker reads their effect back
from the result.
"""

from typing import Any

from reconciler.conversion.precisions import OLIVE, Passes
from reconciler.domain.release import Recipe


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
    return merge | OLIVE[recipe.precision].passes(recipe)
