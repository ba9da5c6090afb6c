"""How much disk a conversion will take: the bytes that it produces and holds meanwhile, computed from the shapes of the
tensors, for the cost in a plan.

A weight of N rows and K columns becomes, in blocks of b columns and q bits: N * ceil(K/b) * b * q/8 bytes, a scale a
block, and a zero point a block where rounding is not symmetric. The embedding stays as it is beside a quantized head,
also where the source shares the two (Olive unties them). It and everything else (scales, norms, biases, the tables of
the rotation) have the width of the floats: of rounded weights four bytes on the CPU, two on a GPU.
tests/conversion/test_disk.py measures how near it comes.
"""

from collections.abc import Iterator
from math import prod

from reconciler.conversion.precisions import olive_path
from reconciler.domain.release import Recipe
from reconciler.domain.sources.model_config import rope_type, rotary_size
from reconciler.domain.sources.source_model import SourceModel
from reconciler.domain.targets.execution_providers import converted_for, floats_of
from reconciler.domain.targets.precisions import K_QUANT, TABLE

# The graph itself, as the builder writes it: nodes and names.
_GRAPH_BYTES = 4000
_GRAPH_BYTES_PER_LAYER = 7300
_GENAI_CONFIG_BYTES = 1500

_HEAD = "lm_head.weight"
# The builder multiplies with queries, keys and values at once.
_KEPT_WIDE = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "qkv_proj.weight", "down_proj.weight")
_EMBEDDING = "embed_tokens.weight"

# Carried over into the artifact (transformers writes them anew, much the same).
_TOKENIZER_FILES = frozenset({"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "tokenizer.model"})


def predict_bytes(source: SourceModel, recipe: Recipe) -> int:
    """All files of the artifact together."""
    tokenizer = sum(file.size for file in source.files if file.path in _TOKENIZER_FILES)
    return _model_bytes(source, recipe) + tokenizer + _GENAI_CONFIG_BYTES


def predict_peak_bytes(source: SourceModel, recipe: Recipe) -> int:
    """Disk use while the conversion runs, the artifact included: Olive keeps each pass's result in its cache until the
    end, and copies the last one out."""
    merged = source.weight_bytes if recipe.adapter else 0
    results = olive_path(recipe.precision, recipe.target).kept_results + 1
    return merged + results * _model_bytes(source, recipe) + predict_bytes(source, recipe)


def _model_bytes(source: SourceModel, recipe: Recipe) -> int:
    width = width_of_floats(recipe)
    layers = int(source.config["num_hidden_layers"])
    embedding = int(source.config["vocab_size"]) * int(source.config["hidden_size"])
    others = sum(prod(shape) for shape in source.shapes.values() if len(shape) != 2)
    floats = others + embedding + _rotation_count(source)
    matrices = sum(_matrix_bytes(name, shape, recipe, layers) for name, shape in _matrices(source))
    return _GRAPH_BYTES + _GRAPH_BYTES_PER_LAYER * layers + floats * width + matrices


def width_of_floats(recipe: Recipe) -> int:
    """Bytes of a number that is not rounded."""
    return TABLE[floats_of(recipe.precision, converted_for(recipe.target.execution_provider))].bits // 8


def _matrix_bytes(name: str, shape: tuple[int, ...], recipe: Recipe, layers: int) -> int:
    rows, columns = shape
    precision = TABLE[recipe.precision]
    if not precision.rounded:
        return rows * columns * precision.bits // 8
    bits = _bits(name, recipe, layers)
    block = int(recipe.options.get("block_size", 32))
    blocks = -(-columns // block)  # the last one is filled up
    has_zero_points = recipe.options.get("algorithm") in K_QUANT or not recipe.options.get("symmetric", True)
    zero_points = rows * -(-blocks * bits // 8) if has_zero_points else 0
    return rows * blocks * block * bits // 8 + rows * blocks * width_of_floats(recipe) + zero_points


def _bits(name: str, recipe: Recipe, layers: int) -> int:
    """The k_quant family keeps the head wide; its mixed form also the matrices with the largest errors, in some layers
    (llama.cpp's rule)."""
    algorithm = recipe.options.get("algorithm", "default")
    if algorithm in K_QUANT and name == _HEAD:
        return 8
    if algorithm == "k_quant_mixed" and name.endswith(_KEPT_WIDE):
        layer = int(next((part for part in name.split(".") if part.isdecimal()), 0))
        if layer < layers / 8 or layer >= 7 * layers / 8 or (layer - round(layers / 8)) % 3 == 2:
            return 8
    return TABLE[recipe.precision].bits


def _matrices(source: SourceModel) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Weights of matrix products. A source that shares its head with the embedding gets a head of its own."""
    for name, shape in source.shapes.items():
        if len(shape) == 2 and not name.endswith(_EMBEDDING):
            yield name, shape
    if _HEAD not in source.shapes:
        yield _HEAD, (source.config["vocab_size"], source.config["hidden_size"])


def _rotation_count(source: SourceModel) -> int:
    """Sines and cosines of every position; a stretched Phi-3 has a second pair up to its original length."""
    positions = source.context_length
    if rope_type(source.config) == "longrope":
        positions += int(source.config["original_max_position_embeddings"])
    return positions * rotary_size(source.config)
