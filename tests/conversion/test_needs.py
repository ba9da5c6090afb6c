"""What `precisions: auto` predicts, against what models of real size took (docs/real-models.md, 2026-11-29)."""

from dataclasses import replace

import pytest

from reconciler.conversion.memory import predict_memory
from reconciler.conversion.needs import predict_needs
from reconciler.domain.digest import StoredFile
from reconciler.domain.manifest import Target
from reconciler.domain.release import Recipe
from reconciler.domain.sources.source_model import SourceModel

GIB = float(1 << 30)
QWEN = {
    "0.5b": {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14},
    "1.5b": {"hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12},
    "3b": {"hidden_size": 2048, "num_hidden_layers": 36, "num_attention_heads": 16},
}
SOURCES = {"0.5b": 0.92, "1.5b": 2.88, "3b": 5.75}  # GiB
# Measured: GiB on disk, GiB at the peak while it answers.
MEASURED = {
    ("0.5b", "int4"): (0.80, 1.63),
    ("0.5b", "int8"): (1.03, 1.94),
    ("0.5b", "fp16"): (1.18, 3.10),
    ("1.5b", "int4"): (1.78, 3.55),
    ("1.5b", "int8"): (2.50, 4.25),
    ("1.5b", "fp16"): (3.32, 8.16),
    ("3b", "int4"): (2.97, 5.28),
    ("3b", "int8"): (4.41, 6.74),
}


def source(size: str) -> SourceModel:
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "vocab_size": 151936,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
        "dtype": "bfloat16",
        **QWEN[size],
    }
    weights = StoredFile(path="model.safetensors", digest="sha256:0", size=int(SOURCES[size] * GIB))
    return SourceModel(path="", config=config, files=(weights,))


def recipe(precision: str) -> Recipe:
    return Recipe(
        source="", adapter=None, architecture="", precision=precision, options={}, target=Target(), tools={"olive": "1"}
    )


@pytest.mark.parametrize(("size", "precision"), MEASURED)
def test_it_comes_near(size: str, precision: str) -> None:
    needs = predict_needs(source(size), recipe(precision))
    assert needs is not None
    disk, peak = MEASURED[size, precision]
    assert 0.95 * disk < needs.disk / GIB < 1.08 * disk
    assert 0.95 * peak < needs.memory / GIB < 1.12 * peak


def test_conversion_as_predicted_from_the_shapes() -> None:
    """Of a model with shapes as its config.json says."""
    one = source("0.5b")
    layer = {"mlp.up_proj": (4864, 896), "mlp.gate_proj": (4864, 896), "mlp.down_proj": (896, 4864)}
    layer |= {"self_attn.q_proj": (896, 896), "self_attn.o_proj": (896, 896)}
    layer |= {"self_attn.k_proj": (128, 896), "self_attn.v_proj": (128, 896)}
    shapes = {f"model.layers.{at}.{name}.weight": shape for at in range(24) for name, shape in layer.items()}
    shapes["model.embed_tokens.weight"] = (151936, 896)
    numbers = sum(rows * columns for rows, columns in shapes.values())
    looked_at = SourceModel(path="", config=one.config, shapes=shapes, weight_bytes=2 * numbers)
    exact = predict_memory(looked_at, recipe("int4"))["int4"]
    needs = predict_needs(one, recipe("int4"))
    assert needs is not None
    assert 0.97 < needs.conversion_memory / exact < 1.03


def test_nothing_is_guessed_of_what_was_never_seen() -> None:
    assert predict_needs(SourceModel(path="", known=False), recipe("int4")) is None


def test_for_a_gpu_what_is_not_rounded_is_half_as_wide() -> None:
    """Embedding, scales and cache; and nothing is widened for its kernels."""
    gpu = Target(device="gpu", execution_provider="CUDAExecutionProvider")
    int4, fp16 = (
        [predict_needs(source("1.5b"), replace(recipe(one), target=target)) for target in (Target(), gpu)]
        for one in ("int4", "fp16")
    )
    assert None not in (*int4, *fp16)
    found = [(one.disk, one.memory, one.cache) for one in (*int4, *fp16) if one is not None]
    assert found[1][2] == found[0][2] / 2
    assert found[1][0] < found[0][0]
    assert found[3][0] == found[2][0]
    assert found[3][1] < found[2][1] / 1.5
    provider = [one.provider for one in int4 if one is not None]
    assert provider == ["CPUExecutionProvider", "CUDAExecutionProvider"]
