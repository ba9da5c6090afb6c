"""How much memory a conversion will hold, and the comparison with its source after it: the larger of the two peaks, in
bytes, computed from the shapes of the tensors. Mapped files do not count, because the system can drop them.

The constants are of the pinned tools, with whole programs and the command counted; tests/conversion/test_memory.py
measures again. It is meant to be too large rather than too small.
"""

from dataclasses import dataclass
from math import prod

from reconciler.conversion.precisions import WIDE, ModelParts, olive_path
from reconciler.domain.release import Recipe
from reconciler.domain.sources.model_config import Config
from reconciler.domain.sources.source_model import SourceModel
from reconciler.domain.targets.execution_providers import CONVERTIBLE
from reconciler.domain.targets.precisions import K_QUANT, TABLE

LEAST = 600 << 20  # torch, Olive and transformers in the worker, and the command
_EMBEDDING = "embed_tokens.weight"
_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}  # bytes, by the names of config.json
_COPIES_IN_THE_CHECK = 2  # of the part that is loaded: the source's, and the artifact's in its place


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """`loaded`: bytes that transformers holds of the source."""

    parts: ModelParts
    loaded: float


def predict_memory(source: SourceModel, recipe: Recipe) -> dict[str, int]:
    """At each precision; at that of `recipe` with its options."""
    sizes = _sizes(source)
    return {name: conversion_peak(sizes, recipe, name) for name in CONVERTIBLE}


def conversion_peak(sizes: ModelSizes, recipe: Recipe, precision: str) -> int:
    parts = sizes.parts
    # PEFT merges into a whole model in memory.
    held = parts.whole if recipe.adapter else sizes.loaded
    checked = _COPIES_IN_THE_CHECK * parts.largest
    rounded = _rounded(parts, recipe, precision)
    return int(LEAST + held + max(checked, olive_path(precision, recipe.target).memory(parts, rounded)))


def sizes_from_config(config: Config, weight_bytes: int) -> ModelSizes:
    """Of a source whose weights were never looked at. Where config.json does not say it, its weights are in half
    precision and its head is the embedding, which is too large rather than too small."""
    width = _width(config) or _WIDTHS["bfloat16"]
    head = int(config["vocab_size"]) * int(config["hidden_size"])
    numbers, tied = weight_bytes // width, config.get("tie_word_embeddings") is not False
    layer = max(numbers - head * (1 if tied else 2), 0) // int(config["num_hidden_layers"])
    parts = ModelParts(
        matrices=numbers if tied else max(numbers - head, head),
        whole=WIDE * (numbers + (head if tied else 0)),
        head=WIDE * head,
        largest=WIDE * max(head, layer),
        width=width,
    )
    return ModelSizes(parts=parts, loaded=0)


def _sizes(source: SourceModel) -> ModelSizes:
    sizes = {name: prod(shape) for name, shape in source.shapes.items()}
    numbers, embeddings = sum(sizes.values()), sum(size for name, size in sizes.items() if name.endswith(_EMBEDDING))
    head = int(source.config["vocab_size"]) * int(source.config["hidden_size"])
    layers: dict[str, int] = {}
    for name, size in sizes.items():
        layers[_layer_of(name)] = layers.get(_layer_of(name), 0) + size
    shared = head if "lm_head.weight" not in sizes else 0
    parts = ModelParts(
        matrices=numbers - embeddings + shared,
        whole=WIDE * (numbers + shared),
        head=WIDE * head,
        largest=WIDE * max(layers.values()),
        width=source.weight_bytes / numbers,
    )
    return ModelSizes(parts=parts, loaded=_loaded(source, numbers))


def _layer_of(name: str) -> str:
    """What is loaded with it: its decoder layer, or nothing else."""
    before, layers, after = name.partition(".layers.")
    return before + layers + after.partition(".")[0] if layers else name


def _loaded(source: SourceModel, numbers: int) -> int:
    """What transformers holds of the source: nothing where it maps the files, everything where config.json asks for
    another type than the files have."""
    width = _width(source.config)
    return numbers * width if width and round(source.weight_bytes / numbers) != width else 0


def _width(config: Config) -> int | None:
    return _WIDTHS.get(str(config.get("dtype") or config.get("torch_dtype")))


def _rounded(parts: ModelParts, recipe: Recipe, precision: str) -> float:
    """Bytes of all matrices: numbers, a scale a block and a zero point."""
    options = recipe.options if precision == recipe.precision else {}
    bits = 8 if options.get("algorithm") in K_QUANT else TABLE[precision].bits
    return parts.matrices * (bits + (32 + bits) / int(options.get("block_size", 32))) / 8
