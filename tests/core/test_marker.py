"""`release.json` tells of its own damage."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.digest import of_value
from reconciler.core.marker import MarkerUnreadable, format_marker, parse_marker
from reconciler.core.release import Marker, StoredFile

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
TEXT = format_marker(MARKER)


def test_what_is_written_is_read_again() -> None:
    assert parse_marker(TEXT) == MARKER


@given(st.integers(0, len(TEXT) * 8 - 1))
def test_any_flipped_bit_is_noticed_or_harmless(bit: int) -> None:
    damaged = bytearray(TEXT)
    damaged[bit // 8] ^= 1 << bit % 8
    with suppress(MarkerUnreadable):
        assert parse_marker(bytes(damaged)) == MARKER  # white space became other white space


@pytest.mark.parametrize("length", range(0, len(TEXT) - 1, 37))
def test_half_a_marker_is_none(length: int) -> None:
    with pytest.raises(MarkerUnreadable):
        parse_marker(TEXT[:length])


@pytest.mark.parametrize("text", [b"[]", b"null", b"{}", b'{"sha256": 1, "formatVersion": 1}', b"\xff\xfe"])
def test_other_json_is_none(text: bytes) -> None:
    with pytest.raises(MarkerUnreadable):
        parse_marker(text)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"formatVersion": 2}, id="a newer version"),
        pytest.param({"later": 1}, id="a field we do not know"),
        pytest.param({"files": [{"path": "a"}]}, id="half a file"),
        pytest.param({"files": 7}, id="no files"),
    ],
)
def test_a_marker_of_another_kind_is_refused_although_its_digest_matches(change: dict[str, object]) -> None:
    document = {**json.loads(TEXT), **change}
    del document["sha256"]
    document["sha256"] = of_value(document)
    with pytest.raises(MarkerUnreadable):
        parse_marker(json.dumps(document).encode())
