"""Tiny random models to convert: real folders as Hugging Face lays them out, made in milliseconds.

`write_qwen2` needs nothing but the standard library. The other families come from transformers itself, so that their
tensors are what the real ones are: `python -m tests.tiny_models FOLDER NAME...` in a child process makes them, about
twenty seconds for all of them. Weights are spread wide (std 0.15), which makes a wrong rotation or a wrong window
visible in the logits; the tokenizer knows every byte and three special tokens.
"""

import functools
import json
import os
import random
import sys
from array import array
from pathlib import Path
from typing import Any

VOCABULARY = 320
SPECIAL_TOKENS = {256: "<|endoftext|>", 257: "<|im_start|>", 258: "<|im_end|>"}
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 256,
    "eos_token_id": 258,
    "pad_token_id": 256,
    "tie_word_embeddings": False,
}


def _rope(kind: str = "default", theta: float = 1e6, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


_LLAMA3_ROPE = _rope(
    "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=128
)
_SLIDING = {"sliding_window": 64}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
_LONG = {"short_factor": [1.0 + i / 16 for i in range(24)], "long_factor": [1.0 + i / 4 for i in range(24)]}


def _long_rope(original: int, context: int, **more: Any) -> dict[str, Any]:
    rope = _rope(
        "longrope", 1e4, partial_rotary_factor=0.75, original_max_position_embeddings=original, **_LONG, **more
    )
    sizes = {"original_max_position_embeddings": original, "max_position_embeddings": context, "hidden_size": 256}
    return {**rope, **sizes}


# name -> (transformers' configuration class, what differs from _COMMON)
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2Config", _rope()),
    "qwen2-tied": ("Qwen2Config", {**_rope(), "tie_word_embeddings": True}),
    "qwen2-yarn-betas": (
        "Qwen2Config",
        _rope("yarn", factor=4.0, original_max_position_embeddings=128, beta_fast=32.0, beta_slow=1.0),
    ),
    "qwen2-sliding": ("Qwen2Config", {**_rope(), **_SLIDING, "use_sliding_window": True, "max_window_layers": 2}),
    "qwen3": ("Qwen3Config", {**_rope(), "head_dim": 32}),
    "qwen3-wide-heads": ("Qwen3Config", {**_rope(), "head_dim": 64, "tie_word_embeddings": True}),
    "qwen3-bias": ("Qwen3Config", {**_rope(), "head_dim": 32, "attention_bias": True}),
    "llama": ("LlamaConfig", _rope(theta=5e5)),
    "llama-tied": ("LlamaConfig", {**_rope(theta=5e5), "tie_word_embeddings": True}),
    "llama-biases": ("LlamaConfig", {**_rope(), "attention_bias": True, "mlp_bias": True}),
    "llama-wide-heads": ("LlamaConfig", {**_rope(), "head_dim": 64}),
    "llama-odd-heads": ("LlamaConfig", {**_rope(), "head_dim": 24}),
    "llama-tiny-heads": ("LlamaConfig", {**_rope(), "head_dim": 8}),
    # transformers ignores caps here, the builder does not.
    "llama-attention-cap": ("LlamaConfig", {**_rope(theta=5e5), "attn_logit_softcapping": 50.0}),
    "llama-logit-cap": ("LlamaConfig", {**_rope(theta=5e5), "final_logit_softcapping": 30.0}),
    "llama-gelu": ("LlamaConfig", {**_rope(), "hidden_act": "gelu"}),
    "mistral": ("MistralConfig", {**_rope(), "sliding_window": None}),
    "mistral-sliding": ("MistralConfig", {**_rope(), **_SLIDING}),
    "phi3": ("Phi3Config", {**_rope(theta=2e4), "original_max_position_embeddings": 512}),
    "phi3-sliding": ("Phi3Config", {**_rope(theta=2e4), **_SLIDING, "original_max_position_embeddings": 512}),
    "phi3-partial": (
        "Phi3Config",
        {**_rope(theta=2e4, partial_rotary_factor=0.75), "original_max_position_embeddings": 512, "hidden_size": 256},
    ),
    "phi3-long": ("Phi3Config", {**_long_rope(4096, 8192), "num_hidden_layers": 2}),
    # The runtime changes to the long factors at 4,096 tokens, whatever the model says.
    "phi3-long-early": ("Phi3Config", _long_rope(256, 512)),
    # The builder computes the attention factor itself: 1.06 here.
    "phi3-long-factor": ("Phi3Config", _long_rope(256, 512, attention_factor=1.05)),
    "gemma": ("GemmaConfig", {**_rope(), "head_dim": 32, "tie_word_embeddings": True}),
    "gemma-gelu": (
        "GemmaConfig",
        {**_rope(), "head_dim": 32, "hidden_act": "gelu", "hidden_activation": "gelu_pytorch_tanh"},
    ),
    "granite": (
        "GraniteConfig",
        {
            **_rope(),
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.2,
            "logits_scaling": 2.0,
            "residual_multiplier": 0.4,
        },
    ),
    "granite-whole": (
        "GraniteConfig",
        {**_rope(), "attention_multiplier": 1, "embedding_multiplier": 3, "logits_scaling": 2},
    ),
    "granite-biases": ("GraniteConfig", {**_rope(), "attention_bias": True, "mlp_bias": True}),
    "smollm3-biases": (
        "SmolLM3Config",
        {**_rope(), "no_rope_layers": [1, 1, 1, 1], "attention_bias": True, "mlp_bias": True},
    ),
    "gemma-bias": ("GemmaConfig", {**_rope(), "head_dim": 32, "attention_bias": True}),
    "hunyuan-bias": ("HunYuanDenseV1Config", {**_rope(theta=1e4), "head_dim": 32, "attention_bias": True}),
    "lfm2-bias": (
        "Lfm2Config",
        {**_rope(), "layer_types": ["conv", "full_attention", "conv", "full_attention"], "conv_bias": True},
    ),
    "qwen3-sliding": (
        "Qwen3Config",
        {**_rope(), **_SLIDING, "head_dim": 32, "use_sliding_window": True, "max_window_layers": 2},
    ),
    "ernie45": ("Ernie4_5Config", {**_rope(theta=5e5), "head_dim": 32, "tie_word_embeddings": True}),
    "ernie45-bias": ("Ernie4_5Config", {**_rope(theta=5e5), "head_dim": 32, "use_bias": True}),
    "hunyuan": ("HunYuanDenseV1Config", {**_rope(theta=1e4), "head_dim": 32}),
    "hunyuan-theta": ("HunYuanDenseV1Config", {**_rope(), "head_dim": 32}),
    "hunyuan-alpha": ("HunYuanDenseV1Config", {**_rope("dynamic", 1e4, alpha=1000.0, factor=1.0), "head_dim": 32}),
    "lfm2": (
        "Lfm2Config",
        {**_rope(), "layer_types": ["conv", "full_attention", "conv", "full_attention"], "tie_word_embeddings": True},
    ),
    "smollm3": ("SmolLM3Config", {**_rope(), "no_rope_layers": [1, 1, 1, 1]}),
    "smollm3-nope": ("SmolLM3Config", {**_rope(), "no_rope_layers": [1, 1, 1, 0]}),
    "olmo": ("OlmoConfig", _rope()),
    "olmo2": ("Olmo2Config", _rope()),
    "nemotron": ("NemotronConfig", {**_rope(partial_rotary_factor=0.5), "head_dim": 32}),
    "phi2": ("PhiConfig", _rope(partial_rotary_factor=0.5)),
    "gemma2": (
        "Gemma2Config",
        {**_rope(), **_SLIDING, "head_dim": 32, "query_pre_attn_scalar": 32, "tie_word_embeddings": True},
    ),
    "gemma3": ("Gemma3TextConfig", {**_SLIDING, "head_dim": 32, "layer_types": _MIXED, "tie_word_embeddings": True}),
    "stablelm": ("StableLmConfig", _rope(partial_rotary_factor=0.25)),
}

