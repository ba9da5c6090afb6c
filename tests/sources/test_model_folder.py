"""Model folders as they come: what is admitted, what is told of it, and what is ignored. What is refused has its own
module, tests/bad_inputs/test_model_folders.py."""

import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from reconciler.host.stamps import StampBook, Unhashed
from reconciler.sources.folder.guarded_folder import Folder
from reconciler.sources.folder.model import inspect_adapter, inspect_source, look_at_source
from tests.tiny_models import CHATML, write_qwen2, write_safetensors, write_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_qwen2(tmp_path / "model")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def shard(folder: Path) -> None:
    """The same weights in two files with an index."""
    raw = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8 : 8 + length]), raw[8 + length :]
    header.pop("__metadata__")
    names = list(header)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), start=1):
        file = f"model-{number:05d}-of-00002.safetensors"
        weight_map |= dict.fromkeys(part, file)
        body, entries = b"", {}
        for name in part:
            begin, end = header[name]["data_offsets"]
            entries[name] = header[name] | {"data_offsets": [len(body), len(body) + end - begin]}
            body += data[begin:end]
        head = json.dumps(entries).encode()
        (folder / file).write_bytes(len(head).to_bytes(8, "little") + head + body)
    (folder / "model.safetensors").unlink()
    index = {"metadata": {"total_size": len(data)}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_a_folder_tells_what_it_is(folder: Path) -> None:
    source = inspect_source(str(folder), StampBook.empty())
    assert source.problems == source.warnings == ()
    assert source.architecture == "Qwen2ForCausalLM"
    assert source.context_length == 4096
    assert source.chat_template == CHATML
    assert source.weight_bytes == (folder / "model.safetensors").stat().st_size
    assert source.shapes["model.embed_tokens.weight"] == (320, 64)
    assert source.digest.startswith("sha256:")
    assert [file.path for file in source.files] == sorted(os.listdir(folder))


def test_shards_are_the_same_model(folder: Path) -> None:
    whole = inspect_source(str(folder), StampBook.empty())
    shard(folder)
    sharded = inspect_source(str(folder), StampBook.empty())
    assert sharded.problems == ()
    assert sharded.shapes == whole.shapes
    assert sharded.digest != whole.digest  # other bytes are given to the converter


def test_files_that_no_conversion_reads_change_nothing(folder: Path) -> None:
    before = inspect_source(str(folder), StampBook.empty())
    (folder / "README.md").write_text("hello")
    (folder / "modeling_custom.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    (folder / "consolidated.safetensors").write_bytes(b"unused")
    assert inspect_source(str(folder), StampBook.empty()).digest == before.digest


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"])
def test_each_file_that_counts_changes_the_digest(folder: Path, name: str) -> None:
    before = inspect_source(str(folder), StampBook.empty())
    raw = bytearray((folder / name).read_bytes())
    raw[-2] = ord(" ") if raw[-2] != ord(" ") else ord("\n")
    (folder / name).write_bytes(raw)
    after = inspect_source(str(folder), StampBook.empty())
    assert after.problems == ()
    assert after.digest != before.digest


@pytest.mark.parametrize(
    "value", [CHATML, [{"name": "tool", "template": "x"}, {"name": "default", "template": CHATML}]]
)
def test_a_template_in_the_tokenizer_settings_is_found(folder: Path, value: object) -> None:
    (folder / "chat_template.jinja").unlink()
    edit(folder / "tokenizer_config.json", chat_template=value)
    assert inspect_source(str(folder), StampBook.empty()).chat_template == CHATML


def test_without_a_template_there_is_none(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    assert inspect_source(str(folder), StampBook.empty()).chat_template is None


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_custom_code_is_left_behind_with_a_warning(folder: Path, name: str) -> None:
    edit(folder / name, auto_map={"AutoConfig": "evil.Config"})
    source = inspect_source(str(folder), StampBook.empty())
    assert source.problems == ()
    assert [(warning.code, warning.file) for warning in source.warnings] == [("CustomCodeIgnored", f"model/{name}")]


def test_what_a_source_asks_for_and_the_runtime_cannot_do_is_said(folder: Path) -> None:
    edit(folder / "generation_config.json", suppress_tokens=[5], num_beams=1, stop_strings=None, repetition_penalty=1.5)
    source = inspect_source(str(folder), StampBook.empty())
    assert source.problems == ()
    (warning,) = source.warnings
    assert (warning.code, warning.file) == ("GenerationIgnored", "model/generation_config.json")
    assert "suppress_tokens does not act: the runtime has no such setting" in warning.message


@pytest.mark.parametrize("ends", [{"config.json": 3}, {"generation_config.json": [3]}, {"tokenizer_config.json": "x"}])
def test_a_source_without_any_end_token_is_refused(folder: Path, ends: dict[str, object]) -> None:
    for name in ("config.json", "generation_config.json"):
        edit(folder / name, eos_token_id=ends.get(name))
    edit(folder / "tokenizer_config.json", eos_token=ends.get("tokenizer_config.json"))
    assert inspect_source(str(folder), StampBook.empty()).problems == ()
    for name in ends:
        edit(folder / name, eos_token=None, eos_token_id=None)
    (problem,) = inspect_source(str(folder), StampBook.empty()).problems
    assert (problem.code, problem.file) == ("EndTokenMissing", "model/config.json")


def warned(folder: Path) -> list[str]:
    source = inspect_source(str(folder), StampBook.empty())
    assert source.problems == ()
    return [f"{one.code} {one.file}: {one.message}" for one in source.warnings]


def test_a_tokenizer_that_the_runtime_cannot_load_is_refused(folder: Path) -> None:
    edit(folder / "tokenizer.json", model={"type": "Unigram", "vocab": [["a", -1.0]]})
    (problem,) = inspect_source(str(folder), StampBook.empty()).problems
    assert (problem.code, problem.file) == ("TokenizerUnsupported", "model/tokenizer.json")
    assert "'Unigram'" in problem.message


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "{",
        '{"added_tokens": [{"content": "a", "id": 1e999}]}',
        '{"added_tokens": [3], "model": {}}',
        "[" * 100_000,
    ],
)
def test_a_tokenizer_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "tokenizer.json").write_text(text)
    assert [one.code for one in inspect_source(str(folder), StampBook.empty()).problems] == ["JsonInvalid"]


