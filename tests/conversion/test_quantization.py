"""Which option acts where, as it was measured with the pinned tools (tests/conversion/test_conversion.py converts
for real)."""

import pytest

from reconciler.domain.manifest import Quantization
from reconciler.domain.plain_data import field_names
from reconciler.domain.targets.execution_providers import CONVERTED, honoured_options
from reconciler.domain.targets.precisions import PRECISIONS

ALL = {"block_size", "symmetric", "accuracy_level", "algorithm"}


@pytest.mark.parametrize(
    ("precision", "algorithm", "options"),
    [
        ("fp32", "default", set()),
        ("fp16", "default", set()),
        ("bf16", "default", set()),
        ("int8", "default", ALL - {"algorithm"}),
        ("int8", "k_quant", ALL - {"algorithm"}),
        ("int4", "default", ALL),
        ("int4", "rtn", ALL),
        ("int4", "k_quant", ALL - {"symmetric"}),
        ("int4", "k_quant_mixed", ALL - {"symmetric"}),
        ("int4", "k_quant_last", ALL - {"symmetric"}),
    ],
)
def test_options_that_act(precision: str, algorithm: str, options: set[str]) -> None:
    assert honoured_options(precision, algorithm) == options


@pytest.mark.parametrize(
    ("provider", "precision", "options"),
    [
        ("CUDAExecutionProvider", "int4", ALL - {"accuracy_level"}),
        ("CUDAExecutionProvider", "bf16", set()),
        ("DmlExecutionProvider", "int8", ALL - {"accuracy_level", "algorithm"}),
        ("WebGpuExecutionProvider", "int4", ALL),
        ("NvTensorRTRTXExecutionProvider", "int4", {"block_size", "symmetric"}),
    ],
)
def test_options_that_act_on_a_gpu(provider: str, precision: str, options: set[str]) -> None:
    assert honoured_options(precision, provider=CONVERTED[provider]) == options


def test_they_are_fields_of_the_declared_quantization() -> None:
    known = set(field_names(Quantization))
    assert all(honoured_options(precision) <= known for precision in PRECISIONS)
