"""Which adapters belong to a base, by the names and shapes of their weights."""

from typing import Any

import pytest

from reconciler.domain.sources.adapter_weights import mismatch

Shapes = dict[str, tuple[int, ...]]

BASE: Shapes = {
    "model.embed_tokens.weight": (320, 64),
    **{f"model.layers.{layer}.self_attn.q_proj.weight": (64, 64) for layer in range(2)},
    **{f"model.layers.{layer}.self_attn.q_proj.bias": (64,) for layer in range(2)},
    **{f"model.layers.{layer}.mlp.down_proj.weight": (64, 128) for layer in range(2)},
    "model.norm.weight": (64,),
}
LIST: dict[str, Any] = {"target_modules": ["q_proj", "down_proj"]}


def lora(module: str, gives: int, takes: int) -> Shapes:
    start = f"base_model.model.{module}.lora_"
    return {f"{start}A.weight": (4, takes), f"{start}B.weight": (gives, 4)}


def layers(part: str, gives: int, takes: int, numbers: tuple[int, ...] = (0, 1)) -> Shapes:
    return {key: shape for n in numbers for key, shape in lora(f"model.layers.{n}.{part}", gives, takes).items()}


QUERIES, DOWN = layers("self_attn.q_proj", 64, 64), layers("mlp.down_proj", 64, 128)


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        (LIST, QUERIES | DOWN),
        (LIST, QUERIES),
        (LIST, QUERIES | lora("lm_head", 320, 64)),  # of a base whose head is its embedding
        ({"target_modules": r".*\.0\..*q_proj"}, layers("self_attn.q_proj", 64, 64, (0,))),
        (LIST | {"layers_to_transform": [1]}, layers("self_attn.q_proj", 64, 64, (1,))),
        (
            {"target_modules": ["embed_tokens"]},
            {
                "base_model.model.model.embed_tokens.lora_embedding_A": (4, 320),
                "base_model.model.model.embed_tokens.lora_embedding_B": (64, 4),
            },
        ),
    ],
)
def test_what_was_trained_on_the_base_belongs_to_it(config: dict[str, Any], weights: Shapes) -> None:
    assert mismatch(config, weights, BASE) == ""


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({}, "it holds no weights"),
        (lora("language_model.model.layers.0.self_attn.q_proj", 64, 64), "which the base does not have"),
        (layers("self_attn.q_proj", 64, 64, (0, 1, 2)), "model.layers.2.self_attn.q_proj, which the base does not"),
        (layers("self_attn.q_proj", 64, 64, (0,)), "it has nothing for model.layers.1.self_attn.q_proj"),
        (
            layers("mlp.down_proj", 64, 96),
            "has the shape 4 x 96, and model.layers.0.mlp.down_proj of the base 64 x 128",
        ),
        (layers("mlp.down_proj", 32, 128), "has the shape 32 x 4"),
        (QUERIES | lora("lm_head", 300, 64), "has the shape 300 x 4, and lm_head of the base 320 x 64"),
        (QUERIES | {"base_model.model.lm_head.weight": (320, 64)}, "is no weight of LoRA"),
        ({"base_model.model.model.norm.lora_A.weight": (4, 64)}, "and model.norm of the base 64"),
    ],
)
def test_what_was_not_is_named(weights: Shapes, says: str) -> None:
    assert says in mismatch(LIST, weights, BASE)
