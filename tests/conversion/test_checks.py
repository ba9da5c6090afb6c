"""What is looked at in a converted folder beside its files: for whom it is, and who reads its weights."""

from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.conversion.worker.adapter import require_change
from reconciler.conversion.worker.checks import _check_genai_config, _check_rounding
from reconciler.domain.errors import ConversionFailed
from reconciler.domain.manifest import Target
from reconciler.domain.release import Recipe
from reconciler.domain.targets.execution_providers import CONVERTED
from reconciler.domain.targets.precisions import DEQUANTIZE, NBITS

CPU, WEBGPU, TENSORRT = (
    CONVERTED[name] for name in ("CPUExecutionProvider", "WebGpuExecutionProvider", "NvTensorRTRTXExecutionProvider")
)


def config(*providers: str) -> dict[str, Any]:
    options = [{name: {}} for name in providers]
    decoder = {"filename": "model.onnx", "session_options": {"provider_options": options}}
    return {"model": {"decoder": decoder, "context_length": 512}, "search": {}}


def test_it_asks_for_the_provider_of_its_recipe() -> None:
    _check_genai_config(config(), CPU)
    _check_genai_config(config("webgpu"), WEBGPU)
    for found, provider in ((config(), WEBGPU), (config("cuda"), WEBGPU), (config("webgpu"), CPU)):
        with pytest.raises(ConversionFailed, match=f"though {provider.name} was asked for"):
            _check_genai_config(found, provider)


def model(operator: str, *inputs: str, **numbers: int) -> Any:
    attributes = [SimpleNamespace(name=name, i=number) for name, number in numbers.items()]
    node = SimpleNamespace(op_type=operator, input=inputs, attribute=attributes)
    return SimpleNamespace(graph=SimpleNamespace(node=[node]))


def rounded_by_nbits(level: int) -> Any:
    return model(NBITS, "x", "codes", "scales", bits=4, block_size=32, accuracy_level=level)


def recipe(**options: Any) -> Recipe:
    return Recipe(
        source="", adapter=None, architecture="", precision="int4", options=options, target=Target(), tools={}
    )


@pytest.mark.parametrize(
    ("found", "provider", "options", "wrong"),
    [
        (rounded_by_nbits(4), CPU, {}, ""),
        (rounded_by_nbits(4), WEBGPU, {"accuracy_level": 4}, ""),
        (rounded_by_nbits(0), CONVERTED["CUDAExecutionProvider"], {}, ""),
        (rounded_by_nbits(4), CONVERTED["CUDAExecutionProvider"], {}, "accuracy level 4"),
        (model(DEQUANTIZE, "codes", "scales", axis=0, block_size=32), TENSORRT, {}, ""),
        (
            model(DEQUANTIZE, "codes", "scales", "zeros", axis=0, block_size=64),
            TENSORRT,
            {"block_size": 64},
            "with zero",
        ),
        (rounded_by_nbits(0), TENSORRT, {}, "read by MatMulNBits, expected DequantizeLinear"),
    ],
)
def test_its_weights_are_rounded_as_the_recipe_and_the_provider_want(
    found: Any, provider: Any, options: dict[str, Any], wrong: str
) -> None:
    if not wrong:
        _check_rounding(found, recipe(**options), provider)
        return
    with pytest.raises(ConversionFailed, match=wrong):
        _check_rounding(found, recipe(**options), provider)


A, B = "base_model.model.q_proj.lora_A.weight", "base_model.model.q_proj.lora_B.weight"
OF_EMBEDDING = "base_model.model.embed_tokens.lora_embedding_B"


@pytest.mark.parametrize(
    ("zero", "more", "changes"),
    [
        ((), (), True),
        ((B,), (), False),
        ((A,), (), False),
        ((B,), (OF_EMBEDDING,), True),
        ((B, OF_EMBEDDING), (OF_EMBEDDING,), False),
        ((B,), ("base_model.model.lm_head.weight",), True),
        ((B,), ("base_model.model.q_proj.lora_magnitude_vector",), True),
    ],
)
def test_an_adapter_changes_its_base(zero: tuple[str, ...], more: tuple[str, ...], changes: bool) -> None:
    weights = SimpleNamespace(get_tensor=lambda name: SimpleNamespace(any=lambda: name not in zero))
    if changes:
        require_change(weights, [A, B, *more])
        return
    with pytest.raises(ConversionFailed, match="the adapter changes nothing"):
        require_change(weights, [A, B, *more])
