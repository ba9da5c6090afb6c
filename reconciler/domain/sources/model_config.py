"""What we read in a `config.json`, in transformers 5's shape or in 4's.

It is foreign input: `complaints` makes sure that the settings read here have the right type and a sane size. Whether a
model is one we know is not asked here but in `conversion.architectures`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

Config = Mapping[str, Any]
Form = tuple[str, Callable[[object], bool]]  # what is expected, and whether a value is that

LARGEST_COUNT = 1 << 24  # no vocabulary, context or width comes near; a larger one only exhausts the memory
LARGEST_LAYER_COUNT = 1 << 12
SHORTEST_CONTEXT = 16  # tokens: no answer fits into less, and neither does what is compared
_ENDLESS = 1e30


def complaints(config: object) -> list[str]:
    """Everything wrong with it, one line each."""
    if not isinstance(config, Mapping):
        return ["expected an object"]
    found = [
        f"{name}: expected {expected}"
        for settings in (_REQUIRED, _OPTIONAL)
        for name, (expected, fits) in settings.items()
        if not fits(config.get(name)) and (settings is _REQUIRED or config.get(name) is not None)
    ]
    if not found and config["hidden_size"] % config["num_attention_heads"] and not config.get("head_dim"):
        return ["hidden_size: expected a multiple of num_attention_heads"]
    return found


def _is_number(value: object) -> bool:
    """A finite one: JSON of Python knows NaN and Infinity."""
    return type(value) in (int, float) and abs(value) < _ENDLESS  # type: ignore[arg-type]


def _is_rope(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    numbers = ("rope_theta", "partial_rotary_factor", "factor", "alpha")
    original = value.get("original_max_position_embeddings")
    return all(value.get(n) is None or _is_number(value[n]) for n in numbers) and (
        original is None or _COUNT[1](original)
    )


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, str) for entry in value)


def _is_from(least: int, value: object) -> bool:
    return type(value) is int and least <= value <= LARGEST_COUNT


_COUNT: Form = ("a number from 1 to 2^24", partial(_is_from, 1))
_CONTEXT: Form = (f"a number from {SHORTEST_CONTEXT} to 2^24", partial(_is_from, SHORTEST_CONTEXT))
_LAYERS: Form = ("a number from 1 to 4096", lambda value: type(value) is int and 0 < value <= LARGEST_LAYER_COUNT)
_NUMBER: Form = ("a number", _is_number)
_NAME: Form = ("a name", lambda value: isinstance(value, str))
_SWITCH: Form = ("true or false", lambda value: isinstance(value, bool))
_NAMES: Form = ("a list of names", _is_list_of_text)
_LIST: Form = ("a list", lambda value: isinstance(value, list) and len(value) <= LARGEST_LAYER_COUNT)
_ROPE: Form = ("an object of numbers", _is_rope)

_REQUIRED = {"architectures": _NAMES, "model_type": _NAME, "vocab_size": _COUNT, "hidden_size": _COUNT}
_REQUIRED |= {"num_hidden_layers": _LAYERS, "num_attention_heads": _COUNT, "max_position_embeddings": _CONTEXT}
_OPTIONAL = dict.fromkeys(("intermediate_size", "num_key_value_heads", "head_dim", "sliding_window"), _COUNT)
_OPTIONAL |= {"original_max_position_embeddings": _COUNT, "no_rope_layers": _LIST, "layer_types": _NAMES}
_OPTIONAL |= {"rope_parameters": _ROPE, "rope_scaling": _ROPE, "hidden_act": _NAME}
_OPTIONAL |= {"tie_word_embeddings": _SWITCH, "use_sliding_window": _SWITCH}
_OPTIONAL |= dict.fromkeys(("rope_theta", "partial_rotary_factor", "compression_ratio"), _NUMBER)


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
    found = (one.get("partial_rotary_factor") for one in (rope_of(config), config))
    return next((float(one) for one in found if one is not None), 1.0)


def rope_theta(config: Config) -> float:
    return float(rope_of(config).get("rope_theta") or config.get("rope_theta") or 10000.0)


def boundaries(config: Config) -> dict[str, int]:
    """After how many tokens a model computes otherwise, by what that is."""
    found: dict[str, int] = {}
    original = rope_of(config).get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    if isinstance(original, int) and rope_type(config) != "default":
        found["the original context"] = original
    window = config.get("sliding_window")
    if window and config.get("use_sliding_window", True):
        found |= {"the sliding window": window, "twice the sliding window": 2 * window}
    return found
