"""Real conversions for GPUs, compared with their source by the processor: the forms of weights that no conversion for
the CPU has."""

from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.foundry.genai_config import genai_config
from reconciler.conversion.client.converter import Converter
from reconciler.conversion.prediction import predict_bytes
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.manifest import Generation
from reconciler.domain.targets import CONVERTED
from reconciler.gates.judgement import judge, rejections
from tests.conversions import look, recipe_of

pytestmark = pytest.mark.slow

CUDA, TENSORRT = "CUDAExecutionProvider", "NvTensorRTRTXExecutionProvider"


@pytest.mark.parametrize(
    ("provider", "precision", "options"),
    [(TENSORRT, "int4", {}), (TENSORRT, "int4", {"block_size": 64, "symmetric": False}), (CUDA, "bf16", {})],
)
def test_its_weights_are_those_of_the_source(
    converter: Converter, capitals: Path, tmp_path: Path, provider: str, precision: str, options: dict[str, Any]
) -> None:
    source = look(capitals)
    recipe = recipe_of(source, precision, provider=CONVERTED[provider], **options)
    assert {name: recipe.options[name] for name in options} == options
    out = tmp_path / "out"
    converter.convert(recipe, str(capitals), str(out), timeout=300)
    genai_config((out / "genai_config.json").read_bytes(), Generation(), provider)  # it may be served
    size = sum(file.stat().st_size for file in out.iterdir())
    assert predict_bytes(source, recipe) == pytest.approx(size, rel=0.05)

    found = converter.compare(recipe, str(capitals), str(out), timeout=120).fidelity
    assert found.made_for == provider
    assert found.wiring_kl is not None
    assert found.wiring_kl < 1e-11
    verdicts = judge(GateSpec(), precision, found, None)
    assert rejections(verdicts) == ()
    assert f"by the processor instead of {provider}" in verdicts[0].message
