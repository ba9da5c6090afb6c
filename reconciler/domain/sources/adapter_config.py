"""What we read in an `adapter_config.json` of PEFT: LoRA, with magnitudes of its own (DoRA) or without, whose weights
alone say what it adds to a base, and modules that were trained as a whole beside it (`modules_to_save`).

It is foreign input: `complaints` makes sure that each setting has the type that PEFT expects, and refuses what PEFT
could do beyond that (modules to import, methods that were never measured, a base that is changed as well).
"""

from collections.abc import Callable, Mapping
from typing import Any

Config = Mapping[str, Any]
Form = tuple[str, Callable[[object], bool]]  # what is expected, and whether a value is that

LARGEST_RANK = 1 << 20
BEYOND = "only LoRA, DoRA and whole modules (modules_to_save) are merged"
# PEFT's own names for how the factors began. The other ways (pissa, olora, loftq) change the base's weights too.
_BEGINNINGS = (True, False, None, "gaussian", "orthogonal", "eva")
_PLAIN_BEGINNING = "one that leaves the base as it is (save with path_initial_model_for_weight_conversion)"
_HARMLESS = frozenset(
    ("base_model_name_or_path", "inference_mode", "megatron_core", "peft_version", "qalora_group_size", "revision")
)
_OFF: tuple[object, ...] = (None, False, "none", [], {})


def complaints(config: Config) -> list[str]:
    """Everything wrong with it, one line each."""
    found = [
        f"{name} {_short(config.get(name))}, expected {expected}"
        for name, (expected, fits) in _FORMS.items()
        if not fits(config.get(name, _DEFAULTS.get(name)))
    ]
    more = [name for name, held in config.items() if name not in (_HARMLESS | _FORMS.keys()) and held not in _OFF]
    return found + [f"{name[:80]} is set: {BEYOND}" for name in more]


def rank(config: Config) -> int | None:
    """Of each factor; None where patterns give some modules another one."""
    return None if config.get("rank_pattern") else int(config.get("r", _DEFAULTS["r"]))


def _short(value: object) -> str:
    return repr(value)[:80]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= LARGEST_RANK


def _is_factor(value: object) -> bool:
    """Neither nothing nor endless."""
    return type(value) in (int, float) and 0 < abs(value) < 1e9  # type: ignore[arg-type]


def _are_names(value: object) -> bool:
    return isinstance(value, str | list) and bool(value) and all(isinstance(one, str) for one in value)


def _are_listed(value: object) -> bool:
    return isinstance(value, list) and _are_names(value)


def _are_layers(value: object) -> bool:
    return value is None or type(value) is int or (isinstance(value, list) and all(type(one) is int for one in value))


def _pattern_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or (isinstance(value, dict) and all(map(fits, value.values())))


def _is_switch(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _is_of_transformers(value: object) -> bool:
    """What PEFT writes where no task was given: the class that the adapter was put on. It is never imported here."""
    if not isinstance(value, dict) or value.keys() != {"base_model_class", "parent_library"}:
        return False
    return _are_names([*value.values()]) and f"{value['parent_library']}.".startswith("transformers.")


_DEFAULTS: dict[str, Any] = {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0, "init_lora_weights": True}  # PEFT's
_FORMS: dict[str, Form] = {
    "peft_type": ("'LORA'", lambda value: value == "LORA"),
    "task_type": ("'CAUSAL_LM' or null", lambda value: value in ("CAUSAL_LM", None)),
    "auto_mapping": ("a class of transformers", lambda value: value in _OFF or _is_of_transformers(value)),
    "r": ("a whole number from 1", _is_count),
    "lora_alpha": ("a number that is not 0", _is_factor),
    "lora_dropout": ("a number", lambda value: type(value) in (int, float)),
    "target_modules": ("names of modules", _are_names),
    "modules_to_save": ("names of modules", lambda value: value in _OFF or _are_listed(value)),
    "layers_to_transform": ("numbers of layers", _are_layers),
    "layers_pattern": ("a name", lambda value: value in _OFF or _are_names(value)),
    "rank_pattern": ("whole numbers by name", _pattern_of(_is_count)),
    "alpha_pattern": ("numbers by name", _pattern_of(_is_factor)),
    "use_dora": ("true or false", _is_switch),
    "use_rslora": ("true or false", _is_switch),
    "fan_in_fan_out": ("true or false", _is_switch),
    "init_lora_weights": (_PLAIN_BEGINNING, lambda value: value in _BEGINNINGS),
}
