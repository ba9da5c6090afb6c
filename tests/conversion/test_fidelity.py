"""The numbers that judge a conversion, and which conversions the default gates let through."""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from reconciler.backends.foundry.genai_config import genai_config
from reconciler.conversion.architectures import refusal
from reconciler.conversion.client.converter import Converter
from reconciler.conversion.disk import predict_bytes
from reconciler.domain.errors import ConversionFailed, Disturbed
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.manifest import Generation, Target
from reconciler.domain.measured import TEXTS_DIGEST, Fidelity
from reconciler.domain.targets.execution_providers import CONVERTED
from reconciler.gates.judgement import judge, rejections
from reconciler.host.child import Child
from tests.conversions import convert, look, recipe_of
from tests.tiny_models import write_families

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
# A part of docs/fidelity.md (`python -m bench.fidelity` measures all of it), in every run.
RIGHT = (("lfm2", "fp32"), ("llama", "int8"), ("granite", "int4"), ("gemma", "fp16"), ("phi3", "int4"))
WRONG = (
    ("olmo", "fp32"),
    ("gemma2", "int8"),
    ("nemotron", "int4"),
    ("qwen2-yarn", "int4"),
    ("phi3-long-factor-v4", "int4"),
    ("llama-attention-cap", "int4"),
    ("llama-logit-cap", "int8"),
    ("llama-logit-cap", "fp16"),
)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_families(tmp_path_factory.mktemp("zoo"), "qwen2", *{name for name, _ in (*RIGHT, *WRONG)})


def measure(converter: Converter, source: Path, out: Path, precision: str, **options: object) -> Fidelity:
    convert(converter, source, out, precision, **options)
    return converter.compare(recipe_of(look(source), precision, **options), str(source), str(out), timeout=120).fidelity


@pytest.mark.parametrize(("name", "precision"), RIGHT)
def test_a_faithful_conversion_passes(
    converter: Converter, zoo: dict[str, Path], tmp_path: Path, name: str, precision: str
) -> None:
    found = measure(converter, zoo[name], tmp_path / "out", precision)
    config = json.loads((zoo[name] / "config.json").read_text())
    assert refusal(config, precision, Target()) is None
    assert rejections(judge(GateSpec(), precision, found, None)) == ()
    assert found.positions >= 500
    assert found.prompts == TEXTS_DIGEST


def test_a_ready_folder_is_compared_whatever_its_graph_is_called(converter: Converter, tmp_path: Path) -> None:
    """Also one that is made for another provider: it is computed by the processor here."""
    ready = shutil.copytree(EXAMPLES / "ready-onnx" / "model", tmp_path / "ready")
    (ready / "model.onnx").rename(ready / "any-name.onnx")
    config = json.loads((ready / "genai_config.json").read_text())
    config["model"]["decoder"]["filename"] = "any-name.onnx"
    config["model"]["decoder"]["session_options"]["provider_options"] = [{"webgpu": {}}]
    (ready / "genai_config.json").write_text(json.dumps(config))
    original = EXAMPLES / "capitals" / "model"
    found = converter.compare(recipe_of(look(original), "int4"), str(original), str(ready), timeout=120)
    assert rejections(judge(GateSpec(), "int4", found.fidelity, None)) == ()
    assert found.fidelity.top1_agreement > 0.85
    assert found.reference is not None


@pytest.mark.parametrize(
    ("provider", "precision", "options"),
    [
        ("NvTensorRTRTXExecutionProvider", "int4", {}),
        ("NvTensorRTRTXExecutionProvider", "int4", {"block_size": 64, "symmetric": False}),
        ("CUDAExecutionProvider", "bf16", {}),
    ],
)
def test_what_is_converted_for_a_gpu_has_the_weights_of_its_source(
    converter: Converter, capitals: Path, tmp_path: Path, provider: str, precision: str, options: dict[str, Any]
) -> None:
    """In the forms that no conversion for the CPU has."""
    source, out = look(capitals), tmp_path / "out"
    recipe = recipe_of(source, precision, provider=CONVERTED[provider], **options)
    assert {name: recipe.options[name] for name in options} == options
    converter.convert(recipe, str(capitals), str(out), timeout=300)
    genai_config((out / "genai_config.json").read_bytes(), Generation(), provider)  # it may be served
    size = sum(file.stat().st_size for file in out.iterdir())
    assert predict_bytes(source, recipe) == pytest.approx(size, rel=0.05)

    found = converter.compare(recipe, str(capitals), str(out), timeout=120).fidelity
    assert found.wiring_kl is not None
    assert found.wiring_kl < 1e-11
    verdicts = judge(GateSpec(), precision, found, None, provider)
    assert rejections(verdicts) == ()
    assert f"by the processor instead of {provider}" in verdicts[0].message


def test_a_source_that_changes_while_it_is_read_gives_no_numbers(
    converter: Converter, zoo: dict[str, Path], tmp_path: Path
) -> None:
    """Its files are mapped, so what is read is what they hold then."""
    source = shutil.copytree(zoo["qwen2"], tmp_path / "source")
    recipe, out = recipe_of(look(source), "fp32"), tmp_path / "out"
    convert(converter, source, out, "fp32")

    def swap(*_: object) -> None:
        with (source / "model.safetensors").open("r+b") as file:
            file.seek(-4096, os.SEEK_END)
            file.write(bytes(4096))

    with pytest.raises(Disturbed) as failure:
        converter.compare(recipe, str(source), str(out), timeout=120, on_progress=swap)
    assert failure.value.code == "SourceChanged"


