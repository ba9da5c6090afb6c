"""What may be converted, and what is refused with which reason. That the table is right,
tests/conversion/test_parity.py measures."""

from typing import Any

import pytest

from reconciler.conversion.architectures import refusal
from reconciler.conversion.verified import SEEN_WRONG, VERIFIED
from reconciler.domain.manifest import Target
from reconciler.domain.sources.model_config import complaints

CPU = Target()
CUDA = Target(device="gpu", execution_provider="CUDAExecutionProvider")


def config(architecture: str = "LlamaForCausalLM", **settings: Any) -> dict[str, Any]:
    known = VERIFIED.get(architecture)
    return {
        "architectures": [architecture],
        "model_type": known.model_type if known else "other",
        "vocab_size": 1000,
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": 4096,
        **settings,
    }


def rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e6, **more}}


RIGHT = {
    "plain Llama": config(),
    "Llama 3.1, as transformers 5 writes it": config(**rope("llama3", factor=8.0)),
    "Llama 3.1, as transformers 4 wrote it": config(
        rope_theta=5e5, rope_scaling={"rope_type": "llama3", "factor": 8.0}
    ),
    "linear stretching": config(**rope("linear", factor=2.0)),
    "Qwen 2.5 as published, its window switched off": config(
        "Qwen2ForCausalLM", use_sliding_window=False, sliding_window=131072, max_window_layers=28, rope_theta=1e6
    ),
    "Mistral with one window for all layers": config("MistralForCausalLM", sliding_window=4096),
    "Phi-3 mini": config("Phi3ForCausalLM", original_max_position_embeddings=4096, rope_scaling=None),
    "Phi-4 mini as published": config(
        "Phi3ForCausalLM",
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        partial_rotary_factor=0.75,
        rope_scaling={"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]},
    ),
    "Gemma": config("GemmaForCausalLM", hidden_act="gelu", hidden_activation="gelu_pytorch_tanh"),
    "SmolLM3 that rotates in all layers": config("SmolLM3ForCausalLM", no_rope_layers=[1, 1, 1, 1]),
    "LFM2": config("Lfm2ForCausalLM", layer_types=["conv", "full_attention"]),
    "HunYuan with the one theta that survives": config(
        "HunYuanDenseV1ForCausalLM", **rope("default") | {"rope_theta": 1}
    )
    | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
}


@pytest.mark.parametrize("settings", RIGHT.values(), ids=RIGHT.keys())
def test_a_measured_model_is_accepted(settings: dict[str, Any]) -> None:
    assert complaints(settings) == []
    assert refusal(settings, "int4", CPU) is None


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown architecture": (config("NewForCausalLM"), "not verified"),
    "another model_type than the architecture's": (config(model_type="qwen2"), "belongs to 'llama'"),
    "yarn": (config("Qwen2ForCausalLM", **rope("yarn", factor=4.0)), "yarn"),
    "yarn as transformers 4 wrote it": (config(rope_scaling={"type": "yarn", "factor": 4.0}), "yarn"),
    "an unknown stretching": (config(**rope("proportional")), "'proportional' is not verified"),
    "a window in some layers": (config("Qwen2ForCausalLM", use_sliding_window=True, sliding_window=64), "0.88"),
    "mixed layers": (
        config("Qwen3ForCausalLM", layer_types=["sliding_attention", "full_attention"]),
        "sliding_attention",
    ),
    "a window where none was measured": (config(sliding_window=64), "sliding window"),
    "a rotation for each kind of layer": (
        config(rope_parameters={"full_attention": {"rope_type": "default"}}),
        "each kind of layer",
    ),
    "a partial rotation": (config(partial_rotary_factor=0.5), "part of each head"),
    "Phi-3's partial rotation where transformers 5 puts it": (
        config("Phi3ForCausalLM", **rope("default", partial_rotary_factor=0.75)),
        "cosine 0.12",
    ),
    "Phi-3 longrope where transformers 5 puts it": (
        config("Phi3ForCausalLM", **rope("longrope"), original_max_position_embeddings=1024),
        "rope_parameters",
    ),
    "Phi-3 that was stretched without a rotation for it": (
        config("Phi3ForCausalLM", original_max_position_embeddings=1024),
        "do not belong together",
    ),
    "Phi-3 longrope that changes elsewhere than the runtime": (
        config(
            "Phi3ForCausalLM",
            max_position_embeddings=131072,
            original_max_position_embeddings=8192,
            rope_scaling={"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]},
        ),
        "its rotation changes after 8192 tokens",
    ),
    "SmolLM3 as published": (config("SmolLM3ForCausalLM", no_rope_layers=[1, 1, 1, 0]), "NoPE"),
    "SmolLM3 that leaves its layers to the default": (config("SmolLM3ForCausalLM"), "NoPE"),
    "HunYuan with its theta": (config("HunYuanDenseV1ForCausalLM", **rope("default")), "loses rope_theta"),
    "LFM2 with biases": (config("Lfm2ForCausalLM", conv_bias=True), "conv_bias"),
    "biases where none were measured": (config("MistralForCausalLM", attention_bias=True), "attention_bias"),
    "another activation": (config(hidden_act="relu2"), "relu2"),
    "a cap that transformers ignores": (config(attn_logit_softcapping=50), "attn_logit_softcapping is set"),
    "a cap of the answer": (config(final_logit_softcapping=30), "final_logit_softcapping is set"),
    "weights that are quantized already": (config(quantization_config={"quant_method": "gptq"}), "quantized already"),
    "a head size that the kernels refuse": (config(head_dim=24), "multiple of 16"),
    "a head size that only transformers knows": (config("Qwen3ForCausalLM", head_dim=None), "head_dim"),
} | {f"{name}, seen wrong": (config(name), reason) for name, reason in SEEN_WRONG.items()}


@pytest.mark.parametrize(("settings", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_anything_else_is_refused_with_its_reason(settings: dict[str, Any], reason: str) -> None:
    refused = refusal(settings, "fp32", CPU)
    assert refused is not None
    assert reason in refused
    assert "\n" not in refused


def test_every_precision_that_works_on_the_cpu_is_accepted() -> None:
    assert [p for p in ("fp32", "fp16", "bf16", "int8", "int4") if refusal(config(), p, CPU)] == ["bf16"]


def test_bf16_and_other_devices_say_why() -> None:
    assert "cannot be made for CPUExecutionProvider" in str(refusal(config(), "bf16", CPU))
    assert refusal(config(), "bf16", CUDA) is None
    assert "for CUDAExecutionProvider: the builder makes an invalid graph" in str(refusal(config(), "fp32", CUDA))
    for device, provider in (("npu", "QNNExecutionProvider"), ("cpu", "CUDAExecutionProvider")):
        unknown = Target(device=device, execution_provider=provider)
        assert f"{provider} on {device} is not verified" in str(refusal(config(), "int4", unknown))


def test_hunyuan_has_no_int8() -> None:
    settings = RIGHT["HunYuan with the one theta that survives"]
    assert "TypeError" in str(refusal(settings, "int8", CPU))


BLOCKS = [
    ("int8", {"block_size": 128}, None),
    ("int8", {"block_size": 256}, None),
    ("int8", {"block_size": 1024}, "blocks of 1024 divide"),
    ("int4", {"block_size": 1024}, None),  # the builder fills the last block up
    ("int4", {"block_size": 256, "algorithm": "k_quant"}, "even number of blocks"),
    ("int4", {"block_size": 128, "algorithm": "k_quant"}, None),
    ("int4", {"block_size": 256, "algorithm": "rtn", "symmetric": False}, "even number of blocks"),
    ("int4", {"block_size": 256, "algorithm": "rtn", "symmetric": True}, None),
    ("fp32", {}, None),
]


@pytest.mark.parametrize(("precision", "options", "reason"), BLOCKS)
def test_a_block_size_that_stops_the_quantizer_is_refused(
    precision: str, options: dict[str, object], reason: str | None
) -> None:
    refused = refusal(config(), precision, CPU, options)
    assert refused is None if reason is None else reason in str(refused)


COMPLAINTS: list[tuple[object, str]] = [
    ([], "expected an object"),
    ({}, "architectures: expected a list of names"),
    (config(architectures="LlamaForCausalLM"), "architectures: expected a list of names"),
    (config(architectures=[]), "architectures: expected a list of names"),
    (config(hidden_size="256"), "hidden_size: expected a number"),
    (config(hidden_size=True), "hidden_size: expected a number"),
    (config(num_hidden_layers=10**9), "num_hidden_layers: expected a number from 1 to 4096"),
    (config(max_position_embeddings=10**12), "max_position_embeddings: expected a number"),
    (config(num_attention_heads=0), "num_attention_heads: expected a number"),
    (config(head_dim=-1), "head_dim: expected a number"),
    (config(head_dim=None, hidden_size=250), "hidden_size: expected a multiple of num_attention_heads"),
    (config(rope_parameters="yarn"), "rope_parameters: expected an object of numbers"),
    (config(rope_parameters={"rope_theta": "big"}), "rope_parameters: expected an object of numbers"),
    (config(layer_types="full_attention"), "layer_types: expected a list of names"),
    (config(tie_word_embeddings="yes"), "tie_word_embeddings: expected true or false"),
]


@pytest.mark.parametrize(("settings", "complaint"), COMPLAINTS)
def test_a_setting_of_the_wrong_type_is_named(settings: object, complaint: str) -> None:
    assert any(found.startswith(complaint) for found in complaints(settings))


COMMAND = "x\n::stop-commands::\r\x1b[2J" + "y" * 1000


@pytest.mark.parametrize(
    "settings",
    [
        {"architectures": [COMMAND]},
        {"model_type": COMMAND},
        {"hidden_act": COMMAND},
        {"layer_types": [COMMAND, "full_attention"]},
        rope(COMMAND),
    ],
    ids=["architectures", "model_type", "hidden_act", "layer_types", "rope_type"],
)
def test_a_refusal_is_one_short_line_whatever_the_model_calls_itself(settings: dict[str, Any]) -> None:
    reason = refusal(config(**settings), "int4", CPU)
    assert reason is not None
    assert len(reason.splitlines()) == 1
    assert len(reason) <= 300
    assert "\x1b" not in reason
