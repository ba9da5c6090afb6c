"""Whether the weights of an adapter belong to a base: PEFT leaves out, with a warning in its log, what finds no place
there, and the base would be served in the adapter's name. Pure; by names and shapes, as PEFT's `save_pretrained`
writes them."""

import re
from collections.abc import Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

_PART = re.compile(r"base_model\.model\.(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")
_LAYER = re.compile(r"^(.*\.)(\d+)(\..*)$")
_HEAD, _EMBEDDING = "lm_head", "model.embed_tokens"


def mismatch(config: Mapping[str, Any], adapter: Shapes, base: Shapes) -> str:
    """What does not belong, in words; "" where all does."""
    modules = set()
    for name, shape in adapter.items():
        part = _PART.fullmatch(name)
        if part is None:
            return f"its {name} is no weight of LoRA"
        module, factor = part.groups()
        own = base.get(f"{module}.weight") or (base.get(f"{_EMBEDDING}.weight") if module == _HEAD else None)
        if own is None:
            return f"its {name} changes {module}, which the base does not have"
        if len(shape) != 2 or len(own) != 2 or _meets(factor, shape) != _side(name, factor, own):
            return f"its {name} has the shape {_text(shape)}, and {module} of the base {_text(own)}"
        modules.add(module)
    return _left_out(config, modules, base) if modules else "it holds no weights"


def _meets(factor: str, shape: tuple[int, ...]) -> int:
    """The side that meets the base: A takes what the module takes, B gives what it gives."""
    return shape[1] if factor == "A" else shape[0]


def _side(name: str, factor: str, base: tuple[int, ...]) -> int:
    """A matrix is (gives, takes). An embedding is stored the other way round."""
    takes = 0 if "lora_embedding_" in name else 1
    return base[takes if factor == "A" else 1 - takes]


def _left_out(config: Mapping[str, Any], modules: set[str], base: Shapes) -> str:
    """A layer of the base that the adapter passes over, though its configuration names modules of all layers."""
    if config.get("layers_to_transform") is not None or not isinstance(config.get("target_modules"), list):
        return ""
    wanted = {match[1] + match[3] for match in map(_LAYER.match, modules) if match}
    for name in base:
        module = name.removesuffix(".weight")
        layer = _LAYER.match(module)
        if name != module and layer and layer[1] + layer[3] in wanted and module not in modules:
            return f"it has nothing for {module} of the base"
    return ""


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
