"""How Olive makes each precision: its passes, what they leave in its cache, and what they import.

Which passes lead to which precision on the CPU was measured (the builder's own int8 and fp16 do not work with these
pins): int8 is rounded before the builder, fp16 after it. What the precisions themselves are is in `domain.targets`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciler.domain.release import Recipe

Passes = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class OlivePath:
    """`kept_results` is how many times the size of the result Olive's cache holds from the passes before the last one,
    and `imports` what only these passes import."""

    passes: Callable[[Recipe], Passes]
    kept_results: int = 0
    imports: tuple[str, ...] = ()


_BUILDER_OPTIONS = {
    "block_size": "int4_block_size",
    "symmetric": "int4_is_symmetric",
    "accuracy_level": "int4_accuracy_level",
    "algorithm": "int4_algo_config",
}


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


def _options(recipe: Recipe, *names: str) -> dict[str, Any]:
    return {_BUILDER_OPTIONS[name]: recipe.options[name] for name in names if name in recipe.options}


def _builder(precision: str, **options: Any) -> dict[str, Any]:
    # Without hf_remote=false the builder imports the repository's own Python files.
    return {"type": "ModelBuilder", "precision": precision, **options, "extra_options": {"hf_remote": False}}


OLIVE = {
    "fp32": OlivePath(passes=_fp32),
    "fp16": OlivePath(passes=_fp16, kept_results=2, imports=("olive.passes.onnx.float16_conversion",)),
    "int8": OlivePath(
        passes=_int8,
        kept_results=1,
        imports=(
            "olive.passes.pytorch.rtn",
            "transformers.models.bloom",
            "peft",
            "numpy.ctypeslib",
            "torch.distributed.tensor",
        ),
    ),
    "int4": OlivePath(passes=_int4),
}