_SCALED = {
    "linear": _rope("linear", factor=2.0),
    "llama3": _LLAMA3_ROPE,
    "dynamic": _rope("dynamic", factor=2.0),
    "yarn": _rope("yarn", factor=4.0, original_max_position_embeddings=128),
}

# `<family>-<scaling>`: each family that is right with plain rotation, with every way to stretch it.
STRETCHED = ("qwen2", "qwen3", "llama", "mistral", "gemma", "granite", "ernie45", "lfm2", "smollm3")
SCALINGS = tuple(_SCALED)
for _family in STRETCHED:
    for _scaling, _parameters in _SCALED.items():
        FAMILIES[f"{_family}-{_scaling}"] = (FAMILIES[_family][0], {**FAMILIES[_family][1], **_parameters})


def write_qwen2(
    folder: str | Path,
    *,
    seed: int = 0,
    hidden: int = 64,
    layers: int = 2,
    context: int = 4096,
    tied: bool = True,
    chat_template: str | None = CHATML,
) -> Path:
    """A whole Qwen2 folder, written with nothing but the standard library. The same arguments give the same bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        **_COMMON,
        **_rope(),
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "dtype": "float32",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "max_position_embeddings": context,
        "tie_word_embeddings": tied,
        "rms_norm_eps": 1e-6,
        "use_sliding_window": False,
    }
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"bos_token_id": 256, "eos_token_id": 258, "pad_token_id": 256})
    write_tokenizer(folder, chat_template)
    write_safetensors(folder / "model.safetensors", _qwen2_tensors(hidden, layers, tied), seed=seed)
    return folder


def _qwen2_tensors(hidden: int, layers: int, tied: bool) -> dict[str, tuple[int, ...]]:
    kv = hidden // 2
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, hidden)}
    for i in range(layers):
        layer = f"model.layers.{i}."
        shapes |= {layer + f"self_attn.{name}.weight": (size, hidden) for name, size in _heads(hidden, kv)}
        shapes |= {layer + f"self_attn.{name}.bias": (size,) for name, size in _heads(hidden, kv)}
        shapes[layer + "self_attn.o_proj.weight"] = (hidden, hidden)
        shapes[layer + "mlp.gate_proj.weight"] = (2 * hidden, hidden)
        shapes[layer + "mlp.up_proj.weight"] = (2 * hidden, hidden)
        shapes[layer + "mlp.down_proj.weight"] = (hidden, 2 * hidden)
        shapes[layer + "input_layernorm.weight"] = (hidden,)
        shapes[layer + "post_attention_layernorm.weight"] = (hidden,)
    shapes["model.norm.weight"] = (hidden,)
    return shapes if tied else shapes | {"lm_head.weight": (VOCABULARY, hidden)}


def _heads(hidden: int, kv: int) -> tuple[tuple[str, int], ...]:
    return ("q_proj", hidden), ("k_proj", kv), ("v_proj", kv)


def write_safetensors(path: Path, shapes: dict[str, tuple[int, ...]], *, seed: int = 0) -> None:
    """Random float32 tensors of these shapes; norms lie around one."""
    path.write_bytes(_safetensors(tuple(shapes.items()), seed))


@functools.lru_cache(maxsize=4)
def _safetensors(shapes: tuple[tuple[str, tuple[int, ...]], ...], seed: int) -> bytes:
    """A number takes a microsecond, so a model that many tests write is drawn once."""
    rng = random.Random(seed)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = bytearray()
    for name, shape in shapes:
        count = 1
        for size in shape:
            count *= size
        mean = 1.0 if "norm" in name else 0.0
        data = array("f", (rng.gauss(mean, 0.15) for _ in range(count))).tobytes()
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + body


def write_tokenizer(folder: Path, chat_template: str | None = CHATML) -> None:
    """A byte-level BPE without merges: every text is encoded and decoded exactly, one token a byte."""
    vocabulary = {symbol: byte for byte, symbol in enumerate(_byte_symbols())}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    tokenizer: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [
            {"id": number, "content": text, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False}
            for number, text in SPECIAL_TOKENS.items()
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": None, "dropout": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                  "byte_fallback": False},
    }  # fmt: skip
    _write_json(folder / "tokenizer.json", tokenizer)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 4096,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / "tokenizer_config.json", settings)
    if chat_template is not None:
        (folder / "chat_template.jinja").write_text(chat_template)


def _byte_symbols() -> list[str]:
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in printable}
    for n, byte in enumerate(b for b in range(256) if b not in symbols):
        symbols[byte] = chr(256 + n)
    return [symbols[byte] for byte in range(256)]


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))


def write_families(folder: str | Path, *names: str) -> dict[str, Path]:
    """Make the named FAMILIES (with `-v4`: in the shape of transformers 4) below `folder`, in one child process: torch
    never enters this one. Those already there stay."""
    from tests import forked  # which needs what nothing else here does

    missing = [name for name in names if not (Path(folder) / name / "tokenizer.json").exists()]
    if missing:
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        here = Path(__file__)
        forked.run_beside_olive(here, [str(folder), *missing], here.parent.parent, environment)
    return {name: Path(folder) / name for name in names}


def as_transformers_4(config: dict[str, Any]) -> dict[str, Any]:
    """The same settings where transformers 4 kept them: most published models are written so."""
    rope = dict(config.pop("rope_parameters"))
    config["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    if rope["rope_type"] == "longrope":
        rope = {"type": "longrope", **_LONG, **{name: rope[name] for name in rope if name == "attention_factor"}}
    config["rope_scaling"] = None if rope == {"rope_type": "default"} else rope
    config["torch_dtype"] = config.pop("dtype", "float32")
    return config


def _write_family(folder: Path, name: str) -> None:
    _write_with_transformers(folder, name.removesuffix("-v4"))
    if name.endswith("-v4"):
        _write_json(folder / "config.json", as_transformers_4(json.loads((folder / "config.json").read_text())))


def _write_with_transformers(folder: Path, name: str) -> None:
    import torch
    import transformers

    config_class, differences = FAMILIES[name]
    config = getattr(transformers, config_class)(**{**_COMMON, **differences})
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter) * 0.15
            parameter.copy_(noise + (1.0 if "norm" in parameter_name and "gemma" not in name else 0.0))
    model.tie_weights()
    model.save_pretrained(folder)
    write_tokenizer(folder)


def main(arguments: list[str]) -> None:
    folder, *names = arguments
    for name in names:
        _write_family(Path(folder) / name, name)


if __name__ == "__main__":
    main(sys.argv[1:])
