"""Predicted bytes, from shapes alone. How near they come to real artifacts is measured in test_conversion.py."""

from typing import Any

import pytest

from reconciler.conversion.disk import predict_bytes, predict_peak_bytes
from reconciler.domain.digest import StoredFile
from reconciler.domain.manifest import Target
from reconciler.domain.release import Recipe
from reconciler.domain.sources.source_model import SourceModel

HIDDEN, INNER, VOCABULARY, CONTEXT = 128, 256, 320, 512
LAYER = {
    "self_attn.q_proj.weight": (128, 128),
    "self_attn.k_proj.weight": (64, 128),
    "self_attn.v_proj.weight": (64, 128),
    "self_attn.o_proj.weight": (128, 128),
    "mlp.gate_proj.weight": (256, 128),
    "mlp.up_proj.weight": (256, 128),
    "mlp.down_proj.weight": (128, 256),
    "input_layernorm.weight": (128,),
    "post_attention_layernorm.weight": (128,),
}
TENSORS: dict[str, tuple[int, ...]] = {
    "model.embed_tokens.weight": (320, 128),
    "lm_head.weight": (320, 128),
    "model.norm.weight": (128,),
} | {f"model.layers.{i}.{name}": shape for i in range(4) for name, shape in LAYER.items()}


def source(*, tied: bool = False, **settings: Any) -> SourceModel:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        **settings,
    }
    shapes = {name: shape for name, shape in TENSORS.items() if not (tied and name == "lm_head.weight")}
    return SourceModel(path="/m", config=config, shapes=shapes, context_length=CONTEXT, weight_bytes=2_000_000)


def recipe(precision: str, adapter: str | None = None, **options: Any) -> Recipe:
    return Recipe(
        source="", adapter=adapter, architecture="", precision=precision, options=options, target=Target(), tools={}
    )


# The sizes of model.onnx.data as the pinned tools wrote it for exactly these shapes.
MEASURED: list[tuple[str, dict[str, Any], int]] = [
    ("fp32", {}, 2_757_120),
    ("int8", {"block_size": 32, "symmetric": False}, 963_328),
    ("int8", {"block_size": 32, "symmetric": True}, 943_616),
    ("int8", {"block_size": 128, "symmetric": True}, 884_480),
    ("int4", {"block_size": 32, "symmetric": True}, 628_224),
]
GRAPH = 4000 + 4 * 7300 + 1500  # the constants of the prediction: model.onnx and genai_config.json


@pytest.mark.parametrize(("precision", "options", "data"), MEASURED)
@pytest.mark.parametrize("tied", [False, True], ids=["own head", "shared head"])
def test_the_weights_are_predicted_to_the_byte(precision: str, options: dict[str, Any], data: int, tied: bool) -> None:
    assert predict_bytes(source(tied=tied), recipe(precision, **options)) == data + GRAPH


def test_halved_floats_are_half_the_bytes() -> None:
    whole = predict_bytes(source(), recipe("fp32")) - GRAPH
    assert predict_bytes(source(), recipe("fp16")) - GRAPH == whole // 2


def test_a_block_that_does_not_divide_is_filled_up() -> None:
    """Rows of 128 in blocks of 256 cost as much as rows of 256."""
    assert predict_bytes(source(), recipe("int4", block_size=256)) > predict_bytes(
        source(), recipe("int4", block_size=128)
    )


def test_k_quant_keeps_the_head_and_its_mixed_form_some_layers_wide() -> None:
    plain, k_quant, mixed = (
        predict_bytes(source(), recipe("int4", algorithm=algorithm, symmetric=False))
        for algorithm in ("default", "k_quant", "k_quant_mixed")
    )
    assert k_quant - plain == 320 * 128 // 2 + 320 * 2  # four bits more a weight, and wider zero points
    assert mixed > k_quant


def test_tokenizer_files_are_counted_and_others_are_not() -> None:
    bare = source()
    files = (
        StoredFile(path="tokenizer.json", digest="", size=10_000),
        StoredFile(path="model.safetensors", digest="", size=5_000_000),
    )
    with_files = SourceModel(path="/m", config=bare.config, shapes=bare.shapes, context_length=CONTEXT, files=files)
    assert predict_bytes(with_files, recipe("int4")) == predict_bytes(bare, recipe("int4")) + 10_000


def test_the_tables_of_the_rotation_grow_with_the_context_and_twice_for_longrope() -> None:
    long: dict[str, Any] = {"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 256}
    plain, stretched = (predict_bytes(one, recipe("fp32")) for one in (source(), source(**long)))
    assert stretched - plain == 256 * 32 * 4


@pytest.mark.parametrize(("precision", "copies"), [("fp32", 2), ("int4", 2), ("int8", 3), ("fp16", 4)])
def test_while_it_runs_a_conversion_holds_each_passs_result(precision: str, copies: int) -> None:
    artifact = predict_bytes(source(), recipe(precision))
    assert predict_peak_bytes(source(), recipe(precision)) == pytest.approx(copies * artifact, rel=0.01)


def test_merging_an_adapter_holds_the_source_once_more() -> None:
    with_adapter = predict_peak_bytes(source(), recipe("int4", adapter="sha256:x"))
    assert with_adapter == predict_peak_bytes(source(), recipe("int4")) + 2_000_000
