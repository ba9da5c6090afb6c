"""The table of what is converted for which provider."""

import pytest

from reconciler.domain.targets.execution_providers import CONVERTED, DEFAULT_PROVIDER, auto_precisions, floats_of
from reconciler.domain.targets.precisions import TABLE

MADE = {  # as it was tried with the pinned tools
    "CPUExecutionProvider": ("fp32", "fp16", "int8", "int4"),
    "CUDAExecutionProvider": ("fp16", "bf16", "int8", "int4"),
    "DmlExecutionProvider": ("fp16", "int8", "int4"),
    "WebGpuExecutionProvider": ("fp32", "fp16", "int8", "int4"),
    "NvTensorRTRTXExecutionProvider": ("fp16", "int4"),
}


def test_what_is_made() -> None:
    assert {name: one.precisions for name, one in CONVERTED.items()} == MADE
    assert DEFAULT_PROVIDER.name == "CPUExecutionProvider"


@pytest.mark.parametrize("name", MADE)
def test_what_is_not_rounded_is_half_as_wide_on_a_gpu(name: str) -> None:
    provider = CONVERTED[name]
    assert {floats_of(one, provider) for one in auto_precisions(provider)} == {
        "fp32" if provider is DEFAULT_PROVIDER else "fp16"
    }
    assert all(floats_of(one, provider) == one for one in provider.precisions if not TABLE[one].rounded)


@pytest.mark.parametrize("name", MADE)
def test_why_the_rest_is_not(name: str) -> None:
    """Each with what to take instead, and genai_config.json can ask for whatever is made."""
    provider = CONVERTED[name]
    assert {*provider.precisions, *provider.unfit} == {*TABLE}
    assert all(one.why and one.instead for one in provider.unfit.values())
    assert bool(provider.genai_name) == (provider is not DEFAULT_PROVIDER)
