"""What one precision of a model will need of a machine, predicted from its config.json and the size of its weights
alone: both are in the lock, so the answer is the same before the source was ever fetched, and on another machine.

Serving: the files, and the keys and values of the whole context, which Foundry Local 2.2.1 holds from the first token.
Of the models in docs/real-models.md that is at int4 and int8 at most 8 % more than their peak, and 2 % less at worst;
the gate `load` measures.
"""

from math import ceil

from reconciler.conversion.disk import width_of_floats
from reconciler.conversion.memory import conversion_peak, sizes_from_config
from reconciler.conversion.precisions import WIDE, olive_path
from reconciler.domain.machine.precision_choice import PrecisionNeeds
from reconciler.domain.release import Recipe
from reconciler.domain.sources.model_config import Config, head_size
from reconciler.domain.sources.source_model import SourceModel
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER
from reconciler.domain.targets.precisions import K_QUANT, TABLE

LEAST_SERVING = 200 << 20  # the runtime without a model
# By the bytes of a weight that is not rounded: what is packed anew for the products stands beside what was loaded. Of
# half precision, which is widened for that, measured; of single precision assumed.
_HELD = {2: 2.2, 4: 2.0}


def predict_needs(source: SourceModel, recipe: Recipe) -> PrecisionNeeds | None:
    """At the recipe's precision; None where nothing is known of the source yet."""
    weights = sum(file.size for file in source.files if file.path.endswith(".safetensors"))
    if not (source.config and weights):
        return None
    sizes = sizes_from_config(source.config, weights)
    precision = TABLE[recipe.precision]
    floats = width_of_floats(recipe)
    matrices = ceil(sizes.parts.matrices * _bits_of_a_weight(recipe) / 8)
    embedding = sizes.parts.head // WIDE
    files = matrices + embedding * floats
    widened = not precision.rounded and recipe.target.execution_provider == DEFAULT_PROVIDER.name
    held = int(files * _HELD[floats]) if widened else files
    cache = _cache(source.config, floats)
    return PrecisionNeeds(
        memory=LEAST_SERVING + held + cache,
        cache=cache,
        disk=files,
        read=matrices if precision.rounded else sizes.parts.matrices * WIDE,
        conversion_memory=conversion_peak(sizes, recipe, recipe.precision),
        conversion_disk=weights + (olive_path(recipe.precision, recipe.target).kept_results + 2) * files,
        provider=recipe.target.execution_provider,
    )


def _bits_of_a_weight(recipe: Recipe) -> float:
    precision = TABLE[recipe.precision]
    if not precision.rounded:
        return precision.bits
    bits = 8 if recipe.options.get("algorithm") in K_QUANT else precision.bits
    return bits + (8 * width_of_floats(recipe) + bits) / int(recipe.options.get("block_size", 32))


def _cache(config: Config, width: int) -> int:
    """Keys and values of every position of the context."""
    heads = int(config.get("num_key_value_heads") or config["num_attention_heads"])
    numbers = 2 * int(config["num_hidden_layers"]) * heads * head_size(config)
    return numbers * int(config["max_position_embeddings"]) * width
