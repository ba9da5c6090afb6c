"""The architectures that the pinned tools convert rightly, and those that were seen to come out wrong.

Listed as right is what was measured so: a random model of the architecture, converted at fp32, gave the logits of
transformers (cosine >= 0.9999 over a prompt longer than the window) with each setting it is listed with.
`tests/conversion/test_parity.py` measures both tables again; a new pin of any tool begins there.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.domain.sources.model_config import Config, rope_of, rope_theta, rope_type
from reconciler.domain.targets.execution_providers import CONVERTIBLE

Check = Callable[[Config], str | None]

# Tokens. Beyond them Phi-3's rotation has other factors, and what the cache holds has to be computed anew: the runtime
# does so here (generators.cpp, phi3_rope_threshold_), whatever the model says.
_SWITCH = 4096

_STRETCHES = frozenset({"default", "linear", "llama3", "dynamic"})


@dataclass(frozen=True, kw_only=True)
class Verified:
    """One architecture, and the settings with which it was measured."""

    model_type: str
    activations: frozenset[str] = frozenset({"silu"})
    rope_types: frozenset[str] = _STRETCHES
    layer_types: frozenset[str] = frozenset({"full_attention"})
    sliding_window: bool = False  # it may be set: one window for all layers, or none while use_sliding_window is off
    partial_rotation: bool = False
    switches: frozenset[str] = frozenset()  # settings that may be on
    precisions: frozenset[str] = frozenset(CONVERTIBLE)
    checks: tuple[Check, ...] = ()


def _phi3_rotation(config: Config) -> str | None:
    """Phi-3 is right only as transformers 4 wrote its settings; the builder does not find them where 5 puts them."""
    newer, older = config.get("rope_parameters") or {}, config.get("rope_scaling") or {}
    if newer.get("partial_rotary_factor", 1.0) != 1.0 or (newer and rope_type(config) == "longrope"):
        return "rope_parameters as transformers 5 writes them lose the partial rotation (cosine 0.12)"
    if "attention_factor" in older:
        return "the pinned builder ignores the attention_factor of rope_scaling"
    if older and older.get("type") != "longrope":
        return "rope_scaling without type longrope is not verified"
    original = config.get("original_max_position_embeddings", _SWITCH)
    if (original != config["max_position_embeddings"]) != (rope_type(config) == "longrope"):
        return "original_max_position_embeddings and the rotation do not belong together"
    if rope_type(config) == "longrope" and original != _SWITCH:
        return (
            f"its rotation changes after {original} tokens, and in an answer the runtime changes over at {_SWITCH} "
            "only: between the two it comes out wrong (divergence 4 nats)"
        )
    return None


def _every_layer_rotates(config: Config) -> str | None:
    layers = config.get("no_rope_layers")
    if layers and all(layers):
        return None
    return "layers without rotation (NoPE) stop the pinned builder (KeyError 'position_ids')"


def _hunyuan_rotation(config: Config) -> str | None:
    if rope_theta(config) != 10000.0 or rope_of(config).get("alpha") not in (None, 1, 1.0):
        return "the pinned builder loses rope_theta and alpha: right only with 10000 and none (cosine 0.53)"
    return None


def _head_size_is_written(config: Config) -> str | None:
    """These architectures have a default of their own, which only transformers knows."""
    return None if config.get("head_dim") else "head_dim is not written in config.json"


def _no_compression(config: Config) -> str | None:
    return None if config.get("compression_ratio") in (None, 1, 1.0) else "compression_ratio is not verified"


_GELU = frozenset({"gelu", "gelu_pytorch_tanh"})
_PLAIN = frozenset({"default"})
_BIASES = frozenset({"attention_bias", "mlp_bias"})

VERIFIED: dict[str, Verified] = {
    "Ernie4_5ForCausalLM": Verified(
        model_type="ernie4_5", switches=frozenset({"use_bias"}), checks=(_no_compression, _head_size_is_written)
    ),
    "GemmaForCausalLM": Verified(
        model_type="gemma", activations=_GELU, switches=frozenset({"attention_bias"}), checks=(_head_size_is_written,)
    ),
    "GraniteForCausalLM": Verified(model_type="granite", switches=_BIASES),
    "HunYuanDenseV1ForCausalLM": Verified(
        model_type="hunyuan_v1_dense",
        rope_types=_PLAIN,
        switches=frozenset({"attention_bias"}),
        precisions=frozenset(CONVERTIBLE) - {"int8"},
        checks=(_hunyuan_rotation,),
    ),
    "Lfm2ForCausalLM": Verified(model_type="lfm2", layer_types=frozenset({"full_attention", "conv"})),
    "LlamaForCausalLM": Verified(model_type="llama", activations=frozenset({"silu", "gelu"}), switches=_BIASES),
    "MistralForCausalLM": Verified(model_type="mistral", sliding_window=True),
    "Phi3ForCausalLM": Verified(
        model_type="phi3",
        rope_types=frozenset({"default", "longrope"}),
        sliding_window=True,
        partial_rotation=True,
        checks=(_phi3_rotation,),
    ),
    "Qwen2ForCausalLM": Verified(model_type="qwen2", sliding_window=True),
    "Qwen3ForCausalLM": Verified(
        model_type="qwen3", sliding_window=True, switches=frozenset({"attention_bias"}), checks=(_head_size_is_written,)
    ),
    "SmolLM3ForCausalLM": Verified(
        model_type="smollm3", sliding_window=True, switches=_BIASES, checks=(_every_layer_rotates,)
    ),
}

SEEN_WRONG: dict[str, str] = {
    "Gemma2ForCausalLM": "Gemma 2 swaps its local and global layers: wrong beyond the window (cosine 0.95)",
    "Gemma3ForCausalLM": "Gemma 3 stops the pinned builder (AttributeError rope_local_base_freq)",
    "GptOssForCausalLM": "gpt-oss comes out wrong: its rotation is not inverted (cosine 0.11)",
    "NemotronForCausalLM": "Nemotron comes out wrong: its partial rotation is lost (cosine 0.37)",
    "Olmo2ForCausalLM": "OLMo 2 is not supported by the pinned builder",
    "OlmoForCausalLM": "OLMo comes out wrong: another norm is built (cosine 0.82)",
    "PhiForCausalLM": "Phi-2 comes out wrong: its partial rotation is lost (cosine 0.79)",
    "Qwen3MoeForCausalLM": "Qwen 3 MoE is not supported by the pinned builder",
    "StableLmForCausalLM": "StableLM is not supported by the pinned builder",
}
