"""Execution providers that Foundry Local registers before a model that asks for one loads: from a library that is here,
and never by a download."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.backends.foundry.backend import FoundryLocal
from reconciler.backends.foundry.foundry import Foundry
from reconciler.backends.foundry.provider_libraries import VARIABLES, environment_of, register_for
from reconciler.backends.select import backend_at
from reconciler.domain.machine.backends import BackendSettings
from tests.backends.test_served_files import edited

CUDA, WEBGPU = "CUDAExecutionProvider", "WebGpuExecutionProvider"
OPTIONS = "model.decoder.session_options.provider_options"


@dataclass
class Ep:
    name: str
    is_registered: bool = False


@dataclass
class Manager:
    """Of the SDK, as far as it is asked."""

    eps: list[Ep]
    registered: list[list[str]] = field(default_factory=list)

    def discover_eps(self) -> list[Ep]:
        return self.eps

    def download_and_register_eps(self, names: list[str]) -> None:
        self.registered.append(names)


@pytest.mark.parametrize(
    ("asked", "named", "eps", "registered"),
    [
        ([{"cuda": {}}], [CUDA], [Ep(CUDA)], [[CUDA]]),
        ([{"webgpu": {}}], [WEBGPU], [Ep(CUDA), Ep("WebGPUExecutionProvider")], [["WebGPUExecutionProvider"]]),
        ([{"cuda": {}}], [CUDA], [Ep(CUDA, is_registered=True)], []),
        ([{"cuda": {}}], [CUDA], [], []),  # no such device here
        ([{"cuda": {}}], [], [Ep(CUDA)], []),  # it would be downloaded
        ([{"cuda": {}}], [WEBGPU], [Ep(CUDA), Ep(WEBGPU)], []),
        ([{"dml": {}}], [CUDA, WEBGPU], [Ep("DmlExecutionProvider")], []),
        ([], [CUDA, WEBGPU], [Ep(CUDA)], []),
    ],
)
def test_what_is_registered(
    asked: list[object],
    named: list[str],
    eps: list[Ep],
    registered: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "genai_config.json").write_bytes(edited({OPTIONS: asked}))
    assert json.loads((tmp_path / "genai_config.json").read_text())
    for name in named:
        monkeypatch.setenv(VARIABLES[name], "/opt/library.so")
    manager = Manager(eps)
    register_for(str(tmp_path), manager)
    assert manager.registered == registered


def test_a_rehearsal_knows_them_too() -> None:
    libraries = {CUDA: "/opt/cuda.so"}
    backend = backend_at("/cache", (BackendSettings(provider_libraries=libraries),))
    assert isinstance(backend, FoundryLocal)
    runtime = backend.rehearsal_at("/other").runtime(scratch="/s", log="/l")
    assert isinstance(runtime, Foundry)
    assert runtime.provider_libraries == libraries
    assert environment_of(libraries) == {"FOUNDRY_LOCAL_CUDA_EP_LIBRARY": "/opt/cuda.so"}
