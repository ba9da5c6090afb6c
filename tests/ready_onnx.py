"""A ready ONNX folder, as small as one can be: its graph names one tensor in the file beside it. Written by hand, so
that tests need no package; what loads is made by the tests that serve one."""

import json
import shutil
from pathlib import Path

from tests.backends.test_served_files import edited
from tests.tiny_models import CHATML

EXAMPLE = Path(__file__).parent.parent / "examples" / "capitals" / "model"
GENAI, GRAPH, DATA = "genai_config.json", "model.onnx", "model.onnx.data"
BYTES = 4096


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def tensor(location: str, **place: object) -> bytes:
    """A TensorProto whose numbers lie elsewhere."""
    entries = {"location": location, **place}
    return field(8, b"weight") + b"".join(
        field(13, field(1, key.encode()) + field(2, str(value).encode())) for key, value in entries.items()
    )


def graph_of(*tensors: bytes, nodes: tuple[bytes, ...] = ()) -> bytes:
    inner = b"".join(field(1, one) for one in nodes) + b"".join(field(5, one) for one in tensors)
    return b"\x08\x0a" + field(2, b"pytorch") + field(7, inner)


def attribute(name: str, value: str | bytes | int) -> bytes:
    """An AttributeProto of a text or a number."""
    if isinstance(value, int):
        return field(5, field(1, name.encode()) + b"\x18" + varint(value))
    return field(5, field(1, name.encode()) + field(4, value if isinstance(value, bytes) else value.encode()))


def context(*more: bytes, **held: str | bytes | int) -> bytes:
    """A node of what was compiled beforehand. Its kind comes last: no order is promised."""
    return b"".join((*(attribute(name, value) for name, value in held.items()), *more, field(4, b"EPContext")))


OPENVINO_NODE = {"embed_mode": 0, "ep_cache_context": "model.xml", "source": "OpenVINOExecutionProvider"}
QNN_NODE = {"embed_mode": 0, "ep_cache_context": "model_qnn.bin", "source": "QNN"}
_PROVIDERS = {"OpenVINO": {"device_type": "NPU", "enable_causallm": "True"}, "QNN": {"backend_type": "htp"}}


def write_compiled(folder: Path, provider: str, *nodes: bytes) -> Path:
    """The same, compiled for an NPU: the graph holds nothing but that."""
    write_ready(folder)
    options = [{provider: _PROVIDERS.get(provider, {})}]
    settings = {"model.eos_token_id": 2, "model.decoder.session_options.provider_options": options}
    (folder / GENAI).write_bytes(edited(settings))
    (folder / GRAPH).write_bytes(graph_of(nodes=nodes))
    (folder / DATA).unlink()
    for name in ("model.xml", "model.bin", "model_qnn.bin"):
        (folder / name).write_bytes(b"compiled")
    return folder


AUDIO = "audio_processor_config.json"
STFT = {"n_fft": 400, "frame_length": 400, "hop_length": 160}
MEL = {"chunk_size": 30, "hop_length": 160, "n_fft": 400, "n_mel": 80}


def step(kind: object, **attributes: object) -> dict[str, object]:
    return {"operation": {"name": "a", "type": kind, "attrs": attributes}}


DECODER = {"operation": {"name": "a", "type": "AudioDecoder"}}
HEARD_BY = [DECODER, step("STFTNorm", **STFT), step("LogMelSpectrum", **MEL)]


def write_hearing(folder: Path) -> Path:
    """The same of a model that hears: a graph for that beside it."""
    write_ready(folder)
    shutil.copy(folder / GRAPH, folder / "encoder.onnx")
    config = json.loads((folder / GENAI).read_text())
    config["model"] |= {"type": "whisper", "encoder": {"filename": "encoder.onnx"}}
    (folder / GENAI).write_text(json.dumps(config))
    (folder / AUDIO).write_text(json.dumps({"feature_extraction": {"sequence": HEARD_BY}}))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    last = max(tokenizer["added_tokens"], key=lambda one: one["id"])
    names = ("startoftranscript", "transcribe", "notimestamps", "en")
    tokenizer["added_tokens"] += [
        last | {"content": f"<|{name}|>", "id": last["id"] + 1 + at} for at, name in enumerate(names)
    ]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def write_ready(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / GENAI).write_bytes(edited({"model.eos_token_id": 2}))
    (folder / GRAPH).write_bytes(graph_of(tensor(DATA, offset=0, length=BYTES)))
    (folder / DATA).write_bytes(b"w" * BYTES)
    shutil.copy(EXAMPLE / "tokenizer.json", folder)
    settings = json.loads((EXAMPLE / "tokenizer_config.json").read_text()) | {"chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