@pytest.mark.parametrize(("name", "precision"), WRONG)
def test_a_wrong_one_is_rejected(
    converter: Converter, zoo: dict[str, Path], tmp_path: Path, name: str, precision: str
) -> None:
    """The table of architectures would refuse it before any conversion: here the numbers alone are asked."""
    config = json.loads((zoo[name] / "config.json").read_text())
    assert refusal(config, precision, Target()) is not None
    found = measure(converter, zoo[name], tmp_path / "out", precision)
    rejected = rejections(judge(GateSpec(), precision, found, None))
    assert {verdict.gate for verdict in rejected} == {"fidelity"}


@pytest.mark.parametrize(
    ("precision", "options"),
    [
        ("int4", {"symmetric": False}),
        ("int4", {"block_size": 128}),
        ("int4", {"algorithm": "rtn"}),
        ("int4", {"algorithm": "k_quant_mixed"}),
        ("int8", {"symmetric": False}),
    ],
)
def test_other_ways_of_rounding_are_explained_too(
    converter: Converter, zoo: dict[str, Path], tmp_path: Path, precision: str, options: dict[str, object]
) -> None:
    found = measure(converter, zoo["qwen2"], tmp_path / "out", precision, **options)
    assert rejections(judge(GateSpec(), precision, found, None)) == ()


def test_one_wrong_row_of_weights_is_seen(converter: Converter, zoo: dict[str, Path], tmp_path: Path) -> None:
    """Its codes are one too high. What both compute with is the same, so nothing else shows it."""
    convert(converter, zoo["qwen2"], tmp_path / "out", "int8")
    data = tmp_path / "out" / "model.onnx.data"
    with data.open("r+b") as file:
        file.seek(offset_of("lm_head.MatMulNBits.qweight", tmp_path / "out"))
        row = file.read(128)
        file.seek(-128, os.SEEK_CUR)
        file.write(bytes(min(255, code + 1) for code in row))
    recipe = recipe_of(look(zoo["qwen2"]), "int8")
    found = converter.compare(recipe, str(zoo["qwen2"]), str(tmp_path / "out"), timeout=120).fidelity
    rejected = rejections(judge(GateSpec(), "int8", found, None))
    assert [verdict.measure for verdict in rejected] == ["roundingDistance"]


def offset_of(tensor: str, artifact: Path) -> int:
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(artifact / "model.onnx", load_external_data=False).graph
    held = next(one for one in graph.initializer if one.name == tensor)
    return int(next(entry.value for entry in held.external_data if entry.key == "offset"))


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_an_artifact_of_another_model_is_seen(
    converter: Converter, zoo: dict[str, Path], tmp_path: Path, precision: str
) -> None:
    convert(converter, zoo["llama"], tmp_path / "out", precision)
    recipe = recipe_of(look(zoo["qwen2"]), precision)
    found = converter.compare(recipe, str(zoo["qwen2"]), str(tmp_path / "out"), timeout=120).fidelity
    assert rejections(judge(GateSpec(), precision, found, None))


def test_what_does_not_load_cannot_be_compared_and_the_artifact_stays(
    converter: Converter, zoo: dict[str, Path], tmp_path: Path
) -> None:
    convert(converter, zoo["qwen2"], tmp_path / "out", "fp32")
    (tmp_path / "out" / "model.onnx").write_bytes(b"no graph")
    recipe = recipe_of(look(zoo["qwen2"]), "fp32")
    with pytest.raises(ConversionFailed):
        converter.compare(recipe, str(zoo["qwen2"]), str(tmp_path / "out"), timeout=120)
    assert (tmp_path / "out" / "genai_config.json").exists()


def test_a_trained_model_whose_multipliers_are_whole_numbers(
    converter: Converter, reader: Child, capitals: Path, tmp_path: Path
) -> None:
    """The example's model, written as a Granite that computes the same: its queries carry what a multiplier of 1 leaves
    out. It is converted, answers as the Qwen2 that it was, and by its own source it is faithful."""
    source = as_granite(capitals, tmp_path / "granite")
    recipe = recipe_of(look(source), "int4")
    out = str(tmp_path / "out")
    converter.convert(recipe, str(source), out, timeout=300)
    assert reader.call("compare", {"source": str(capitals), "artifact": out}, timeout=60)["mean"] > 0.99
    found = converter.compare(recipe, str(source), out, timeout=120).fidelity
    assert rejections(judge(GateSpec(), "int4", found, None)) == ()


def as_granite(capitals: Path, folder: Path) -> Path:
    import numpy
    from safetensors.numpy import load_file, save_file

    config, weights = json.loads((capitals / "config.json").read_text()), load_file(capitals / "model.safetensors")
    size = config["hidden_size"]
    for layer in range(config["num_hidden_layers"]):
        attention = f"model.layers.{layer}.self_attn"
        for part in ("weight", "bias"):
            weights[f"{attention}.q_proj.{part}"] /= math.sqrt(size / config["num_attention_heads"])
        weights[f"{attention}.o_proj.bias"] = numpy.zeros(size, dtype=numpy.float32)
    shutil.copytree(capitals, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    whole = dict.fromkeys(("attention_multiplier", "embedding_multiplier", "residual_multiplier", "logits_scaling"), 1)
    kind = {"architectures": ["GraniteForCausalLM"], "model_type": "granite", "attention_bias": True, "mlp_bias": False}
    (folder / "config.json").write_text(json.dumps(config | whole | kind))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
