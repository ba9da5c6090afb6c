"""Real Olive, on real models: every precision converts, answers, is reproducible, and is as large as predicted."""

import functools
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.conversion.client.converter import Converter
from reconciler.conversion.disk import predict_bytes
from reconciler.conversion.precisions import passes_of
from reconciler.conversion.worker.job import ARTIFACT_FILES
from reconciler.domain.errors import ConversionFailed, DiskFull, Disturbed
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.sources.adapter_weights import mismatch
from reconciler.domain.sources.source_model import SourceAdapter
from reconciler.engine.recipes import adapted
from reconciler.gates.judgement import judge, rejections
from reconciler.host.child import Child
from reconciler.host.environment import private_environment
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.model import inspect_adapter
from tests import forked
from tests.conversions import convert, look, recipe_of
from tests.tiny_models import write_qwen2, write_safetensors
from tests.tokenizer_zoo import LLAMA3, split, tokenizer

pytestmark = pytest.mark.slow

PRECISIONS = ("fp32", "fp16", "int8", "int4")
QUESTION = "<|im_start|>user\nWhat is the capital of Slovenia?<|im_end|>\n<|im_start|>assistant\n"

OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("int4", {"block_size": 16}),
    ("int4", {"block_size": 64, "symmetric": False}),
    ("int4", {"block_size": 128}),
    ("int4", {"accuracy_level": 1}),
    ("int4", {"algorithm": "rtn"}),
    ("int4", {"algorithm": "k_quant"}),
    ("int4", {"algorithm": "k_quant_mixed"}),
    ("int4", {"algorithm": "k_quant_last"}),
    ("int8", {"block_size": 64}),
    ("int8", {"symmetric": False}),
    ("int8", {"accuracy_level": 1}),
]


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def digests_of(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_example_answers_at_every_precision(
    converter: Converter, reader: Child, capitals: Path, tmp_path: Path, precision: str
) -> None:
    seen: list[tuple[float, str]] = []
    recipe = recipe_of(look(capitals), precision)
    log = converter.convert(
        recipe, str(capitals), str(tmp_path / "out"), on_progress=lambda *step: seen.append(step), timeout=300
    )
    said = reader.call("answer", {"folder": str(tmp_path / "out"), "prompt": QUESTION, "tokens": 16}, timeout=60)
    assert "Ljubljana" in said["text"]
    assert said["echo"] == "hello world"
    assert set(os.listdir(tmp_path / "out")) <= set(ARTIFACT_FILES)
    assert predict_bytes(look(capitals), recipe) == pytest.approx(size_of(tmp_path / "out"), rel=0.05)
    assert seen == sorted(seen, key=lambda step: step[0])
    assert "Saving ONNX model" in Path(log).read_text()


def test_the_tokenizer_of_the_source_is_kept(converter: Converter, tmp_path: Path) -> None:
    """transformers makes a file of its own for a class that it knows: another pre-tokenizer, other tokens."""
    source = write_qwen2(tmp_path / "model")
    (source / "tokenizer.json").write_text(text := tokenizer(split(LLAMA3)), encoding="utf-8")
    settings = json.loads((source / "tokenizer_config.json").read_text()) | {"tokenizer_class": "Qwen2Tokenizer"}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    (source / "generation_config.json").write_text(json.dumps({"do_sample": False, "eos_token_id": [2, 4]}))
    out = convert(converter, source, tmp_path / "out", "fp32")
    assert Path(out, "tokenizer.json").read_text(encoding="utf-8") == text
    genai = json.loads(Path(out, "genai_config.json").read_text())
    assert (genai["model"]["eos_token_id"], genai["search"]["top_k"]) == ([2, 4, 258], 1)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_recipe_gives_the_same_bytes(converter: Converter, tmp_path: Path, precision: str) -> None:
    """Also from another folder: no path of this machine is in an artifact."""
    one, other = (write_qwen2(tmp_path / name) for name in ("one", "a much longer name"))
    convert(converter, one, tmp_path / "out one", precision)
    convert(converter, other, tmp_path / "out other", precision)
    assert digests_of(tmp_path / "out one") == digests_of(tmp_path / "out other")
    for file in (tmp_path / "out one").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


@pytest.fixture(scope="module")
def plain(converter: Converter, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """What a precision gives without options."""
    source = write_qwen2(tmp_path_factory.mktemp("plain") / "model", hidden=256)

    @functools.cache
    def made(precision: str) -> Path:
        return convert(converter, source, source.parent / precision, precision)

    return made


@pytest.mark.parametrize(("precision", "options"), OPTIONS, ids=[f"{p} {o}" for p, o in OPTIONS])
def test_every_option_acts_and_is_read_back(
    converter: Converter,
    reader: Child,
    plain: Callable[[str], Path],
    tmp_path: Path,
    precision: str,
    options: dict[str, Any],
) -> None:
    source = write_qwen2(tmp_path / "model", hidden=256)
    convert(converter, source, tmp_path / "out", precision, **options)  # reads back what came of them
    assert digests_of(tmp_path / "out")["model.onnx"] != digests_of(plain(precision))["model.onnx"]
    recipe = recipe_of(look(source), precision, **options)
    assert predict_bytes(look(source), recipe) == pytest.approx(size_of(tmp_path / "out"), rel=0.05)
    assert reader.call("answer", {"folder": str(tmp_path / "out"), "prompt": "x"}, timeout=60)["echo"] == "hello world"


def test_every_option_that_we_write_is_one_that_the_pass_knows(tmp_path: Path) -> None:
    """Olive drops unknown ones in silence."""
    source = look(write_qwen2(tmp_path / "model"))
    written: dict[str, set[str]] = {}
    everything = {"block_size": 64, "symmetric": False, "accuracy_level": 1, "algorithm": "rtn"}
    for precision in PRECISIONS:
        for one in passes_of(recipe_of(source, precision, adapter="sha256:x", **everything)).values():
            written.setdefault(one["type"], set()).update(one.keys() - {"type"})
    script = """
import json, sys
from olive.package_config import OlivePackageConfig
from olive.hardware import DEFAULT_CPU_ACCELERATOR
packages = OlivePackageConfig.load_default_config()
known = {}
for name in json.loads(sys.argv[1]):
    known[name] = sorted(packages.import_pass_module(name)._default_config(DEFAULT_CPU_ACCELERATOR))
print(json.dumps(known))
"""
    (tmp_path / "script.py").write_text(script)
    environment = private_environment(str(tmp_path))
    printed = forked.run_beside_olive(tmp_path / "script.py", [json.dumps(sorted(written))], tmp_path, environment)
    known = json.loads(printed.splitlines()[-1])
    assert set(written) == {"ModelBuilder", "Rtn", "OnnxFloatToFloat16", "MergeAdapterWeights"}
    for name, options in written.items():
        assert options <= set(known[name])


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder: Path, change: Any) -> None:
    raw = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), bytearray(raw[8 + length :])
    header = change(header, data) or header
    head = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + data)


