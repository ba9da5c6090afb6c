"""Foundry Local's index, read without Foundry Local."""

import json
import os
from pathlib import Path

import pytest

from reconciler.backends.foundry.index import INDEX, read_index
from reconciler.domain.errors import CatalogBroken
from reconciler.domain.observed import Registration

ENTRY = {
    "model_path": "/served/phi-int4/3",
    "model_info": {"id": "phi-int4:3", "stringProperties": {"reconciler_owner": "me", "task": "chat-completion"}},
}
FOREIGN = {"model_path": "/elsewhere/", "model_info": {"id": "a:1", "task": "chat-completion"}}


def index(**changes: object) -> str:
    return json.dumps({"catalog_name": "local", "version": 2, "models": [ENTRY, FOREIGN], **changes})


def test_no_file_and_no_folder_are_an_empty_catalog(tmp_path: Path) -> None:
    assert read_index(str(tmp_path)) == ()
    assert read_index(str(tmp_path / "missing")) == ()


def test_entries_come_with_their_properties(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(index())
    ours, foreign = read_index(str(tmp_path))
    assert ours == Registration(
        id="phi-int4:3", path="/served/phi-int4/3", properties={"reconciler_owner": "me", "task": "chat-completion"}
    )
    assert (ours.name, ours.number, ours.owner) == ("phi-int4", 3, "me")
    assert foreign == Registration(id="a:1", path="/elsewhere/")


def test_the_oldest_version_is_read_and_nothing_in_it_is_ours(tmp_path: Path) -> None:
    models = [{"model_id": "a:1", "model_path": "/x", "properties": {"reconciler_owner": "me"}}]
    (tmp_path / INDEX).write_text(index(version=1, models=models))
    assert read_index(str(tmp_path)) == (Registration(id="a:1", path="/x"),)


@pytest.mark.parametrize("id", ["a:0", "A.b_c-9:2147483647", "9:10", "a" * 300 + ":1"])
def test_every_id_that_the_runtime_takes_is_read(tmp_path: Path, id: str) -> None:
    (tmp_path / INDEX).write_text(index(models=[{"model_path": "/x", "model_info": {"id": id}}]))
    assert [each.id for each in read_index(str(tmp_path))] == [id]


@pytest.mark.parametrize("kind", ["fifo", "folder", "sparse"])
def test_what_is_no_index_file_is_said_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / INDEX
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    with pytest.raises(CatalogBroken):
        read_index(str(tmp_path))


BROKEN = {
    "an empty file": "",
    "half a file": index()[:60],
    "an empty object": "{}",
    "a list": "[]",
    "null": "null",
    "binary": "\x00\x01",
    "deep nesting": "[" * 100_000,
    "no version": json.dumps({"models": []}),
    "a newer version": index(version=3),
    "a version as text": index(version="2"),
    "no models": json.dumps({"version": 2}),
    "models that are none": index(models={}),
    "a junk entry": index(models=[7]),
    "an entry without a path": index(models=[{"model_info": {"id": "a:1"}}]),
    "an entry without an id": index(models=[{"model_path": "/x", "model_info": {}}]),
    "an id without a number": index(models=[{"model_path": "/x", "model_info": {"id": "a"}}]),
    "an id with a strange number": index(models=[{"model_path": "/x", "model_info": {"id": "a:²"}}]),
    **{
        f"the id {id[:20]}": index(models=[{"model_path": "/x", "model_info": {"id": id}}])
        for id in (
            *("../../data:1", "a b:1", "ü:1", ".a:1", ":1", "a:b:1", "a/b:1", "a\n:1", "a:1\n"),
            *("a:01", "a:-1", "a:2147483648", "a:" + "1" * 5000),
        )
    },
    "the same id twice": index(models=[ENTRY, ENTRY]),
    "properties that are none": index(
        models=[{"model_path": "/x", "model_info": {"id": "a:1", "stringProperties": 7}}]
    ),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_an_unreadable_index_stops_everything_and_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / INDEX
    path.write_text(text)
    with pytest.raises(CatalogBroken) as caught:
        read_index(str(tmp_path))
    assert str(path) in str(caught.value)
    assert "nothing is changed until it is readable again" in caught.value.hint
    assert "If it is damaged, remove it: the next pass registers our models again" in caught.value.hint
    assert path.read_text() == text


def test_a_folder_in_place_of_the_index_is_an_unreadable_one(tmp_path: Path) -> None:
    (tmp_path / INDEX).mkdir()
    with pytest.raises(CatalogBroken):
        read_index(str(tmp_path))
