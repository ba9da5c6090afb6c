"""The load gate, of models that are made for other hardware: a silent fall-back to the CPU is a failure of its own."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.backends.foundry.provider_profile import is_heavy
from reconciler.domain.errors import RuntimeUnavailable
from reconciler.domain.measured import Answer, ComputedBy, Measured
from reconciler.gates.load import LoadGate, fell_back
from reconciler.gates.runtime import MeasuringRuntime, RegisteredCandidate

CPU, GPU, OTHER = "CPUExecutionProvider", "WebGpuExecutionProvider", "CUDAExecutionProvider"
ANSWER = Answer(
    text="Hi!",
    prompt_tokens=3,
    completion_tokens=3,
    load_seconds=1.0,
    first_token_seconds=0.1,
    tokens_per_second=9.0,
    finish_reason="stop",
)


def by(provider: str, operators: int, heavy: int) -> ComputedBy:
    return ComputedBy(provider=provider, operators=operators, heavy=heavy)


@pytest.mark.parametrize(
    ("computed", "runs"),
    [
        pytest.param([by(GPU, 29, 10)], True, id="all of it"),
        pytest.param([by(CPU, 4, 0), by(GPU, 25, 10)], True, id="all that is heavy"),
        pytest.param([by(CPU, 3, 0), by(GPU, 1, 0)], True, id="a whole graph in one operator of its own"),
        pytest.param([by(CPU, 5, 1), by(GPU, 1, 1)], True, id="a whole graph in one operator, and the CPU the last"),
        pytest.param([by(CPU, 29, 10)], False, id="nothing of it"),
        pytest.param([by(CPU, 25, 9), by(GPU, 4, 1)], False, id="only some of what is heavy"),
        pytest.param([by(OTHER, 29, 10)], False, id="another provider"),
        pytest.param([], False, id="nothing is known"),
    ],
)
def test_the_declared_provider_does_the_work(computed: list[ComputedBy], runs: bool) -> None:
    assert (fell_back(GPU, computed) == "") is runs


@pytest.mark.parametrize(
    ("kind", "heavy"),
    [
        *(("MatMulNBits", True), ("Gather", False), ("SimplifiedLayerNormalization", False)),
        # As the providers call what they compile into one.
        *(("EPContext", True), ("OpenVINO-EP-subgraph_1", True), ("QNN_8136_1", True), ("vitis_ai_ep_0", True)),
    ],
)
def test_what_a_provider_compiled_into_one_is_heavy(kind: str, heavy: bool) -> None:
    assert is_heavy(kind) is heavy


def candidate(folder: Path, options: list[Any], computed: tuple[ComputedBy, ...]) -> RegisteredCandidate:
    session = {"session_options": {"provider_options": options}}
    (folder / "genai_config.json").write_text(json.dumps({"model": {"decoder": session}}))
    runtime = SimpleNamespace(
        ask=lambda *given, **more: ANSWER,
        measure=lambda: (1, {}),
        memory=lambda: 1,
        providers=lambda identity, folder: computed,
    )
    return RegisteredCandidate(runtime=cast("MeasuringRuntime", runtime), folder=str(folder), name="x:1")


def test_a_fall_back_is_no_pass_and_is_tried_again(tmp_path: Path) -> None:
    held = Measured(release="", build_key="")
    with pytest.raises(RuntimeUnavailable, match=r"is made for WebGpu.*CPUExecutionProvider 29 operators") as caught:
        LoadGate().measure(candidate(tmp_path, [{"webgpu": {}}], (by(CPU, 29, 10),)), held)
    assert caught.value.code == "ProviderFellBack"
    assert LoadGate().measure(candidate(tmp_path, [{"webgpu": {}}], (by(GPU, 29, 10),)), held)
    assert LoadGate().measure(candidate(tmp_path, [], ()), held)  # for the CPU nothing is asked
