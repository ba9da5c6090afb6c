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
    "lm_head.weight": (320, 64),
}
LIST: dict[str, Any] = {"r": 4, "target_modules": ["q_proj", "down_proj"]}
ONLY_QUERIES = LIST | {"target_modules": ["q_proj"]}


def lora(module: str, gives: int, takes: int, rank: int = 4) -> Shapes:
    start = f"base_model.model.{module}.lora_"
    return {f"{start}A.weight": (rank, takes), f"{start}B.weight": (gives, rank)}


def layers(part: str, gives: int, takes: int, numbers: tuple[int, ...] = (0, 1)) -> Shapes:
    return {key: shape for n in numbers for key, shape in lora(f"model.layers.{n}.{part}", gives, takes).items()}


def magnitudes(part: str, gives: int, numbers: tuple[int, ...] = (0, 1)) -> Shapes:
    return {f"base_model.model.model.layers.{n}.{part}.lora_magnitude_vector": (gives,) for n in numbers}


DORA: dict[str, Any] = {"r": 4, "target_modules": ["q_proj"], "use_dora": True}
QUERIES, DOWN = layers("self_attn.q_proj", 64, 64), layers("mlp.down_proj", 64, 128)


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        (LIST, QUERIES | DOWN),
        (LIST | {"target_modules": ["q_proj", "lm_head"]}, QUERIES | lora("lm_head", 320, 64)),
        (LIST | {"target_modules": r".*\.0\..*q_proj"}, layers("self_attn.q_proj", 64, 64, (0,))),
        (ONLY_QUERIES | {"layers_to_transform": [1]}, layers("self_attn.q_proj", 64, 64, (1,))),
        (LIST | {"target_modules": ["model.layers.0.self_attn.q_proj"]}, layers("self_attn.q_proj", 64, 64, (0,))),
        (LIST | {"target_modules": ["1.mlp.down_proj"]}, layers("mlp.down_proj", 64, 128, (1,))),
        (ONLY_QUERIES | {"r": 8, "rank_pattern": {"q_proj": 4}}, QUERIES),
        (DORA, QUERIES | magnitudes("self_attn.q_proj", 64)),
        (LIST | {"modules_to_save": ["lm_head"]}, QUERIES | DOWN | {"base_model.model.lm_head.weight": (320, 64)}),
        (
            {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head", "norm"]},
            QUERIES
            | {
                "base_model.model.lm_head.weight": (320, 64),
                "base_model.model.model.embed_tokens.weight": (320, 64),
                "base_model.model.model.norm.weight": (64,),
            },
        ),
        (
            LIST | {"target_modules": ["embed_tokens"]},
            {
                "base_model.model.model.embed_tokens.lora_embedding_A": (4, 320),
                "base_model.model.model.embed_tokens.lora_embedding_B": (64, 4),
            },
        ),
    ],
)
def test_what_was_trained_on_the_base_belongs_to_it(config: dict[str, Any], weights: Shapes) -> None:
    assert mismatch(config, weights, BASE) == ""


@pytest.mark.parametrize("module", ["lm_head", "model.embed_tokens"])
def test_what_is_embedding_and_head_at_once_is_not_changed(module: str) -> None:
    """PEFT adds to one of the two; merged into the weight that they share it changes both."""
    tied = {name: shape for name, shape in BASE.items() if name != "lm_head.weight"}
    assert "it changes both" in mismatch(LIST | {"target_modules": [module]}, lora(module, 320, 64), tied)
    whole = QUERIES | DOWN | {f"base_model.model.{module}.weight": (320, 64)}
    assert mismatch(LIST | {"modules_to_save": [module.rpartition(".")[2]]}, whole, tied)


HALF = dict(list(QUERIES.items())[1:])


@pytest.mark.parametrize(
    ("config", "weights", "says"),
    [
        (LIST, {}, "it holds no weights"),
        (LIST, lora("language_model.model.layers.0.self_attn.q_proj", 64, 64), "which the base does not have"),
        (
            ONLY_QUERIES,
            layers("self_attn.q_proj", 64, 64, (0, 1, 2)),
            "model.layers.2.self_attn.q_proj, which the base",
        ),
        (ONLY_QUERIES, layers("self_attn.q_proj", 64, 64, (0,)), "it has nothing for model.layers.1.self_attn.q_proj"),
        (LIST, QUERIES, "it has nothing for model.layers.0.mlp.down_proj"),
        (ONLY_QUERIES, QUERIES | DOWN, "its configuration leaves out model.layers.0.mlp.down_proj"),
        (ONLY_QUERIES | {"layers_to_transform": 1}, QUERIES, "leaves out model.layers.0.self_attn.q_proj"),
        (ONLY_QUERIES, HALF, "it has lora_B of model.layers.0.self_attn.q_proj without the other half"),
        (ONLY_QUERIES | {"r": 8}, QUERIES, "have the ranks 4 and 4, and r is 8"),
        (ONLY_QUERIES, QUERIES | {next(iter(QUERIES)): (2, 64)}, "have the ranks 2 and 4"),
        (
            LIST,
            layers("mlp.down_proj", 64, 96),
            "has the shape 4 x 96, and model.layers.0.mlp.down_proj of the base 64 x 128",
        ),
        (LIST, layers("mlp.down_proj", 32, 128), "has the shape 32 x 4"),
        (LIST, QUERIES | lora("lm_head", 300, 64), "has the shape 300 x 4, and lm_head of the base 320 x 64"),
        (LIST, QUERIES | {"base_model.model.lm_head.weight": (320, 64)}, "is no weight of LoRA"),
        (DORA, QUERIES, "it has no magnitude of model.layers.0.self_attn.q_proj"),
        (DORA, QUERIES | magnitudes("self_attn.q_proj", 65), "has the shape 65, and the base 64 x 64"),
        (
            DORA,
            QUERIES | magnitudes("self_attn.q_proj", 64) | magnitudes("mlp.down_proj", 64),
            "it has only a magnitude of model.layers.0.mlp.down_proj",
        ),
        (ONLY_QUERIES, QUERIES | magnitudes("self_attn.q_proj", 64), "is no weight of LoRA"),
        (LIST | {"modules_to_save": ["lm_head"]}, QUERIES | DOWN, "it has nothing for lm_head.weight of the base"),
        (
            LIST | {"modules_to_save": ["lm_head"]},
            QUERIES | DOWN | {"base_model.model.lm_head.weight": (330, 64)},
            "lm_head.weight has the shape 330 x 64, and lm_head.weight of the base 320 x 64",
        ),
        (LIST, {"base_model.model.lm_head.base_layer.weight": (320, 64)}, "save it with save_embedding_layers=False"),
        (LIST, {"base_model.model.model.norm.lora_A.weight": (4, 64)}, "and model.norm of the base 64"),
        (LIST, {"base_model.model.model.norm.lora_A.weight": ()}, "has the shape of a single number"),
    ],
)
def test_what_was_not_is_named(config: dict[str, Any], weights: Shapes, says: str) -> None:
    assert says in mismatch(config, weights, BASE)
