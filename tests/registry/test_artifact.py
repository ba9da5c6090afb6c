"""Manifests that others wrote: what is read, and in which words the rest is refused."""

import copy
import json
from typing import Any

import pytest

from reconciler.domain import digest as digests
from reconciler.domain.digest import StoredFile
from reconciler.registry import artifact
from reconciler.store import modelpack
from reconciler.store.modelpack import NotAnArtifact

RECIPE: dict[str, object] = {"architecture": "LlamaForCausalLM", "precision": "int4", "source": "sha256:1"}
KEY = digests.of_value(RECIPE)
FILES = tuple(
    StoredFile(path=path, digest=digests.of_bytes(path.encode()), size=len(path))
    for path in ("deep/tokenizer.json", "genai_config.json", "model.onnx", "model.onnx.data")
)
CONFIG = modelpack.config_bytes(RECIPE, FILES)
MANIFEST = modelpack.manifest_bytes(KEY, RECIPE, FILES, CONFIG)


def read(data: bytes) -> modelpack.Packed:
    return artifact.read(digests.of_bytes(data), data)


def refused(**changes: Any) -> str:
    """Why a manifest with these changes is not read. A key such as `layers_0_size` leads to its place."""
    document = json.loads(MANIFEST)
    for place, value in changes.items():
        *way, last = [int(part) if part.isdecimal() else part for part in place.split("__")]
        inner = document
        for part in way:
            inner = inner[part]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    with pytest.raises(NotAnArtifact) as error:
        read(json.dumps(document).encode())
    return str(error.value)


def test_what_the_store_writes_is_read() -> None:
    packed = read(MANIFEST)
    assert (packed.artifact.files, packed.artifact.build_key) == (FILES, KEY)
    assert packed.artifact.digest == digests.of_bytes(MANIFEST)
    assert packed.config == digests.of_bytes(CONFIG)
    assert packed.config_size == len(CONFIG)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        *((path, "leads out") for path in ("../x.onnx", "/x.onnx", "a/../../x", "a//b", "./x", "", "a\\b")),
        *((path, "leads out") for path in ("c:x", "x\0y", "x\ny", "a/", "x.so", "run.PY")),
        *((path, "no name of a file on every") for path in ("nul", "a/con.onnx", "x.dll.", "x.so ", ".git/config")),
        ("a" * 600, "too long"),
        ("MODEL.ONNX", "there twice"),
        ("model.onnx.data", "there twice"),
        ("model.onnx/inner.json", "is a file and a folder"),
        (7, "too long, or no text"),
    ],
)  # fmt: skip
def test_a_path_that_means_harm_is_refused(path: object, why: str) -> None:
    document = copy.deepcopy(json.loads(MANIFEST))
    document["layers"][0]["annotations"][modelpack.FILE_PATH] = path
    with pytest.raises(NotAnArtifact, match=why):
        read(json.dumps(document).encode())


def test_accents_make_no_two_files_of_one() -> None:
    """macOS takes both ways to write one for the same name."""
    document = copy.deepcopy(json.loads(MANIFEST))
    for layer, path in zip(document["layers"], ("\u00e9.onnx", "e\u0301.onnx"), strict=False):
        layer["annotations"][modelpack.FILE_PATH] = path
    with pytest.raises(NotAnArtifact, match="there twice"):
        read(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"schemaVersion": 1}, "schemaVersion is not 2"),
        ({"artifactType": "application/vnd.docker.ai.model"}, "artifactType is application/vnd.docker.ai.model"),
        ({"mediaType": None}, "mediaType is None"),
        ({"config": None}, "lacks config"),
        ({"config__mediaType": "application/vnd.oci.empty.v1+json"}, "config is of type"),
        ({"config__size": 1 << 30}, "its config is declared with 1073741824 bytes"),
        ({"layers": []}, "no layers"),
        ({"layers": {}}, "no layers"),
        ({"layers": [1]}, "not the form"),
        ({"layers": [{}] * 1001}, "1001 layers, at most 1000"),
        ({"layers__0__mediaType": "application/vnd.cncf.model.weight.v1.tar"}, "packed in a tar"),
        ({"layers__0__mediaType": "application/vnd.cncf.model.code.v1.raw"}, "unknown here"),
        ({"layers__0__annotations": None}, "lacks annotations"),
        ({"layers__0__size": -1}, "declared with -1 bytes"),
        ({"layers__0__size": 1 << 50}, "declared with 1125899906842624 bytes"),
        ({"layers__0__size": "12"}, "declared with 12 bytes"),
        ({"layers__0__size": True}, "declared with True bytes"),
        ({"layers__0__size": 1 << 40, "layers__1__size": 1}, "bytes together"),
        ({"layers__0__digest": "sha512:" + "0" * 128}, "no sha256 digest"),
        ({"layers__0__digest": "../../x"}, "no sha256 digest"),
        ({"layers__0__digest": FILES[1].digest}, "two sizes"),
        ({"annotations": None}, "lacks annotations"),
        ({"annotations__reconciler.foundry/build-key": "sha256:" + "0" * 64}, "its recipe is not the one"),
        ({"annotations__reconciler.foundry/recipe": None}, "lacks reconciler.foundry/recipe"),
    ],
)  # fmt: skip
def test_another_form_is_refused_in_words(changes: dict[str, Any], why: str) -> None:
    assert why in refused(**changes)


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"config": 1}'])
def test_what_is_no_manifest_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(NotAnArtifact):
        read(data)
