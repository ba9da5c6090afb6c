"""Every bad ready ONNX folder: stable codes, one line each, and nothing outside of it is read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.host.stamps import StampBook
from reconciler.sources.folder.model import inspect_source
from tests.ready_onnx import AUDIO, BYTES, DATA, GENAI, GRAPH, field, graph_of, tensor, write_hearing, write_ready

Break = Callable[[Path], object]


def config(**changes: object) -> Break:
    """Of the decoder, or of `model` by a name with `model_` before it."""

    def act(folder: Path) -> None:
        held = json.loads((folder / GENAI).read_text())
        for name, value in changes.items():
            place = held["model"] if name.startswith("model_") else held["model"]["decoder"]
            place[name.removeprefix("model_")] = value
        (folder / GENAI).write_text(json.dumps(held))

    return act


def graph(data: bytes) -> Break:
    return lambda folder: (folder / GRAPH).write_bytes(data)


def gone(name: str) -> Break:
    return lambda folder: (folder / name).unlink()


def link(name: str, target: str) -> Break:
    def act(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return act


def only_weights(folder: Path) -> None:
    (folder / GENAI).rename(folder / "model.safetensors")


def deep(levels: int) -> bytes:
    inner = tensor("a.onnx.data")
    for _ in range(levels):
        inner = field(1, field(5, field(6, inner)))
    return field(7, inner)


SESSION = {"session_options": {"custom_ops_library": "evil.so", "provider_options": []}}
UNKNOWN = {"session_options": {"provider_options": [{"tpu": {}}]}}
LIBRARY = {"session_options": {"provider_options": [{"cuda": {"backend_path": "evil.so"}}]}}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"

BROKEN: dict[str, tuple[Break, str]] = {
    "no configuration": (gone(GENAI), "GenaiConfigMissing"),
    "weights of transformers": (only_weights, "GenaiConfigMissing"),
    "no JSON": (lambda folder: (folder / GENAI).write_text("{"), "JsonInvalid"),
    "a key twice": (lambda folder: (folder / GENAI).write_text('{"model": {}, "model": {}}'), "JsonInvalid"),
    "an empty object": (lambda folder: (folder / GENAI).write_text("{}"), "GenaiConfigRefused"),
    "a native library": (config(**SESSION), "GenaiConfigRefused"),
    "a provider that is not known": (config(**UNKNOWN), "GenaiConfigRefused"),
    "a provider that loads a library": (config(**LIBRARY), "GenaiConfigRefused"),
    "a graph above": (config(filename="../model.onnx"), "GenaiConfigRefused"),
    "a graph at an absolute place": (config(filename="/etc/model.onnx"), "GenaiConfigRefused"),
    "a graph on a drive": (config(filename="C:\\model.onnx"), "GenaiConfigRefused"),
    "a graph of another kind": (config(filename="model.bin"), "GenaiConfigRefused"),
    "a graph that is a device": (config(filename="con.onnx"), "GenaiConfigRefused"),
    "no name of a graph": (config(filename=None), "GenaiConfigRefused"),
    "a pipeline": (config(pipeline=[{"a": {"filename": "a.onnx"}}]), "GenaiConfigRefused"),
    "an encoder": (config(model_encoder={"filename": "e.onnx"}), "GenaiConfigRefused"),
    "no kind of model": (config(model_type=""), "GenaiConfigRefused"),
    "no end": (config(model_eos_token_id=1 << 25), "EndTokenMissing"),
    "a context of nothing": (config(model_context_length=0), "GenaiConfigRefused"),
    "a context without end": (config(model_context_length=1 << 40), "GenaiConfigRefused"),
    "no graph": (gone(GRAPH), "OnnxFileMissing"),
    "an empty graph": (graph(b""), "OnnxFileMissing"),
    "a graph that Git LFS keeps elsewhere": (graph(LFS), "LfsPointer"),
    "a graph that is a link out": (link(GRAPH, "/etc/passwd"), "LinkLeadsOut"),
    "a graph that is a page": (graph(b"<html>not found</html>"), "OnnxInvalid"),
    "a graph that is cut off": (graph(graph_of(tensor(DATA))[:-3]), "OnnxInvalid"),
    "no graph in the model": (graph(field(2, b"pytorch")), "OnnxInvalid"),
    "endless graphs in graphs": (graph(deep(20)), "OnnxInvalid"),
    "a number without end": (graph(b"\xff" * 20), "OnnxInvalid"),
    "a place that is no number": (graph(graph_of(tensor(DATA, offset="-1"))), "OnnxInvalid"),
    "weights above": (graph(graph_of(tensor("../secret"))), "OnnxDataOutside"),
    "weights of the machine": (graph(graph_of(tensor("/etc/passwd"))), "OnnxDataOutside"),
    "weights on a drive": (graph(graph_of(tensor("C:\\x.onnx.data"))), "OnnxDataOutside"),
    "weights in memory": (graph(graph_of(tensor("*/_ORT_MEM_ADDR_/*"))), "OnnxDataOutside"),
    "weights in a library": (graph(graph_of(tensor("evil.so"))), "OnnxDataOutside"),
    "no weights": (gone(DATA), "OnnxFileMissing"),
    "empty weights": (lambda folder: (folder / DATA).write_bytes(b""), "OnnxFileMissing"),
    "weights that are cut off": (lambda folder: (folder / DATA).write_bytes(b"w" * (BYTES - 1)), "WeightsTruncated"),
    "weights that are a link out": (link(DATA, "/etc/passwd"), "LinkLeadsOut"),
    "weights that Git LFS keeps elsewhere": (lambda folder: (folder / DATA).write_bytes(LFS), "LfsPointer"),
    "weights that are a pipe": (lambda folder: (gone(DATA)(folder), os.mkfifo(folder / DATA)), "NotAFile"),
    "no tokenizer": (gone("tokenizer.json"), "TokenizerMissing"),
    "a tokenizer of another kind": (
        lambda folder: (folder / "tokenizer.json").write_text('{"model": {"type": "Unigram"}, "added_tokens": []}'),
        "TokenizerUnsupported",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_it_has_one_code(tmp_path: Path, name: str) -> None:
    folder, (act, code) = write_ready(tmp_path / "model"), BROKEN[name]
    act(folder)
    found = inspect_source(str(folder), StampBook.empty(), ready=True)
    assert [one.code for one in found.problems] == [code]
    (problem,) = found.problems
    assert "\n" not in problem.message
    assert problem.file.startswith("model/")
    assert (found.digest, found.files) == ("", ())


def audio(*steps: object, **beside: object) -> Break:
    text = json.dumps({"feature_extraction": {"sequence": [*steps]}, **beside})
    return lambda folder: (folder / AUDIO).write_text(text)


def outer(value: object) -> Break:
    return lambda folder: (folder / AUDIO).write_text(json.dumps({"feature_extraction": value}))


def step(kind: object, **attributes: object) -> dict[str, object]:
    return {"operation": {"type": kind, "attrs": attributes}}


def without_tokens(folder: Path) -> None:
    shutil.copy(write_ready(folder.parent / "other") / "tokenizer.json", folder)


def search(**settings: object) -> Break:
    def act(folder: Path) -> None:
        held = json.loads((folder / GENAI).read_text())
        (folder / GENAI).write_text(json.dumps(held | {"search": settings}))

    return act


GPU = {"session_options": {"provider_options": [{"cuda": {}}]}}
HEARING: dict[str, tuple[Break, str]] = {
    "no encoder": (config(model_encoder={}), "GenaiConfigRefused"),
    "an encoder above": (config(model_encoder={"filename": "../encoder.onnx"}), "GenaiConfigRefused"),
    "an encoder with a library": (config(model_encoder={"filename": "encoder.onnx", **SESSION}), "GenaiConfigRefused"),
    "an encoder for a GPU": (config(model_encoder={"filename": "encoder.onnx", **GPU}), "GenaiConfigRefused"),
    "a decoder for a GPU": (config(**GPU), "GenaiConfigRefused"),
    "several beams": (search(num_beams=4), "GenaiConfigRefused"),
    "sound by another file": (config(model_speech={"config_filename": "other.json"}), "GenaiConfigRefused"),
    "no graph that hears": (gone("encoder.onnx"), "OnnxFileMissing"),
    "weights of it above": (
        lambda folder: (folder / "encoder.onnx").write_bytes(graph_of(tensor("../secret"))),
        "OnnxDataOutside",
    ),
    "no sound": (gone(AUDIO), "AudioProcessorRefused"),
    "sound that is no JSON": (lambda folder: (folder / AUDIO).write_text("{"), "JsonInvalid"),
    "a list of sound": (lambda folder: (folder / AUDIO).write_text("[]"), "JsonInvalid"),
    "a list in the place of steps": (outer(["sequence"]), "AudioProcessorRefused"),
    "a word in the place of steps": (outer("sequence"), "AudioProcessorRefused"),
    "nothing in the place of steps": (outer(None), "AudioProcessorRefused"),
    "steps by another name": (outer({"steps": []}), "AudioProcessorRefused"),
    "no steps": (audio(), "AudioProcessorRefused"),
    "too many steps": (audio(*[step("AudioDecoder")] * 9), "AudioProcessorRefused"),
    "something beside them": (audio(step("AudioDecoder"), library="evil.so"), "AudioProcessorRefused"),
    "a step of another kind": (audio(step("RunLibrary")), "AudioProcessorRefused"),
    "a step without a kind": (audio(step(None)), "AudioProcessorRefused"),
    "no step": (audio("AudioDecoder"), "AudioProcessorRefused"),
    "an attribute of another kind": (audio(step("AudioDecoder", path="/etc/passwd")), "AudioProcessorRefused"),
    "an attribute that is a word": (audio(step("STFTNorm", n_fft="400")), "AudioProcessorRefused"),
    "no tokens to ask by": (without_tokens, "SpeechTokenMissing"),
}


@pytest.mark.parametrize("name", HEARING)
def test_what_is_wrong_with_one_that_hears(tmp_path: Path, name: str) -> None:
    folder, (act, code) = write_hearing(tmp_path / "model"), HEARING[name]
    assert inspect_source(str(folder), StampBook.empty(), ready=True).problems == ()
    act(folder)
    assert [one.code for one in inspect_source(str(folder), StampBook.empty(), ready=True).problems] == [code]


def test_it_is_no_model_to_convert(tmp_path: Path) -> None:
    folder = write_ready(tmp_path / "model")
    problems = inspect_source(str(folder), StampBook.empty()).problems
    assert "`source: {onnx: {path: ...}}`" in next(one.hint for one in problems if one.code == "SourceConverted")