def rename_a_tensor(header: dict[str, Any], data: bytearray) -> dict[str, Any]:
    name = "model.layers.1.mlp.up_proj.weight"
    return {(name + "s" if key == name else key): value for key, value in header.items()}


def put_nan(header: dict[str, Any], data: bytearray) -> None:
    begin = header["model.layers.0.mlp.up_proj.weight"]["data_offsets"][0]
    data[begin : begin + 4] = b"\x00\x00\xc0\x7f"


FAULTS = {
    "a tensor is missing": (
        lambda f: change_weights(f, rename_a_tensor),
        "1 tensors are missing, the first is model.layers.1.mlp.up_proj.weight",
    ),
    "a weight is not a number": (
        lambda f: change_weights(f, put_nan),
        "tensor model.layers.0.mlp.up_proj.weight of the source holds numbers that are not finite",
    ),
    "the configuration asks for other shapes": (
        lambda f: edit(f / "config.json", intermediate_size=160),
        "has the shape",
    ),
    "an unknown architecture": (
        lambda f: edit(f / "config.json", architectures=["StableLmForCausalLM"]),
        "not currently supported",
    ),
    "yarn that the builder stops at": (
        lambda f: edit(
            f / "config.json",
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 1e4,
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
            },
        ),
        "AssertionError",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_what_olive_would_swallow_is_said(converter: Converter, tmp_path: Path, spoil: Any, words: str) -> None:
    source = write_qwen2(tmp_path / "model")
    spoil(source)
    with pytest.raises(ConversionFailed) as failure:
        convert(converter, source, tmp_path / "out", "int4")
    assert failure.value.code == "ConversionFailed"
    assert words in str(failure.value)
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "out").exists()


