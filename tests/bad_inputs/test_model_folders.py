"""Every bad model folder: stable codes, one line each, all at once, quickly, and without reading a tensor."""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.conversion.disk import predict_bytes
from reconciler.conversion.memory import predict_memory
from reconciler.domain.sources.source_model import SourceModel
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.model import inspect_adapter, inspect_source
from reconciler.sources.folder.safetensors_header import MAXIMUM_TENSORS
from tests.conversions import recipe_of
from tests.tiny_models import write_qwen2, write_safetensors
from tests.waiting import PATIENCE

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_qwen2(tmp_path / "model")


def look(folder: Path) -> SourceModel:
    return inspect_source(str(folder), StampBook.empty())


def header_of(folder: Path) -> tuple[dict[str, dict[str, object]], bytes]:
    raw = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def write_header(folder: Path, header: object, data: bytes) -> None:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(len(head).to_bytes(8, "little") + head + data)


def change_tensor(folder: Path, **changes: object) -> None:
    header, data = header_of(folder)
    header["model.norm.weight"] |= changes
    write_header(folder, header, data)


def edit(folder: Path, name: str, **changes: object) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def only_pickles(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def only_gguf(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "model.gguf")


def converted_already(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "model.onnx")
    (folder / "genai_config.json").write_text("{}")


def only_an_adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def index_names(*names: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / "part.safetensors")
        weight_map = {f"tensor{i}": name for i, name in enumerate(names)}
        (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))

    return apply


def twice_in_header(folder: Path) -> None:
    _, data = header_of(folder)
    entry = json.dumps({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]})
    write_header(folder, f'{{"a": {entry}, "a": {entry}}}'.encode(), data)


def many_twice_in_header(folder: Path) -> None:
    names = [f'"{i}": 0' for i in range(60_000)]
    write_header(folder, f"{{{', '.join(names)}, {names[-1]}}}".encode(), b"")


