"""The lock file of hub sources: what a manifest gets from it, its one form, and what hostile hands write into it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from reconciler.domain.sources.locked import DEFAULT_INCLUDE, READY_INCLUDE, LockedFile, LockedSource, is_safe
from reconciler.manifests.lock_file import read, render
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.source_facts import LockInvalid
from tests.manifests.test_parse import model, parsed

COMMIT = "c0ffee" * 6 + "c0ff"
LOCK = "/repo/manifests/reconciler.lock.json"
FILES = (
    LockedFile(path="config.json", size=7, sha256="a" * 64),
    LockedFile(path="model.safetensors", size=100, sha256="b" * 64),
)
SOURCE = LockedSource(repo="org/phi", revision=COMMIT, files=FILES, upstream="d" * 40)


def declared(include: str = "") -> str:
    return model(source=f"{{huggingface: {{repo: org/phi, revision: {COMMIT}{include}}}}}")


def with_lock(data: bytes | None, text: str = "") -> Parsed:
    return parsed({"a.yaml": text or declared()}, templates={LOCK: data} if data is not None else {})


def test_a_model_gets_its_files_from_the_lock() -> None:
    (found,) = with_lock(render([SOURCE])).models
    assert found.remote == SOURCE
    assert found.source_path == ""
    assert found.lines["spec.source.huggingface.revision"] == 5


@pytest.mark.parametrize(
    ("lock", "text"),
    [
        (None, declared()),
        (render([LockedSource(repo="org/phi", revision="e" * 40, files=FILES)]), declared()),
        (render([SOURCE]), declared(", include: ['*.json']")),
    ],
    ids=["no lock file", "another revision", "other files"],
)
def test_a_model_without_an_entry_has_no_files(lock: bytes | None, text: str) -> None:
    result = with_lock(lock, text)
    assert not result.problems
    assert result.models[0].remote is not None
    assert result.models[0].remote.files == ()


def test_a_lock_is_read_back_as_it_was_written() -> None:
    other = LockedSource(repo="a/b", revision=COMMIT, include=("config.json", "x*.safetensors"), files=FILES[:1])
    data = render([SOURCE, other])
    assert read(data) == {SOURCE.key: SOURCE, other.key: other}
    assert render(read(data).values()) == data
    assert data == render([other, SOURCE])
    assert b'  {"path": "config.json", "size": 7, "sha256": "' + b"a" * 64 + b'"}' in data


def test_an_entry_without_a_kind_is_the_hubs() -> None:
    assert read(document()) == read(document(kind="huggingface"))
    assert b"kind" not in render([SOURCE])


def test_a_ready_source_is_another_one() -> None:
    ready = replace(SOURCE, ready=True, folder="cpu/int4")
    assert read(render([SOURCE, ready])) == {SOURCE.key: SOURCE, ready.key: ready}
    assert b"ready" not in render([SOURCE])
    text = model(source=f"{{onnx: {{huggingface: {{repo: org/phi, revision: {COMMIT}, folder: cpu/int4}}}}}}")
    (found,) = with_lock(render([SOURCE, ready]), text).models
    assert (found.remote, found.ready) == (ready, True)
    with pytest.raises(LockInvalid, match="folder: expected repo, revision or include"):
        read(document(folder="cpu"))  # only a ready one lies in a folder


def test_the_digest_is_that_of_the_files_alone() -> None:
    renamed = LockedSource(repo="mirror/phi", revision="f" * 40, files=FILES[::-1])
    assert renamed.digest == SOURCE.digest
    assert LockedSource(repo="org/phi", revision=COMMIT, files=FILES[:1]).digest != SOURCE.digest


def document(**changes: Any) -> bytes:
    entry = json.loads(render([SOURCE]))["sources"][0] | changes
    return json.dumps({"formatVersion": 1, "sources": [entry]}).encode()


def one_file(**changes: Any) -> bytes:
    return document(files=[{"path": "config.json", "size": 7, "sha256": "a" * 64} | changes])


HOSTILE = {
    "no JSON": b"a: b",
    "not UTF-8": b"\xff\xfe",
    "nothing": b"",
    "deep": b"[" * 100_000,
    "a long number": b'{"formatVersion": ' + b"1" * 10_000 + b', "sources": []}',
    "too long": b" " * (5 << 20),
    "a list": b"[]",
    "another version": b'{"formatVersion": 2, "sources": []}',
    "a field twice": b'{"formatVersion": 1, "formatVersion": 1, "sources": []}',
    "not a number": b'{"formatVersion": NaN, "sources": []}',
    "a foreign field": document(script="rm"),
    "an unknown kind": document(kind="ftp"),
    "no repo": document(repo=None),
    "a repo that leads out": document(repo="../../etc"),
    "a branch": document(revision="main"),
    "an upstream branch": document(upstream="main"),
    "no files": document(files=[]),
    "files that are no list": document(files={"a": 1}),
    "an unsafe pattern": document(include=["*"]),
    "a pickle": one_file(path="pytorch_model.bin"),
    "a program": one_file(path="modeling_phi.py"),
    "a path": one_file(path="../config.json"),
    "an absolute path": one_file(path="/etc/config.json"),
    "a Windows path": one_file(path="a\\config.json"),
    "a hidden file": one_file(path=".config.json"),
    "a device": one_file(path="con.json"),
    "a stream": one_file(path="a:b.json"),
    "a wide letter": one_file(path="c\u043enfig.json"),
    "a negative size": one_file(size=-1),
    "a size that is a flag": one_file(size=True),
    "a size beyond any disk": one_file(size=1 << 60),
    "another digest": one_file(sha256="a" * 63),
    "upper case": one_file(sha256="A" * 64),
    "two names for one file": document(
        files=[{"path": name, "size": 7, "sha256": "a" * 64} for name in ("config.json", "CONFIG.json")]
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_lock_that_is_none_is_refused_with_one_line(name: str) -> None:
    with pytest.raises(LockInvalid) as refused:
        read(HOSTILE[name])
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200
    (problem,) = with_lock(HOSTILE[name]).problems
    assert (problem.code, problem.file) == ("LockInvalid", "manifests/reconciler.lock.json")
    assert "reconciler lock" in problem.hint


def test_a_syntax_error_has_its_line() -> None:
    (problem,) = with_lock(b'{\n "formatVersion": 1,\n oops\n}').problems
    assert problem.line == 3


def test_nobody_reads_a_lock_that_no_model_needs() -> None:
    assert not parsed({"a.yaml": model()}, templates={LOCK: b"broken"}).problems


@pytest.mark.parametrize(
    ("name", "default", "every_json", "ready"),
    [
        ("config.json", True, True, False),
        ("model-00001-of-00002.safetensors", True, False, False),
        ("consolidated.safetensors", False, False, False),
        ("tokenizer.model", True, False, True),
        ("special.json", False, True, False),
        ("pytorch_model.bin", False, False, False),
        ("modeling.py", False, False, False),
        ("onnx/config.json", False, False, False),
        ("genai_config.json", False, True, True),
        ("model.onnx.data", False, False, True),
        ("custom_ops.so", False, False, False),
    ],
)
def test_which_files_are_taken(name: str, default: bool, every_json: bool, ready: bool) -> None:
    assert SOURCE.includes(name) is default
    assert replace(SOURCE, include=("*.json",)).includes(name) is every_json
    assert replace(SOURCE, ready=True).includes(name) is ready
    assert default <= is_safe(name)
    assert replace(SOURCE, ready=True).expects(name) is ready


def test_a_signed_file_that_no_earlier_version_locked_need_not_be_locked() -> None:
    """Or a source that was trusted is not, because of a file that its model does not read. Where it does, a look at the
    model says that it is missing. Who adds a file adds it to those of later."""
    ready = replace(SOURCE, ready=True)
    for name in ("audio_processor_config.json", "openvino_model.xml", "openvino_model.bin", "context_3_ctx_qnn.bin"):
        assert (SOURCE.includes(name), ready.includes(name), ready.expects(name)) == (False, True, False)
    name = "audio_processor_config.json"
    assert replace(ready, include=("*.json",)).expects(name)
    tokenizers = "added_tokens.json chat_template.jinja merges.txt special_tokens_map.json tokenizer.json"
    tokenizers += " tokenizer.model tokenizer_config.json vocab.json vocab.txt"
    both = {"ready.onnx", "ready.onnx.data", "ready.onnx_data", *READY_INCLUDE, *DEFAULT_INCLUDE}
    graphs = {"ready.onnx", "ready.onnx.data", "ready.onnx_data", "genai_config.json"}
    assert set(filter(ready.expects, both)) == {*graphs, *tokenizers.split()}
    converted = {"config.json", "generation_config.json", "model.safetensors.index.json", *tokenizers.split()}
    assert set(filter(SOURCE.expects, both)) == converted