def test_custom_code_is_never_run(converter: Converter, tmp_path: Path) -> None:
    source, proof = write_qwen2(tmp_path / "model"), tmp_path / "it ran"
    for name in ("configuration_evil.py", "tokenization_evil.py"):
        (source / name).write_text(f"open({str(proof)!r}, 'w')\nclass Evil: pass\n")
    edit(source / "config.json", auto_map={"AutoConfig": "configuration_evil.Evil"})
    edit(source / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_evil.Evil", None]})
    convert(converter, source, tmp_path / "out", "int4")
    assert not proof.exists()


def test_a_source_edited_since_the_plan_is_not_converted(converter: Converter, tmp_path: Path) -> None:
    source = write_qwen2(tmp_path / "model")
    recipe = recipe_of(look(source), "int4")
    edit(source / "generation_config.json", temperature=0.5)
    with pytest.raises(Disturbed) as failure:
        converter.convert(recipe, str(source), str(tmp_path / "out"), timeout=60)
    assert failure.value.code == "SourceChanged"
    assert "since the plan" in str(failure.value)


def test_a_source_edited_while_olive_reads_it_is_not_handed_over(converter: Converter, tmp_path: Path) -> None:
    source = write_qwen2(tmp_path / "model", layers=12)

    def edit_when_it_reads(fraction: float, text: str) -> None:
        if fraction > 0:
            (source / "model.safetensors").touch()

    recipe, output = recipe_of(look(source), "int4"), tmp_path / "out"
    with pytest.raises(Disturbed, match="the source changed while it was read") as failure:
        converter.convert(recipe, str(source), str(output), on_progress=edit_when_it_reads, timeout=60)
    assert failure.value.code == "SourceChanged"
    assert "again" in failure.value.hint
    assert not output.exists()


def test_the_source_is_left_as_it_was(converter: Converter, tmp_path: Path) -> None:
    source = write_qwen2(tmp_path / "model")
    before = {file.name: (file.stat().st_mtime_ns, file.stat().st_ctime_ns) for file in source.iterdir()}
    convert(converter, source, tmp_path / "out", "int8")
    assert {file.name: (file.stat().st_mtime_ns, file.stat().st_ctime_ns) for file in source.iterdir()} == before


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("small_disk", ["1m", "4m"], indirect=True)
def test_a_full_disk_is_named_and_nothing_is_left(small_disk: Path, capitals: Path, tmp_path: Path) -> None:
    """At fp32 the artifact has 2.4 MB, and is held twice: one size ends it in the cache, the other in the output."""
    with Converter(str(small_disk / "scratch"), str(tmp_path / "logs")) as converter:
        with pytest.raises(DiskFull):
            convert(converter, capitals, small_disk / "out", "fp32")
        assert not (small_disk / "out").exists()
    assert os.listdir(small_disk / "scratch") == []


def write_adapters(folder: Path, source: Path) -> None:
    """Two that change the answers, made by PEFT itself, with what PEFT merges of each: LoRA with a head and an
    embedding that were trained as a whole, and DoRA."""
    script = f"""
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
torch.manual_seed(1)
for name, more in (("lora", {{"modules_to_save": ["lm_head", "embed_tokens"]}}), ("dora", {{"use_dora": True}})):
    model = AutoModelForCausalLM.from_pretrained({str(source)!r})
    lora = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"], **more)
    model = get_peft_model(model, lora)
    for part, parameter in model.named_parameters():
        if "modules_to_save" in part:
            torch.nn.init.normal_(parameter, std=0.05)
        elif "magnitude" in part:
            torch.nn.init.uniform_(parameter, 0.5, 2.0)
        elif "lora_" in part:
            torch.nn.init.normal_(parameter, std=0.3)
    adapter = {str(folder)!r} + "/" + name
    model.save_pretrained(adapter)
    merged = AutoModelForCausalLM.from_pretrained({str(source)!r})
    PeftModel.from_pretrained(merged, adapter).merge_and_unload().save_pretrained(adapter + " merged")
"""
    folder.mkdir()
    written = folder / "write_adapters.py"
    written.write_text(script)
    forked.run_beside_olive(written, [], folder.parent, private_environment(str(folder.parent)))


def never_train(weights: Path) -> None:
    """As an adapter is before the first step of its training."""
    data = bytearray(weights.read_bytes())
    body = 8 + int.from_bytes(data[:8], "little")
    for name, tensor in json.loads(data[8:body]).items():
        if "lora_B" in name:
            begin, end = tensor["data_offsets"]
            data[body + begin : body + end] = bytes(end - begin)
    weights.write_bytes(data)


@pytest.mark.parametrize(
    ("named", "edit", "says"),
    [
        (".*v_proj", lambda weights: None, r"q_proj.lora_A.weight .*, unlike its configuration with this base"),
        (".*q_proj", never_train, r"the adapter changes nothing: it adds zeros"),
    ],
)
def test_an_adapter_of_which_nothing_would_be_merged_is_refused(
    converter: Converter, tmp_path: Path, named: str, edit: Callable[[Path], None], says: str
) -> None:
    """Its expression leaves out its own weights, which PEFT passes over with a warning; or it was never trained."""
    source, folder = write_qwen2(tmp_path / "model"), tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "target_modules": named}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    shapes = {name.format(layer, factor): (4, 64) if factor == "A" else (64, 4) for layer in (0, 1) for factor in "AB"}
    write_safetensors(folder / "adapter_model.safetensors", shapes)
    edit(folder / "adapter_model.safetensors")
    adapter = inspect_adapter(str(folder), StampBook.empty())
    recipe = recipe_of(look(source), "fp32", adapter=adapter.digest)
    with pytest.raises(ConversionFailed, match=says):
        converter.convert(recipe, str(source), str(tmp_path / "out"), adapter=str(folder), timeout=300)


