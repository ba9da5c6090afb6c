"""How many bytes a conversion will produce, worked out from shapes alone, so that a plan can name its cost.

A weight of N rows and K columns becomes, in blocks of b columns and q bits: N * ceil(K/b) * b * q/8 bytes, a float32
scale a block, and a zero point a block where rounding is not symmetric. The embedding stays float32 beside a quantized
head, also where the source shares the two (Olive unties them). Everything else (norms, biases, the tables of the
rotation) keeps the width of the floats. How near it comes is measured
in tests/conversion/test_prediction.py.
"""

from collections.abc import Iterator

from reconciler.conversion.precisions import OLIVE
from reconciler.domain.release import Recipe
from reconciler.domain.sources.model_config import rope_type, rotary_size
from reconciler.domain.sources.source_model import SourceModel
from reconciler.domain.targets import K_QUANT, TABLE

# The graph itself, as the builder writes it: nodes and names.
_GRAPH_BYTES = 4000
_GRAPH_BYTES_PER_LAYER = 7300
_SCALE_BYTES = 4
_GENAI_CONFIG_BYTES = 1500

# Carried over into the artifact (transformers writes them anew, much the same).
_TOKENIZER_FILES = frozenset({"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "tokenizer.model"})


def predict_bytes(source: SourceModel, recipe: Recipe) -> int:
    """All files of the artifact together."""
    tokenizer = sum(file.size for file in source.files if file.path in _TOKENIZER_FILES)
    return _model_bytes(source, recipe) + tokenizer + _GENAI_CONFIG_BYTES


def predict_peak_bytes(source: SourceModel, recipe: Recipe) -> int:
    """What the disk must hold while the conversion runs, the artifact included: Olive keeps each pass's result in its
    cache until the end, and copies the last one out."""
    result = _model_bytes(source, recipe)
    before = OLIVE[recipe.precision].kept_results * result
    merged = source.weight_bytes if recipe.adapter else 0
    return merged + before + 2 * result + predict_bytes(source, recipe) - result


def _model_bytes(source: SourceModel, recipe: Recipe) -> int:
    width = TABLE[TABLE[recipe.precision].floats].bits // 8
    layers = int(source.config["num_hidden_layers"])
    kept = _other_count(source) + _embedding_count(source) + _rotation_count(source)
    matrices = sum(_matrix_bytes(name, shape, recipe, layers) for name, shape in _matrices(source))
    return _GRAPH_BYTES + _GRAPH_BYTES_PER_LAYER * layers + kept * width + matrices


def _matrix_bytes(name: str, shape: tuple[int, ...], recipe: Recipe, layers: int) -> int:
    rows, columns = shape
    precision = TABLE[recipe.precision]
    if not precision.rounded:
        return rows * columns * precision.bits // 8
    bits = _bits(name, recipe, layers)
    block = int(recipe.options.get("block_size", 32))
    blocks = -(-columns // block)  # the last one is filled up
    zero_points = rows * -(-blocks * bits // 8) if _has_zero_points(recipe) else 0
    return rows * blocks * block * bits // 8 + rows * blocks * _SCALE_BYTES + zero_points


def _bits(name: str, recipe: Recipe, layers: int) -> int:
    """The k_quant family keeps the head wide; its mixed form also what errs most, in some layers (llama.cpp's rule)."""
    algorithm = recipe.options.get("algorithm", "default")
    if algorithm in K_QUANT and name == _HEAD:
        return 8
    if algorithm == "k_quant_mixed" and name.endswith(_KEPT_WIDE) and _is_kept_wide(_layer(name), layers):
        return 8
    return TABLE[recipe.precision].bits


def _layer(name: str) -> int:
    return int(next(part for part in name.split(".") if part.isdigit()))


def _is_kept_wide(layer: int, layers: int) -> bool:
    return layer < layers / 8 or layer >= 7 * layers / 8 or (layer - round(layers / 8)) % 3 == 2


def _has_zero_points(recipe: Recipe) -> bool:
    return recipe.options.get("algorithm") in K_QUANT or not recipe.options.get("symmetric", True)


_HEAD = "lm_head.weight"
# The builder multiplies with queries, keys and values at once.
_KEPT_WIDE = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "qkv_proj.weight", "down_proj.weight")
_EMBEDDING = "embed_tokens.weight"


def _matrices(source: SourceModel) -> Iterator[tuple[str, tuple[int, ...]]]:
    """What is multiplied with. A source that shares its head with the embedding gets a head of its own."""
    for name, shape in source.shapes.items():
        if len(shape) == 2 and not name.endswith(_EMBEDDING):
            yield name, shape
    if _HEAD not in source.shapes:
        yield _HEAD, (source.config["vocab_size"], source.config["hidden_size"])


def _embedding_count(source: SourceModel) -> int:
    return int(source.config["vocab_size"]) * int(source.config["hidden_size"])


def _other_count(source: SourceModel) -> int:
    return sum(_count(shape) for shape in source.shapes.values() if len(shape) != 2)


def _rotation_count(source: SourceModel) -> int:
    """Sines and cosines of every position; a stretched Phi-3 has a second pair up to its original length."""
    positions = source.context_length
    if rope_type(source.config) == "longrope":
        positions += int(source.config["original_max_position_embeddings"])
    return positions * rotary_size(source.config)


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