def test_an_end_token_of_the_tokenizer_alone_is_said(folder: Path) -> None:
    for name in ("config.json", "generation_config.json"):
        edit(folder / name, eos_token_id=256)
    (said,) = warned(folder)
    assert said.startswith("EndTokenDiffers model/tokenizer.json: its eos_token '<|im_end|>' (258) is not among")


def test_a_token_beyond_the_model_is_said(folder: Path) -> None:
    edit(folder / "config.json", vocab_size=258)
    (said,) = warned(folder)
    assert said == "TokenizerBeyondModel model/tokenizer.json: '<|im_end|>' has the id 258, and the model knows 258 ids"


def test_a_hugging_face_cache_is_followed_to_its_blobs(folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "cache" / "snapshots" / "abc", tmp_path / "cache" / "blobs"
    snapshot.mkdir(parents=True)
    shutil.copytree(folder, blobs)
    for name in os.listdir(folder):
        (snapshot / name).symlink_to(Path("..") / ".." / "blobs" / name)
    through_links = inspect_source(str(snapshot), StampBook.empty())
    assert through_links.problems == ()
    assert through_links.digest == inspect_source(str(folder), StampBook.empty()).digest


def test_a_second_look_reads_no_weights(folder: Path, tmp_path: Path) -> None:
    time.sleep(0.05)  # a file younger than a tick of the clock is hashed again
    stamps = StampBook.load(str(tmp_path / "stamps"))
    first = inspect_source(str(folder), stamps)
    stamps.save()
    again = StampBook.load(str(tmp_path / "stamps"))
    assert again.known(str(folder / "model.safetensors")) is not None
    assert inspect_source(str(folder), again).digest == first.digest


def test_a_change_between_two_looks_is_seen(folder: Path) -> None:
    stamps = StampBook.empty()
    first = inspect_source(str(folder), stamps)
    edit(folder / "config.json", max_position_embeddings=2048)
    second = inspect_source(str(folder), stamps)
    assert (first.context_length, second.context_length) == (4096, 2048)
    (folder / "config.json").unlink()
    assert [problem.code for problem in inspect_source(str(folder), stamps).problems] == ["ConfigMissing"]


def test_looking_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; from reconciler.host.stamps import StampBook; "
        "from reconciler.sources.folder.model import inspect_source; "
        "from reconciler.conversion import architectures, disk; "
        f"assert not inspect_source({str(folder)!r}, StampBook.empty()).problems; "
        "print(sorted({'numpy', 'onnx', 'safetensors', 'torch', 'transformers'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "somewhere/else",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "bias": "none",
        "auto_mapping": None,
        "use_dora": False,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    write_safetensors(folder / "adapter_model.safetensors", {name.format("A"): (4, 64), name.format("B"): (64, 4)})
    return folder


def test_an_adapter_tells_what_it_is(adapter: Path) -> None:
    found = inspect_adapter(str(adapter), StampBook.empty())
    assert found.problems == ()
    assert found.digest.startswith("sha256:")
    assert found.weight_bytes == (adapter / "adapter_model.safetensors").stat().st_size


def test_what_a_trainer_saves_beside_an_adapter(adapter: Path) -> None:
    write_tokenizer(adapter, "{{ messages }}")
    found = inspect_adapter(str(adapter), StampBook.empty())
    assert (found.problems, found.chat_template) == ((), "{{ messages }}")
    assert "<|im_end|>" in found.tokens
    (adapter / "chat_template.jinja").unlink()
    edit(adapter / "tokenizer_config.json", chat_template="{{ messages[0] }}")
    assert inspect_adapter(str(adapter), StampBook.empty()).chat_template == "{{ messages[0] }}"
    (adapter / "tokenizer.json").write_text("{")
    assert [one.code for one in inspect_adapter(str(adapter), StampBook.empty()).problems] == ["JsonInvalid"]


def edit_adapter(folder: Path, **changes: object) -> None:
    edit(folder / "adapter_config.json", **changes)


def kept_by_git_lfs(name: str, folder: Path) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:5\nsize 9\n")


def kept_without_task(folder: Path, **mapping: object) -> None:
    """As PEFT writes an adapter for which no task was given."""
    written = {"base_model_class": "Qwen2ForCausalLM", "parent_library": "transformers.models.qwen2.modeling_qwen2"}
    edit_adapter(folder, task_type=None, auto_mapping=written | mapping)


def test_an_adapter_with_modules_that_were_trained_as_a_whole_is_taken(adapter: Path) -> None:
    """Their weights are compared with the base's (tests/domain/test_adapter_weights.py)."""
    edit_adapter(adapter, modules_to_save=["lm_head", "embed_tokens"])
    assert inspect_adapter(str(adapter), StampBook.empty()).problems == ()
    edit_adapter(adapter, modules_to_save="lm_head")
    (problem,) = inspect_adapter(str(adapter), StampBook.empty()).problems
    assert "modules_to_save 'lm_head', expected names of modules" in problem.message


def test_an_adapter_that_was_trained_without_a_task_is_taken(adapter: Path) -> None:
    kept_without_task(adapter)
    assert inspect_adapter(str(adapter), StampBook.empty()).problems == ()


_UNSUPPORTED = "AdapterUnsupported"
ADAPTER_FAULTS = {
    "no configuration": (lambda f: (f / "adapter_config.json").unlink(), "AdapterInvalid"),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "AdapterInvalid"),
    **{
        f"{name} kept by Git LFS": (partial(kept_by_git_lfs, name), "LfsPointer")
        for name in ("adapter_config.json", "adapter_model.safetensors")
    },
    "another method": (lambda f: edit(f / "adapter_config.json", peft_type="IA3"), "AdapterUnsupported"),
    "another task": (lambda f: edit(f / "adapter_config.json", task_type="SEQ_CLS"), "AdapterUnsupported"),
    "a module to import": (
        lambda f: edit(f / "adapter_config.json", auto_mapping={"parent_library": "os"}),
        "AdapterUnsupported",
    ),
    "a class of another library": (
        partial(kept_without_task, parent_library="transformers_modules.acme"),
        _UNSUPPORTED,
    ),
    "a library that begins like it": (partial(kept_without_task, parent_library="transformersx"), _UNSUPPORTED),
    "a library that is no name": (partial(kept_without_task, parent_library=["transformers"]), _UNSUPPORTED),
    "more than a class": (partial(kept_without_task, code="x"), _UNSUPPORTED),
    "a variant never measured": (lambda f: edit(f / "adapter_config.json", lora_bias=True), "AdapterUnsupported"),
    "an unknown setting": (lambda f: edit(f / "adapter_config.json", next_big_thing=3), "AdapterUnsupported"),
    # PEFT stops at these, or adds nothing, or changes the base as well.
    **{
        f"{name} {value!r}": (partial(edit_adapter, **{name: value}), "AdapterUnsupported")
        for name, value in [
            *(("r", "4"), ("r", 0), ("r", None), ("lora_alpha", "16"), ("lora_alpha", 0), ("lora_alpha", float("nan"))),
            *(("target_modules", None), ("target_modules", [1]), ("layers_to_transform", "0"), ("rank_pattern", "x")),
            *(("alpha_pattern", {"q_proj": "x"}), ("init_lora_weights", "pissa"), ("init_lora_weights", "olora")),
        ]
    },
}


