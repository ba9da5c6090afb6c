"""What we read in a `config.json`, in transformers 5's shape or in 4's.

It is foreign input: `complaints` makes sure that the settings read here have the right type and a sane size. Whether a
model is one we know is not asked here but in `conversion.architectures`.
"""

from collections.abc import Callable, Mapping
from typing import Any

Config = Mapping[str, Any]
Setting = tuple[str, str, Callable[[object], bool]]

LARGEST_COUNT = 1 << 24  # no vocabulary, context or width comes near; a larger one only exhausts the memory
LARGEST_LAYER_COUNT = 1 << 12


def complaints(config: object) -> list[str]:
    """Everything wrong with it, one line each."""
    if not isinstance(config, Mapping):
        return ["expected an object"]
    found = [f"{name}: expected {expected}" for name, expected, fits in _REQUIRED if not fits(config.get(name))]
    found += [
        f"{name}: expected {expected}"
        for name, expected, fits in _OPTIONAL
        if config.get(name) is not None and not fits(config[name])
    ]
    return found or _relations(config)


def _relations(config: Config) -> list[str]:
    if config["hidden_size"] % config["num_attention_heads"] and not config.get("head_dim"):
        return ["hidden_size: expected a multiple of num_attention_heads"]
    return []


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= LARGEST_COUNT


def _is_layer_count(value: object) -> bool:
    return type(value) is int and 0 < value <= LARGEST_LAYER_COUNT


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and len(value) <= LARGEST_LAYER_COUNT


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, str) for entry in value)


def _is_rope(value: object) -> bool:
    numbers = ("rope_theta", "partial_rotary_factor", "factor", "alpha")
    return isinstance(value, Mapping) and all(value.get(n) is None or _is_number(value[n]) for n in numbers)


_REQUIRED: tuple[Setting, ...] = (
    ("architectures", "a list of names", _is_list_of_text),
    ("model_type", "a name", _is_text),
    ("vocab_size", "a number from 1 to 2^24", _is_count),
    ("hidden_size", "a number from 1 to 2^24", _is_count),
    ("num_hidden_layers", "a number from 1 to 4096", _is_layer_count),
    ("num_attention_heads", "a number from 1 to 2^24", _is_count),
    ("max_position_embeddings", "a number from 1 to 2^24", _is_count),
)

_OPTIONAL: tuple[Setting, ...] = (
    ("intermediate_size", "a number from 1 to 2^24", _is_count),
    ("num_key_value_heads", "a number from 1 to 2^24", _is_count),
    ("head_dim", "a number from 1 to 2^24", _is_count),
    ("original_max_position_embeddings", "a number from 1 to 2^24", _is_count),
    ("sliding_window", "a number from 1 to 2^24", _is_count),
    ("rope_theta", "a number", _is_number),
    ("partial_rotary_factor", "a number", _is_number),
    ("compression_ratio", "a number", _is_number),
    ("rope_parameters", "an object of numbers", _is_rope),
    ("rope_scaling", "an object of numbers", _is_rope),
    ("hidden_act", "a name", _is_text),
    ("layer_types", "a list of names", _is_list_of_text),
    ("no_rope_layers", "a list", _is_list),
    ("tie_word_embeddings", "true or false", _is_switch),
    ("use_sliding_window", "true or false", _is_switch),
)


def architecture_of(config: Config) -> str:
    """The builder looks at the first one only."""
    return str(config["architectures"][0])


def head_size(config: Config) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def rotary_size(config: Config) -> int:
    """How many of a head's numbers are rotated."""
    return int(head_size(config) * partial_factor(config))


def rope_of(config: Config) -> Config:
    """The settings of the rotation, in transformers 5's place or in 4's."""
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def rope_type(config: Config) -> str:
    rope = rope_of(config)
    return str(rope.get("rope_type") or rope.get("type") or "default")


def partial_factor(config: Config) -> float:
    inner = rope_of(config).get("partial_rotary_factor")
    return float(config.get("partial_rotary_factor", 1.0) if inner is None else inner)


def rope_theta(config: Config) -> float:
    return float(rope_of(config).get("rope_theta") or config.get("rope_theta") or 10000.0)
