"""A marker is read as it was written, or not at all."""

import json

import pytest

from reconciler.backends.foundry.folder import MarkerUnreadable, marker_from_json, marker_to_json
from reconciler.domain.digest import StoredFile
from reconciler.domain.release import Marker

MARKER = Marker(
    owner="0123",
    variant="phi-int4",
    number=3,
    release="sha256:r",
    parts={"recipe": "sha256:k", "template": "sha256:t"},
    artifact="sha256:a",
    build_key="sha256:k",
    recipe={"precision": "int4", "options": {"blockSize": 32}},
    model="phi",
    precision="int4",
    template_origin="PromptTemplate häuslich",
    generation={"temperature": 0.7, "top_k": None},
    protected=False,
    revision="main@sha1:0",
    created="2026-11-22T16:00:00Z",
    files=(StoredFile(path="model.onnx", digest="sha256:m", size=5),),
)


def document() -> dict[str, object]:
    loaded: dict[str, object] = json.loads(json.dumps(marker_to_json(MARKER)))
    return loaded


def test_what_is_written_is_read_again() -> None:
    assert marker_from_json(document()) == MARKER


@pytest.mark.parametrize("other", [[], None, {}, "x", 7, {"formatVersion": 1}, {"formatVersion": 1, "files": []}])
def test_other_data_is_no_marker(other: object) -> None:
    with pytest.raises(MarkerUnreadable):
        marker_from_json(other)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"formatVersion": 2}, id="a newer version"),
        pytest.param({"later": 1}, id="a field we do not know"),
        pytest.param({"files": [{"path": "a"}]}, id="half a file"),
        pytest.param({"files": 7}, id="no files"),
    ],
)
def test_a_marker_of_another_kind_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MarkerUnreadable):
        marker_from_json({**document(), **change})