def too_many_tensors(folder: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    write_header(folder, {str(i): entry for i in range(MAXIMUM_TENSORS + 1)}, b"")


def brackets(folder: Path) -> None:
    write_header(folder, b'{"a": [' + b"[]," * 8_000_000 + b"0]}", b"")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 987654321\n" % (b"5" * 64)


def pointer_instead(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(POINTER)


def pointer_for_a_shard(folder: Path) -> None:
    index_names("part.safetensors", "kept.safetensors")(folder)
    (folder / "kept.safetensors").write_bytes(POINTER)


def cut(folder: Path, keep: int) -> None:
    os.truncate(folder / WEIGHTS, keep)


def with_rest(folder: Path) -> None:
    with open(folder / WEIGHTS, "ab") as file:
        file.write(b"more")


def overlapping(folder: Path) -> None:
    header, data = header_of(folder)
    header["model.norm.weight"]["data_offsets"] = [0, 4 * 64]
    write_header(folder, header, data)


def with_gap(folder: Path) -> None:
    header, data = header_of(folder)
    del header["model.norm.weight"]
    write_header(folder, header, data + b"\0" * 8)


def link_out(folder: Path, name: str) -> None:
    outside = folder.parent / "outside"
    shutil.move(folder / name, outside)
    (folder / name).symlink_to(outside)


def link_to_itself(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(WEIGHTS)


def pipe_instead(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)


def folder_instead(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()


def device_instead(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/dev/zero")


def socket_instead(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    usual = os.getcwd()
    os.chdir(folder)  # the name of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("tokenizer.json")
    finally:
        os.chdir(usual)


def sparse_terabyte(folder: Path) -> None:
    """One enormous tensor with a header that is right."""
    size = 1 << 40
    header = {"model.embed_tokens.weight": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}
    write_header(folder, header, b"")
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size + size)


def a_file_instead(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("x")


def no_numbers(folder: Path) -> None:
    write_header(folder, {"model.norm.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}, b"")


def rope(**settings: object) -> Callable[[Path], None]:
    return lambda folder: edit(folder, "config.json", rope_parameters={"rope_type": "llama3", **settings})


def enormous_header(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((200_000_000).to_bytes(8, "little"))
    os.truncate(folder / WEIGHTS, 300_000_000)


def spoilt_tokenizer_settings(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text("x")


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no folder": (shutil.rmtree, "SourceMissing", "no such folder"),
    "a file instead of a folder": (a_file_instead, "SourceMissing", "no such folder"),
    "no config.json": (lambda f: (f / "config.json").unlink(), "ConfigMissing", "missing"),
    "an adapter given as a model": (only_an_adapter, "AdapterOnly", "LoRA"),
    "config.json that is no JSON": (lambda f: (f / "config.json").write_text("{"), "JsonInvalid", "not valid JSON"),
    "config.json that is a list": (
        lambda f: (f / "config.json").write_text("[]"),
        "JsonInvalid",
        "expected a JSON object",
    ),
    "config.json nested deeply": (
        lambda f: (f / "config.json").write_text("[" * 10**5),
        "JsonInvalid",
        "not valid JSON",
    ),
    "config.json in UTF-16": (
        lambda f: (f / "config.json").write_bytes(b"\xff\xfe" + b"\xd8\x00" * 3),
        "JsonInvalid",
        "not valid JSON",
    ),
    "config.json with a name twice": (
        lambda f: (f / "config.json").write_text('{"model_type": "a", "model_type": "b"}'),
        "JsonInvalid",
        "model_type: expected each key once",
    ),
    "config.json of 20 MB": (
        lambda f: (f / "config.json").write_text(" " * (20 << 20)),
        "FileTooLarge",
        "expected at most",
    ),
    "no architectures": (lambda f: edit(f, "config.json", architectures=None), "ConfigInvalid", "architectures"),
    "a size that is a text": (lambda f: edit(f, "config.json", hidden_size="64"), "ConfigInvalid", "hidden_size"),
    "a number without an end": (
        lambda f: edit(f, "config.json", partial_rotary_factor=float("inf")),
        "ConfigInvalid",
        "partial_rotary_factor: expected a number",
    ),
    "a rotation without an end": (rope(factor=float("nan")), "ConfigInvalid", "rope_parameters"),
    "a negative original context": (rope(original_max_position_embeddings=-7), "ConfigInvalid", "rope_parameters"),
    "an original context that is true": (rope(original_max_position_embeddings=True), "ConfigInvalid", "rope_param"),
    "weights without numbers": (no_numbers, "WeightsMissing", "holds no numbers"),
    "weights without tensors": (lambda f: write_header(f, {}, b""), "WeightsMissing", "holds no numbers"),
    "a context of a few tokens": (
        lambda f: edit(f, "config.json", max_position_embeddings=15),
        "ConfigInvalid",
        "max_position_embeddings: expected a number from 16",
    ),
    "end tokens that the model does not know": (
        lambda f: (
            (edit(f, "generation_config.json", eos_token_id=[320]), edit(f, "config.json", eos_token_id=-1))
            and edit(f, "tokenizer_config.json", eos_token=None)
        ),
        "EndTokenMissing",
        "no token ends an answer",
    ),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "WeightsMissing", "missing"),
    "pickles only": (only_pickles, "WeightsPickled", "can run code"),
    "GGUF only": (only_gguf, "WeightsGguf", "GGUF"),
    "an ONNX model": (converted_already, "SourceConverted", "ONNX model already"),
    "a shard missing": (index_names("part.safetensors", "gone.safetensors"), "WeightsShardMissing", INDEX),
    "a tensor of the index in no shard": (index_names("part.safetensors"), "WeightsIndexInvalid", "is in no shard"),
    "an index that leads out": (index_names("../../etc/passwd"), "WeightsIndexInvalid", "../../etc/passwd"),
    "an index that names a pickle": (index_names("part.bin"), "WeightsIndexInvalid", "part.bin"),
    "an empty index": (index_names(), "WeightsIndexInvalid", "weight_map"),
    "an empty weights file": (lambda f: cut(f, 0), "WeightsTruncated", "byte"),
    "weights cut in the length": (lambda f: cut(f, 5), "WeightsTruncated", "byte"),
    "weights cut in the header": (lambda f: cut(f, 100), "WeightsTruncated", "header"),
    "weights cut in the data": (lambda f: cut(f, 100_000), "WeightsTruncated", "data"),
    "a header of 2^63 bytes": (
        lambda f: (f / WEIGHTS).write_bytes((1 << 63).to_bytes(8, "little") + b"{}"),
        "WeightsTruncated",
        str((1 << 63) + 8),
    ),
    "a header of more than 100 MB": (enormous_header, "WeightsInvalid", "longer than"),
    "a header that is no JSON": (lambda f: write_header(f, b"\xff\xfe", b""), "WeightsInvalid", "not valid JSON"),
    "a header nested deeply": (lambda f: write_header(f, b"[" * 10**5, b""), "WeightsInvalid", "not valid JSON"),
    "a header that is a list": (lambda f: write_header(f, [], b""), "WeightsInvalid", "no JSON object"),
    "a tensor twice": (twice_in_header, "WeightsInvalid", "a: expected each key once"),
    "a tensor twice among many": (many_twice_in_header, "WeightsInvalid", "59999: expected each key once"),
    "too many tensors": (too_many_tensors, "WeightsInvalid", "200001 tensors, expected at most 200000"),
    "a header of brackets": (brackets, "WeightsInvalid", "more brackets than"),
    "a header of 25 MB": (
        lambda folder: write_header(folder, b"{}" + b" " * 25_000_000, b""),
        "WeightsInvalid",
        "longer than 25000000",
    ),
    "a tensor of an unknown type": (lambda f: change_tensor(f, dtype="F31"), "WeightsInvalid", "'F31'"),
    "a tensor that is quantized": (lambda f: change_tensor(f, dtype="I8"), "WeightsQuantized", "quantized"),
    "a tensor without a shape": (lambda f: change_tensor(f, shape=None), "WeightsInvalid", "model.norm.weight"),
    "a tensor with a negative length": (lambda f: change_tensor(f, shape=[-64]), "WeightsInvalid", "model.norm.weight"),
    "a tensor with one offset": (lambda f: change_tensor(f, data_offsets=[0]), "WeightsInvalid", "model.norm.weight"),
    "a tensor with negative offsets": (lambda f: change_tensor(f, data_offsets=[-256, 0]), "WeightsInvalid", "offsets"),
    "a shape that is not its bytes": (lambda f: change_tensor(f, shape=[65]), "WeightsInvalid", "needs 260 bytes"),
    "a shape of 2^200": (lambda f: change_tensor(f, shape=[1 << 62] * 4), "WeightsInvalid", "model.norm.weight"),
    "tensors that overlap": (overlapping, "WeightsInvalid", "overlap"),
    "tensors with a gap": (with_gap, "WeightsInvalid", "belong to no tensor"),
    "bytes after the last tensor": (with_rest, "WeightsInvalid", "at its end"),
    "a sparse terabyte": (sparse_terabyte, "FileSparse", "never written"),
    "no tokenizer.json": (lambda f: (f / "tokenizer.json").unlink(), "TokenizerMissing", "answer nothing"),
    "a tokenizer.json of another kind": (
        lambda f: (f / "tokenizer.json").write_text("{}"),
        "JsonInvalid",
        "expected the object that `tokenizers` writes",
    ),
    "tokenizer settings that are no JSON": (spoilt_tokenizer_settings, "JsonInvalid", "not valid JSON"),
    "weights linked from outside": (lambda f: link_out(f, WEIGHTS), "LinkLeadsOut", "outside the model folder"),
    "a tokenizer linked from outside": (lambda f: link_out(f, "tokenizer.json"), "LinkLeadsOut", "outside"),
    "a small file linked from outside": (lambda f: link_out(f, "generation_config.json"), "LinkLeadsOut", "outside"),
    "a link to itself": (link_to_itself, "FileUnreadable", "symbolic links"),
    "a pipe instead of weights": (lambda f: pipe_instead(f, WEIGHTS), "NotAFile", "regular file"),
    "a pipe instead of config.json": (lambda f: pipe_instead(f, "config.json"), "NotAFile", "regular file"),
    "a socket instead of a tokenizer": (socket_instead, "NotAFile", "regular file"),
    **{
        f"{name} kept by Git LFS": (
            pointer_instead(name),
            "LfsPointer",
            "a Git LFS pointer that stands for 987,654,321",
        )
        for name in (WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
    },
    "a template kept by Git LFS": (pointer_instead("chat_template.jinja"), "LfsPointer", "Git LFS"),
    "a small file that is only hashed kept by Git LFS": (pointer_instead("merges.txt"), "LfsPointer", "Git LFS"),
    "a shard kept by Git LFS": (pointer_for_a_shard, "LfsPointer", "Git LFS"),
    "a folder instead of weights": (lambda f: folder_instead(f, WEIGHTS), "NotAFile", "regular file"),
    "a device instead of weights": (device_instead, "NotAFile", "regular file"),
}


@pytest.mark.parametrize(("spoil", "code", "words"), BAD.values(), ids=BAD.keys())
def test_a_bad_folder_is_refused_in_one_line(
    folder: Path, spoil: Callable[[Path], object], code: str, words: str
) -> None:
    spoil(folder)
    began, spent = time.monotonic(), time.process_time()
    source = look(folder)
    assert time.process_time() - spent < 2
    assert time.monotonic() - began < PATIENCE  # nothing was waited for
    assert [problem.code for problem in source.problems] == [code]
    (problem,) = source.problems
    assert words in problem.message
    assert problem.file.startswith("model")
    assert "\n" not in str(problem)
    assert len(str(problem)) < 300
    assert str(folder.parent) not in str(problem)
    assert source.digest == ""


@pytest.mark.parametrize(
    ("config", "tensors"),
    [
        ({"partial_rotary_factor": None}, {}),  # transformers 4 writes it so
        ({}, {"q_proj.weight": (4, 4), "model.layers.\u00b2.v_proj.weight": (4, 4), "..layers..": (), "": (3,)}),
        ({}, {"model.embed_tokens.weight": ()}),
        ({"dtype": {"a": 1}, "torch_dtype": [1], "tie_word_embeddings": None}, {"a.layers.": (2, 3, 4)}),
    ],
)
def test_an_odd_folder_has_a_prediction(
    folder: Path, config: dict[str, object], tensors: dict[str, tuple[int, ...]]
) -> None:
    edit(folder, "config.json", **config)
    if tensors:
        write_safetensors(folder / WEIGHTS, tensors)
    source = look(folder)
    recipe = recipe_of(source, "int4", algorithm="k_quant_mixed")
    assert predict_bytes(source, recipe) > 0
    assert all(need > 0 for need in predict_memory(source, recipe).values())


def test_a_folder_that_is_nearly_there_is_named(folder: Path) -> None:
    (problem,) = look(folder.parent / "modle").problems
    assert problem.hint == "did you mean model?"


COMMAND = "\n::stop-commands::\r\n\x1b[2J"


def test_no_name_in_a_folder_can_begin_a_line(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / f"x{COMMAND}.bin")
    (problem,) = look(folder).problems
    assert len(str(problem).splitlines()) == len(problem.hint.splitlines()) == 1
    assert problem.message.startswith("missing; x ::stop-commands::\\x0d \\x1b[2J.bin is a pickle")


def test_no_shard_that_is_missing_can_begin_a_line(folder: Path) -> None:
    index_names("x\n##[error]\r\x1b[2J.safetensors")(folder)
    (problem,) = look(folder).problems
    assert problem.code == "WeightsShardMissing"
    assert len(str(problem).splitlines()) == 1


def test_no_option_of_an_adapter_can_begin_a_line(tmp_path: Path) -> None:
    adapter = tmp_path / f"adapter{COMMAND}"
    adapter.mkdir()
    options = {"peft_type": "LORA", "task_type": "CAUSAL_LM", f"x{COMMAND}": 1}
    (adapter / "adapter_config.json").write_text(json.dumps(options))
    problems = inspect_adapter(str(adapter), StampBook.empty()).problems
    assert [problem.code for problem in problems] == ["AdapterUnsupported", "AdapterInvalid"]
    assert all(len(str(problem).splitlines()) == 1 for problem in problems)


def test_everything_wrong_is_said_at_once(folder: Path) -> None:
    edit(folder, "config.json", architectures=[], hidden_size=-1)
    cut(folder, 100)
    (folder / "tokenizer.json").unlink()
    problems = look(folder).problems
    assert [(problem.file, problem.code) for problem in sorted(problems, key=lambda p: (p.file, p.message))] == [
        ("model/config.json", "ConfigInvalid"),
        ("model/config.json", "ConfigInvalid"),
        ("model/model.safetensors", "WeightsTruncated"),
        ("model/tokenizer.json", "TokenizerMissing"),
    ]


def test_a_pickle_comes_with_what_to_do(folder: Path) -> None:
    only_pickles(folder)
    (problem,) = look(folder).problems
    assert "convert to safetensors" in problem.hint