@pytest.mark.parametrize(("fault", "code"), ADAPTER_FAULTS.values(), ids=ADAPTER_FAULTS.keys())
def test_an_adapter_that_is_more_than_plain_lora_is_refused(adapter: Path, fault: object, code: str) -> None:
    fault(adapter)  # type: ignore[operator]
    assert [problem.code for problem in inspect_adapter(str(adapter), StampBook.empty()).problems] == [code]


@pytest.mark.parametrize("more", [{"lora_bias": True}, {"task_type": "SEQ_CLS"}])
def test_what_can_be_merged_elsewhere_has_a_way_out(adapter: Path, more: dict[str, object]) -> None:
    edit_adapter(adapter, **more)
    (problem,) = inspect_adapter(str(adapter), StampBook.empty()).problems
    assert ("merge_and_unload" in problem.hint) == ("lora_bias" in more)


def test_a_missing_adapter_folder_is_said(tmp_path: Path) -> None:
    found = inspect_adapter(str(tmp_path / "none"), StampBook.empty())
    assert [problem.code for problem in found.problems] == ["AdapterMissing"]


@pytest.mark.parametrize("ready", [False, True])
def test_a_look_without_digests_is_never_taken_for_one_with_them(capitals: Path, tmp_path: Path, ready: bool) -> None:
    """A daemon looks so at the source of a model whose manifest is wrong, and with digests once that is mended."""
    path = shutil.copytree(capitals.parents[1] / "ready-onnx" / "model" if ready else capitals, tmp_path / "model")
    bare = inspect_source(str(path), Unhashed.empty(), ready=ready)
    assert {file.digest for file in bare.files} == {""}
    found = inspect_source(str(path), StampBook.empty(), ready=ready)
    assert found == look_at_source(Folder(str(path), StampBook.empty()), ready=ready)
    assert "" not in {file.digest for file in found.files}
