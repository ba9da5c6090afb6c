"""Whether PEFT merges all of an adapter. What its configuration does not name, and what is missing, PEFT passes over
with a warning, and a base with a part of the adapter, or nothing of it, would be served in the adapter's name. So would
one whose adapter was never trained."""

import os
import re
from typing import Any

from reconciler.conversion.worker.streamed import empty_model
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.sources.source_model import ADAPTER_WEIGHTS

_SHARED = re.compile(r"\b(lm_head|embed_tokens)\.(lora_|weight)")
_FACTOR = re.compile(r"\.lora_(embedding_)?[AB]\b")


def check_adapter(model: str, adapter: str) -> None:
    """Both are folders. By what PEFT would save of such an adapter of this model."""
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors import safe_open

    empty = get_peft_model(empty_model(model), LoraConfig.from_pretrained(adapter), low_cpu_mem_usage=True)
    named: Any = get_peft_model_state_dict(empty, save_embedding_layers=False)
    with safe_open(os.path.join(adapter, ADAPTER_WEIGHTS), framework="pt") as file:
        held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no mapping
        require_change(file, list(held))
    unlike = held.items() ^ {(name, tuple(tensor.shape)) for name, tensor in named.items()}
    shared = [name for name in held if empty.config.tie_word_embeddings and _SHARED.search(name)]
    if shared:
        raise ConversionFailed(f"the adapter has {shared[0]}: in this base embedding and head are one weight")
    if unlike:
        name, shape = min(unlike)
        has = "has" if name in held else "lacks"
        raise ConversionFailed(f"the adapter {has} {name} {shape}, unlike its configuration with this base")


def require_change(weights: Any, names: list[str]) -> None:
    """LoRA adds the product of two factors, one of which is zero until it is trained. What is trained as a whole, and
    the magnitudes of DoRA, count as a change."""
    zero = {_FACTOR.sub("", name) for name in names if _FACTOR.search(name) and not weights.get_tensor(name).any()}
    if {_FACTOR.sub("", name) for name in names} <= zero:  # guard: no base is served in the name of an adapter
        raise ConversionFailed("the adapter changes nothing: it adds zeros, as before the first step of its training")
