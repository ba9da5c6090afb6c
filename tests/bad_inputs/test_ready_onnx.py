"""Every bad ready ONNX folder: stable codes, one line each, and nothing outside of it is read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.host.stamps import StampBook
from reconciler.sources.folder.guarded_folder import Folder
from reconciler.sources.folder.model import inspect_source
from reconciler.sources.folder.speech import check_audio_processor
from tests.ready_onnx import (
    AUDIO,
    BYTES,
    DATA,
    DECODER,
    GENAI,
    GRAPH,
    HEARD_BY,
    MEL,
    OPENVINO_NODE,
    QNN_NODE,
    STFT,
    attribute,
    context,
    field,
    graph_of,
    step,
    tensor,
    write_compiled,
    write_hearing,
    write_ready,
)

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


OV, HTP = OPENVINO_NODE, QNN_NODE
COMPILED: dict[str, tuple[str, bytes]] = {
    "a model above": ("OpenVINO", context(**OV | {"ep_cache_context": "../model.xml"})),
    "a model of another name": ("OpenVINO", context(**OV | {"ep_cache_context": "other.xml"})),
    "a model of OpenVINO within the graph": ("OpenVINO", context(**OV | {"embed_mode": 1})),
    "a binary above": ("QNN", context(**HTP | {"ep_cache_context": "../model_qnn.bin"})),
    "a binary of the machine": ("QNN", context(**HTP | {"ep_cache_context": "/etc/x.bin"})),
    "a binary on a drive": ("QNN", context(**HTP | {"ep_cache_context": "C:\\x.bin"})),
    "a library": ("QNN", context(**HTP | {"ep_cache_context": "evil.so"})),
    "a binary of a number": ("QNN", context(**HTP | {"ep_cache_context": 7})),
    "a binary without a mode": ("QNN", context(ep_cache_context="model_qnn.bin", source="QNN")),
    "a file of Genie's": ("QNN", context(**HTP, ep_context_type="dlc", ep_dlc_context="model.dlc")),
    "a graph beside": ("QNN", context(**HTP, onnx_model_filename="../model.onnx")),
    "one of another provider": ("QNN", context(**HTP | {"source": "OpenVINOExecutionProvider"})),
    "one of nobody": ("QNN", context(embed_mode=1, ep_cache_context="x")),
    "one for a provider that takes none": ("VitisAI", context(**HTP | {"source": "VitisAI"})),
    "one for the CPU": ("CPU", context(**HTP)),
    "for the NPU nothing that is compiled": ("OpenVINO", b""),
}


@pytest.mark.parametrize("name", COMPILED)
def test_what_is_compiled_in_a_way_that_is_not_known_has_one_code(tmp_path: Path, name: str) -> None:
    provider, node = COMPILED[name]
    folder = write_compiled(tmp_path / "model", provider, node)
    if provider == "CPU":
        config(session_options={})(folder)
    assert codes(folder) == ["CompiledRefused"]


def test_a_compiled_model_is_whole(tmp_path: Path) -> None:
    folder = write_compiled(tmp_path / "model", "OpenVINO", context(**OV))
    gone("model.bin")(folder)
    assert codes(folder) == ["OnnxFileMissing"]
    (folder / "model.bin").symlink_to("/etc/passwd")
    assert codes(folder) == ["LinkLeadsOut"]
    (folder / GRAPH).write_bytes(graph_of(nodes=(context(attribute("source", "QNN"), **OV),)))
    assert codes(folder) == ["OnnxInvalid"]  # which of the two counts?


def codes(folder: Path) -> list[str]:
    return [one.code for one in inspect_source(str(folder), StampBook.empty(), ready=True).problems]


def audio(*steps: object, **beside: object) -> Break:
    text = json.dumps({"feature_extraction": {"sequence": [*steps]}, **beside})
    return lambda folder: (folder / AUDIO).write_text(text)


def outer(value: object) -> Break:
    return lambda folder: (folder / AUDIO).write_text(json.dumps({"feature_extraction": value}))


def with_step(at: int, other: object) -> Break:
    return audio(*HEARD_BY[:at], other, *HEARD_BY[at + 1 :])


def stft(**changed: object) -> Break:
    return with_step(1, step("STFTNorm", **STFT | changed))


def mel(**changed: object) -> Break:
    return with_step(2, step("LogMelSpectrum", **MEL | changed))


def no_added_tokens(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"added_tokens": []}))


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
    "too few steps": (audio(*HEARD_BY[:2]), "AudioProcessorRefused"),
    "too many steps": (audio(*HEARD_BY, DECODER), "AudioProcessorRefused"),
    "other steps first": (audio(*reversed(HEARD_BY)), "AudioProcessorRefused"),
    "something beside them": (audio(*HEARD_BY, library="evil.so"), "AudioProcessorRefused"),
    "a step of another kind": (with_step(0, step("RunLibrary")), "AudioProcessorRefused"),
    "a step without a kind": (with_step(0, step(None)), "AudioProcessorRefused"),
    "a step of many kinds": (with_step(0, step(["AudioDecoder"])), "AudioProcessorRefused"),
    "no step": (with_step(0, "AudioDecoder"), "AudioProcessorRefused"),
    "a step by a number": (with_step(0, {"operation": {"name": 1, "type": "AudioDecoder"}}), "AudioProcessorRefused"),
    "an attribute of another kind": (with_step(0, step("AudioDecoder", path="/etc/passwd")), "AudioProcessorRefused"),
    "no attributes": (with_step(2, {"operation": {"type": "LogMelSpectrum"}}), "AudioProcessorRefused"),
    "attributes in a list": (
        with_step(1, {"operation": {"type": "STFTNorm", "attrs": ["n_fft"]}}),
        "AudioProcessorRefused",
    ),
    "an attribute that is a word": (stft(n_fft="400"), "AudioProcessorRefused"),
    "an attribute that is nearly right": (stft(n_fft=400.0), "AudioProcessorRefused"),
    "an attribute that is a flag": (mel(n_mel=True), "AudioProcessorRefused"),
    "a number below nothing": (stft(n_fft=-1), "AudioProcessorRefused"),
    "a step of no length": (stft(hop_length=0), "AudioProcessorRefused"),
    "a frame without end": (stft(frame_length=10**400), "AudioProcessorRefused"),
    "hours at once": (mel(chunk_size=100_000), "AudioProcessorRefused"),
    "bands that no Whisper has": (mel(n_mel=81), "AudioProcessorRefused"),
    "another step in the second place": (mel(hop_length=0), "AudioProcessorRefused"),
    "a note that is a word": (stft(_comment="x"), "AudioProcessorRefused"),
    "a note of great numbers": (stft(_comment=[10**400]), "AudioProcessorRefused"),
    "a note of no numbers": (stft(_comment=[float("nan")]), "AudioProcessorRefused"),
    "a note that is too long": (stft(_comment=[0.5] * 401), "AudioProcessorRefused"),
    "no added tokens": (no_added_tokens, "SpeechTokenMissing"),
    "no tokens to ask by": (without_tokens, "SpeechTokenMissing"),
}


@pytest.mark.parametrize("name", HEARING)
def test_what_is_wrong_with_one_that_hears(tmp_path: Path, name: str) -> None:
    folder, (act, code) = write_hearing(tmp_path / "model"), HEARING[name]
    assert inspect_source(str(folder), StampBook.empty(), ready=True).problems == ()
    act(folder)
    assert [one.code for one in inspect_source(str(folder), StampBook.empty(), ready=True).problems] == [code]


@pytest.mark.parametrize("name", ["n_mel", "_comment"])
def test_what_the_builder_writes_of_sound_is_taken(tmp_path: Path, name: str) -> None:
    folder = write_hearing(tmp_path / "model")
    {"n_mel": mel(n_mel=128), "_comment": stft(_comment=[0, 0.5, 1])}[name](folder)
    assert inspect_source(str(folder), StampBook.empty(), ready=True).problems == ()


def test_the_example_is_what_the_builder_wrote() -> None:
    folder = Folder(str(Path(__file__).parents[2] / "examples" / "speech" / "model"))
    assert check_audio_processor(folder) == AUDIO


def test_it_is_no_model_to_convert(tmp_path: Path) -> None:
    folder = write_ready(tmp_path / "model")
    problems = inspect_source(str(folder), StampBook.empty()).problems
    assert "`source: {onnx: {path: ...}}`" in next(one.hint for one in problems if one.code == "SourceConverted")