def with_a_tokenizer(folder: Path, source: Path) -> SourceAdapter:
    """Beside the adapter, as a trainer saves it: it reads one token more, and ends answers by another."""
    document = json.loads((source / "tokenizer.json").read_text())
    document["added_tokens"].append(document["added_tokens"][-1] | {"id": 259, "content": "<|tool|>"})
    (folder / "tokenizer.json").write_text(json.dumps(document))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_start|>", "auto_map": {"a": "b.C"}}))
    adapter = inspect_adapter(str(folder), StampBook.empty())
    assert [one.path for one in adapter.tokenizer] == ["tokenizer.json", "tokenizer_config.json"]
    return adapter


def test_an_adapter_is_merged_into_the_weights(converter: Converter, reader: Child, tmp_path: Path) -> None:
    source = write_qwen2(tmp_path / "model", tied=False)
    write_adapters(tmp_path / "adapters", source)
    of_a_task = {"task_type": "CAUSAL_LM", "auto_mapping": None}
    for kind, precision, least, more in (("lora", "fp32", 0.9999, {}), ("dora", "int8", 0.97, of_a_task)):
        folder = tmp_path / "adapters" / kind
        config = folder / "adapter_config.json"
        saved = json.loads(config.read_text())
        assert saved["auto_mapping"]["base_model_class"] == "Qwen2ForCausalLM"
        config.write_text(json.dumps(saved | more))
        adapter = inspect_adapter(str(folder), StampBook.empty())
        assert adapter.problems == ()
        assert mismatch(adapter.config, adapter.shapes, look(source).shapes) == ""
        if kind == "lora":
            adapter = with_a_tokenizer(folder, source)
        _, merged_with = adapted(look(source), adapter)
        assert (merged_with == adapter.digest) is (kind == "dora")
        recipe = recipe_of(look(source), precision, adapter=merged_with)
        out = str(tmp_path / precision)
        converter.convert(recipe, str(source), out, adapter=str(folder), timeout=300)
        for name in adapter.tokenizer and ("tokenizer.json",):
            assert (Path(out) / name).read_bytes() == (folder / name).read_bytes() != (source / name).read_bytes()
            ends = json.loads((Path(out) / "genai_config.json").read_text())["model"]["eos_token_id"]
            assert set(ends) == {257, 258}  # as the base ends an answer, and as the fine-tune's tokenizer does
        merged, plain = (
            reader.call("compare", {"source": str(one), "artifact": out}, timeout=60)["mean"]
            for one in (folder.with_name(f"{kind} merged"), source)
        )
        assert merged > least
        assert plain < 0.95
        found = converter.compare(recipe, str(source), out, adapter=str(folder), timeout=120).fidelity
        assert rejections(judge(GateSpec(), precision, found, None)) == ()
