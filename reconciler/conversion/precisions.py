"""How Olive makes each precision: its passes, the memory that they hold, what they leave in its cache and what they
import; and a recipe as the exact configuration that Olive runs (`olive run --config` by hand gives the same bytes of
weights).

The passes of each precision were chosen by measurement: int8 is rounded before the builder, and for the CPU fp16 is
made after it, because the builder's own int8, and its fp16 for the CPU, do not work at the pinned versions.
`domain.targets` describes the precisions and providers themselves. Olive silently drops options it does not know, so
only known ones are written, and the worker reads their effect back from the result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reconciler.domain.manifest import Target
from reconciler.domain.release import Recipe
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER

Passes = dict[str, dict[str, Any]]


WIDE = 4  # bytes of a number in single precision
_MOST_PIECES = 420 << 20  # what it takes to round in pieces (worker.lean_olive)
_COPIES_OF_A_MATRIX = 8  # for one that is smaller than a piece
_COPIES_OF_THE_HEAD = 3  # in the width of the source, while Rtn rounds it
_COPIES_AT_FP16 = 1.6  # of the whole model in single precision: in half precision, some times (worker.lean_halving)


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """`matrices` counts the numbers that are multiplied with, `width` is the bytes of one in the source. The others are
    bytes in single precision: the `whole` with a head beside the embedding, the `head`, and the `largest` part that the
    check loads at once."""

    matrices: int
    whole: int
    head: int
    largest: int
    width: float


@dataclass(frozen=True, kw_only=True)
class OlivePath:
    """`memory`: bytes that the passes hold at most beside their imports, from the parts of the model and the bytes of
    its rounded weights. `kept_results`: how many times the size of the result stays in Olive's cache from the passes
    before the last one. `imports`: what only these passes import."""

    passes: Callable[[Recipe], Passes]
    memory: Callable[[ModelParts, float], float]
    kept_results: int = 0
    imports: tuple[str, ...] = ()


_BUILDER_OPTIONS = {
    "block_size": "int4_block_size",
    "symmetric": "int4_is_symmetric",
    "accuracy_level": "int4_accuracy_level",
    "algorithm": "int4_algo_config",
}


HALVE = "halve"  # the name of the pass that makes half of a model in single precision


def _as_built(recipe: Recipe) -> Passes:
    return {"build": _builder(recipe.precision)}


def _halved(recipe: Recipe) -> Passes:
    # Weights inside model.onnx load three times slower.
    return {"build": _builder("fp32"), HALVE: {"type": "OnnxFloatToFloat16", "save_as_external_data": True}}


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


def _pieces(parts: ModelParts) -> int:
    return min(_MOST_PIECES, _COPIES_OF_A_MATRIX * parts.largest)


_PIECE_BY_PIECE = OlivePath(passes=_as_built, memory=lambda parts, rounded: _pieces(parts))
OLIVE = {
    "fp32": _PIECE_BY_PIECE,
    "fp16": OlivePath(
        passes=_halved,
        memory=lambda parts, rounded: _COPIES_AT_FP16 * parts.whole,
        kept_results=2,
        imports=("olive.passes.onnx.float16_conversion",),
    ),
    "int8": OlivePath(
        passes=_int8,
        memory=lambda parts, rounded: rounded + _COPIES_OF_THE_HEAD * parts.head * parts.width / WIDE,
        kept_results=1,
        imports=(
            "olive.passes.pytorch.rtn",
            "transformers.models.bloom",
            "peft",
            "numpy.ctypeslib",
            "torch.distributed.tensor",
        ),
    ),
    "int4": OlivePath(passes=_int4, memory=lambda parts, rounded: rounded + _pieces(parts)),
    "bf16": _PIECE_BY_PIECE,
}
_ON_A_GPU = {"fp16": _PIECE_BY_PIECE}  # the builder's own


def olive_path(precision: str, target: Target) -> OlivePath:
    elsewhere = _ON_A_GPU if target.execution_provider != DEFAULT_PROVIDER.name else {}
    return elsewhere.get(precision, OLIVE[precision])


def passes_of(recipe: Recipe) -> Passes:
    # A LoRA is merged first: left to the builder, it ends in a file that Foundry Local does not load.
    merge: Passes = {"merge": {"type": "MergeAdapterWeights"}} if recipe.adapter else {}
    return merge | olive_path(recipe.precision, recipe.target).passes(recipe)


def olive_config(
    recipe: Recipe, model_path: str, output_dir: str, cache_dir: str, adapter_path: str | None = None
) -> dict[str, Any]:
    """Paths are absolute; `adapter_path` is needed when the recipe has an adapter."""
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
        "log_severity_level": 1,  # it names some failures only at this level, and still reports success
    }
