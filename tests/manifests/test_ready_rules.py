"""What a manifest may say of a ready ONNX model, and what it may not."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.manifest import Target
from reconciler.engine.resolve import resolve
from reconciler.gates.fidelity import FidelityGate
from reconciler.host.stamps import StampBook
from reconciler.manifests.parsed import Parsed
from reconciler.sources.manifests import load
from tests.backends.test_served_files import edited
from tests.machine import TestMachine
from tests.ready_onnx import GENAI, OPENVINO_NODE, context, write_compiled, write_ready

PROMPTS = "  gates: [{prompts: {cases: [{prompt: Hello, contains: Hi}]}}]\n"


def parsed(
    folder: Path, *, source: str = "{onnx: {path: ../model}}", precisions: str = "int4", more: str = ""
) -> Parsed:
    machine = TestMachine(folder=folder)
    (folder / "fleet" / "model").mkdir(parents=True)
    path = machine.declare(precisions=precisions, more=more)
    path.write_text(path.read_text().replace("{path: ../model}", source))
    return load(str(machine.manifests))


def test_it_is_not_compared_with_an_original(tmp_path: Path) -> None:
    found = parsed(tmp_path, more=PROMPTS)
    assert (found.problems, found.warnings) == ((), ())
    (model,) = found.models
    assert model.ready
    assert model.source_path == str(tmp_path / "fleet" / "model")
    fidelity = model.gates.get(FidelityGate)
    assert fidelity is not None
    assert fidelity.skip.startswith("a ready ONNX model is served as it is")


def test_it_says_itself_what_it_is_for(tmp_path: Path) -> None:
    found = parsed(tmp_path, more=f"{PROMPTS}  target: {{device: cpu}}\n")
    (model,) = found.models
    shutil.rmtree(model.source_path)
    config = write_ready(Path(model.source_path)) / GENAI
    (wanted,) = resolve(found, StampBook.empty()).desired.wanted
    assert wanted.release.recipe.target == Target()
    config.write_bytes(edited({"model.decoder.session_options.provider_options": [{"webgpu": {}}]}))
    assert [one.code for one in resolve(found, StampBook.empty()).problems] == ["TargetDiffers"]
    webgpu = Target(device="gpu", execution_provider="WebGpuExecutionProvider")
    declared = replace(found, models=(replace(model, target=webgpu),))
    assert resolve(declared, StampBook.empty()).problems == ()
    free = replace(found, models=(replace(model, lines={}),))
    (wanted,) = resolve(free, StampBook.empty()).desired.wanted
    assert wanted.release.recipe.target == webgpu
    assert wanted.release.recipe.as_is
    config.write_bytes(edited({}))  # it is for the CPU, and the manifest counts on a GPU
    assert [one.code for one in resolve(declared, StampBook.empty()).problems] == ["TargetDiffers"]


def test_what_was_compiled_is_not_compared(tmp_path: Path) -> None:
    (tmp_path / "fleet" / "whole").mkdir(parents=True)
    found = parsed(tmp_path, source="{onnx: {path: ../model}, original: {path: ../whole}}", more=PROMPTS)
    (model,) = found.models
    shutil.rmtree(model.source_path)
    write_compiled(Path(model.source_path), "OpenVINO", context(**OPENVINO_NODE))
    problems = resolve(found, StampBook.empty()).problems
    assert ("spec.source.original", "OptionIgnored") in [(one.field, one.code) for one in problems]


def test_golden_prompts_are_wanted(tmp_path: Path) -> None:
    found = parsed(tmp_path)
    assert [one.code for one in found.warnings] == ["ReadyUnproven"]
    assert found.models


def test_with_an_original_bars_of_fidelity_act(tmp_path: Path) -> None:
    (tmp_path / "fleet" / "whole").mkdir(parents=True)
    source = "{onnx: {path: ../model}, original: {path: ../whole}}"
    found = parsed(tmp_path, source=source, more="  gates: [{fidelity: {maxMeanKL: 0.1}}]\n")
    assert (found.problems, found.warnings) == ((), ())
    (model,) = found.models
    assert model.original_path == str(tmp_path / "fleet" / "whole")
    assert model.gates.get(FidelityGate) == FidelityGate(max_mean_kl=0.1)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"precisions": "int4, int8"}, "spec.precisions"),
        ({"more": "  quantization: {blockSize: 64}\n"}, "spec.quantization"),
        ({"source": "{onnx: {path: ../model}, adapter: ../model}"}, "spec.source.adapter"),
        ({"more": "  gates: [{fidelity: {maxMeanKL: 0.1}}]\n"}, "spec.gates"),
        ({"source": "{path: ../model, original: {path: ../model}}"}, "spec.source.original"),
    ],
)
def test_what_only_a_conversion_could_do_is_refused(tmp_path: Path, wrong: dict[str, str], field: str) -> None:
    found = parsed(tmp_path, **wrong)
    assert [(one.code, one.field) for one in found.problems] == [("OptionIgnored", field)]
    assert not found.models


def test_a_model_of_the_catalog_is_pinned_by_its_version(tmp_path: Path) -> None:
    (model,) = parsed(tmp_path, source="{catalog: {name: phi-4-mini, version: 5}}").models
    assert model.remote is not None
    assert (model.ready, model.remote.key) == (True, ("catalog", "phi-4-mini", "5", (), True, ""))
    assert model.remote.field == "spec.source.catalog"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("{onnx: {path: ../model, huggingface: {repo: a/b, revision: main}}}", "InvalidValue"),
        ("{onnx: {}}", "InvalidValue"),
        ("{onnx: {path: ../model}, path: ../model}", "InvalidValue"),
        ("{onnx: {path: ../nothing}}", "PathMissing"),
        (f"{{onnx: {{huggingface: {{repo: a/b, revision: {'1' * 40}, folder: ../x}}}}}}", "InvalidValue"),
        (f"{{onnx: {{huggingface: {{repo: a/b, revision: {'1' * 40}, folder: a//x}}}}}}", "InvalidValue"),
        ("{onnx: {oci: {repository: r.example/m, digest: v1}}}", "InvalidValue"),
        (f"{{onnx: {{oci: {{repository: 'https://r.example/m', digest: 'sha256:{'1' * 64}'}}}}}}", "InvalidValue"),
        (f"{{onnx: {{oci: {{repository: 'r.example/m:v1', digest: 'sha256:{'1' * 64}'}}}}}}", "InvalidValue"),
        (f"{{onnx: {{oci: {{repository: support, digest: 'sha256:{'1' * 64}'}}}}}}", "InvalidValue"),
        (f"{{oci: {{repository: r.example/m, digest: 'sha256:{'1' * 64}'}}}}", "NotSupported"),
        ("{catalog: {name: phi-4-mini, version: latest}}", "InvalidValue"),
        ("{catalog: {name: phi-4-mini:5, version: 5}}", "InvalidValue"),
        ("{catalog: {name: ../phi, version: 5}}", "InvalidValue"),
        ("{catalog: {name: phi-4-mini}}", "MissingField"),
        ("{catalog: {name: phi-4-mini, version: 5}, onnx: {path: ../model}}", "InvalidValue"),
    ],
)
def test_a_source_is_one_place(tmp_path: Path, source: str, code: str) -> None:
    assert [one.code for one in parsed(tmp_path, source=source).problems] == [code]
