"""Ready ONNX folders as they come: what of them counts, and what the graph says of its weights."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.errors import ConversionFailed
from reconciler.host.stamps import StampBook
from reconciler.sources.facts import model_facts, read_model_facts
from reconciler.sources.folder.model import inspect_source
from reconciler.sources.folder.onnx_graph import ExternalData, external_data
from reconciler.sources.folder.taking import take_files
from tests.backends.test_served_files import pipeline
from tests.ready_onnx import (
    BYTES,
    DATA,
    GENAI,
    GRAPH,
    OPENVINO_NODE,
    QNN_NODE,
    context,
    field,
    graph_of,
    tensor,
    write_compiled,
    write_ready,
)


def test_what_its_configuration_and_its_graph_name_counts(tmp_path: Path) -> None:
    folder = write_ready(tmp_path / "model")
    (folder / "README.md").write_text("notes")
    for name in ("run.py", "libevil.so", "other.onnx"):
        (folder / name).write_bytes(b"left behind")
    found = inspect_source(str(folder), StampBook.empty(), ready=True)
    assert found.problems == ()
    assert [one.path for one in found.files] == [GENAI, GRAPH, DATA, "tokenizer.json", "tokenizer_config.json"]
    assert (found.architecture, found.context_length, found.ready) == ("qwen2", 4096, True)
    assert found.weight_bytes == BYTES + (folder / GRAPH).stat().st_size
    assert "<|im_start|>" in (found.chat_template or "")
    (warning,) = (one for one in found.warnings if one.code == "FilesLeftOut")
    assert warning.message.startswith("libevil.so, other.onnx, run.py: not named by")


@pytest.mark.parametrize(
    ("provider", "node", "named"),
    [
        pytest.param("OpenVINO", context(**OPENVINO_NODE), ["model.bin", GRAPH, "model.xml"], id="OpenVINO's"),
        pytest.param("QNN", context(**QNN_NODE), [GRAPH, "model_qnn.bin"], id="a binary beside it"),
        pytest.param("QNN", context(**QNN_NODE | {"embed_mode": 1}), [GRAPH], id="a binary in it"),
        pytest.param(
            "QNN",
            context(**QNN_NODE | {"embed_mode": 1, "ep_cache_context": b"\0" * 5000}),
            [GRAPH],
            id="a long one in it",
        ),
        pytest.param("QNN", context(main_context=0, source="QNN"), [GRAPH], id="a part of another"),
        pytest.param("QNN", b"", [GRAPH], id="nothing compiled"),
        pytest.param("VitisAI", b"", [GRAPH], id="nothing compiled for another"),
    ],
)
def test_what_was_compiled_counts_where_the_graph_names_it(
    tmp_path: Path, provider: str, node: bytes, named: list[str]
) -> None:
    found = inspect_source(str(write_compiled(tmp_path / "model", provider, node)), StampBook.empty(), ready=True)
    assert found.problems == ()
    assert [one.path for one in found.files] == [GENAI, *named, "tokenizer.json", "tokenizer_config.json"]
    assert (found.provider, found.device) == (f"{provider}ExecutionProvider", "npu")
    assert found.compiled is bool(node)
    assert read_model_facts(model_facts(found)) == replace(found, path="")


def test_each_graph_of_a_pipeline_counts(tmp_path: Path) -> None:
    folder = write_compiled(tmp_path / "model", "QNN")
    (folder / GRAPH).unlink()
    held = json.loads(pipeline())
    held["model"]["eos_token_id"] = 2
    (folder / GENAI).write_text(json.dumps(held))
    for name, nodes in {"embeddings": (), "context_ctx": (context(**QNN_NODE),), "lm_head": ()}.items():
        (folder / f"{name}.onnx").write_bytes(graph_of(nodes=nodes))
    found = inspect_source(str(folder), StampBook.empty(), ready=True)
    assert found.problems == ()
    graphs = ["context_ctx.onnx", "embeddings.onnx"]
    tail = ["lm_head.onnx", "model_qnn.bin", "tokenizer.json", "tokenizer_config.json"]
    assert [one.path for one in found.files] == [graphs[0], graphs[1], GENAI, *tail]
    assert (found.provider, found.device, found.compiled) == ("QNNExecutionProvider", "npu", True)
    (folder / "lm_head.onnx").unlink()
    (problem,) = inspect_source(str(folder), StampBook.empty(), ready=True).problems
    assert problem.code == "OnnxFileMissing"


def test_a_mark_at_the_beginning_of_its_configuration_is_none_of_it(tmp_path: Path) -> None:
    folder = write_ready(tmp_path / "model")
    (folder / GENAI).write_bytes(b"\xef\xbb\xbf" + (folder / GENAI).read_bytes())
    assert inspect_source(str(folder), StampBook.empty(), ready=True).problems == ()


def test_weights_are_found_wherever_a_graph_keeps_them() -> None:
    inner = graph_of(tensor("c.onnx.data"))[2 + len(field(2, b"pytorch")) :]  # as field 7, within an attribute as 6
    constant = field(5, field(5, tensor("b.onnx.data", offset=8, length=4)))
    within = field(5, field(6, inner[inner.index(field(5, tensor("c.onnx.data"))) :]))
    long = tensor("a.onnx.data", length=1) + field(9, b"x" * (2 << 20))  # read without holding it
    data = graph_of(long, field(9, b"location"), nodes=(constant, within))
    expected = [
        ExternalData(location="b.onnx.data", offset=8, length=4),
        ExternalData(location="c.onnx.data"),
        ExternalData(location="a.onnx.data", length=1),
    ]
    assert list(external_data(io.BytesIO(data), len(data))) == expected
    pipe = io.BufferedReader(_Pipe(data))
    assert list(external_data(pipe, len(data))) == expected


class _Pipe(io.RawIOBase):
    """What comes out of git cannot be moved in."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        return self._data.readinto(buffer)


def test_files_are_taken_as_the_plan_saw_them(tmp_path: Path) -> None:
    folder = write_ready(tmp_path / "model")
    files = inspect_source(str(folder), StampBook.empty(), ready=True).files
    moved: list[tuple[int, int]] = []
    take_files(str(folder), files, str(tmp_path / "tree"), lambda done, total: moved.append((done, total)))
    assert {one.name for one in (tmp_path / "tree").iterdir()} == {one.path for one in files}
    assert moved[-1] == (moved[-1][1], sum(one.size for one in files))
    (folder / DATA).write_bytes(b"x" * BYTES)
    with pytest.raises(ConversionFailed, match="changed since the plan"):
        take_files(str(folder), files, str(tmp_path / "again"))
    (folder / DATA).unlink()
    (folder / DATA).symlink_to("/etc/passwd")
    with pytest.raises(ConversionFailed, match="outside the model folder"):
        take_files(str(folder), files, str(tmp_path / "third"))


def test_settings_that_name_code_are_taken_without_it(tmp_path: Path) -> None:
    """The served file is written anew (backends.foundry.served_files)."""
    folder = write_ready(tmp_path / "model")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": "x.Y"}}))
    assert inspect_source(str(folder), StampBook.empty(), ready=True).problems == ()
