"""What the rest of the package relies on, of every place that model folders come from: the same files are the same
model, and the same mistakes have the same codes. A new kind of source is one more line of PLACES."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.layout import Layout
from reconciler.domain.sources.locked import GIT, LockedFile, LockedSource
from reconciler.domain.sources.source_model import SourceModel
from reconciler.engine.remote_sources.kinds import REMOTES
from reconciler.host.stamps import StampBook
from reconciler.manifests.source_schema import READY_KINDS, REMOTE_KINDS
from reconciler.sources.cache import OnDisk, SourceCache
from reconciler.sources.folder.model import inspect_source
from reconciler.sources.git.local import open_repository
from reconciler.sources.git.manifests_in_commit import CHECKOUT, InCommit
from reconciler.sources.git.objects import Tree
from reconciler.sources.protocol import ModelFolders
from tests.git_server import Repository
from tests.ready_onnx import DATA, GENAI, GRAPH, write_ready
from tests.sources.test_git_source import Machine

Look = Callable[[ModelFolders], SourceModel]
# Of a model folder, a folder to work in, and whether it is a ready ONNX one.
Place = Callable[[Path, Path, bool], AbstractContextManager[tuple[ModelFolders, Look]]]


@contextlib.contextmanager
def on_disk(model: Path, folder: Path, ready: bool) -> Iterator[tuple[ModelFolders, Look]]:
    yield OnDisk(StampBook.empty()), lambda folders: folders.source(str(model), ready=ready)


@contextlib.contextmanager
def in_a_commit(model: Path, folder: Path, ready: bool) -> Iterator[tuple[ModelFolders, Look]]:
    """As `diff` reads it."""
    repository = fleet(model, folder, ready=ready)
    opened = open_repository(str(repository.folder))
    with opened.objects() as objects:
        tree = Tree(objects, opened.commit("main"))
        yield InCommit(tree, exact=True, seen={}), lambda folders: folders.source(f"{CHECKOUT}/model", ready=ready)


@contextlib.contextmanager
def in_the_mirror(model: Path, folder: Path, ready: bool) -> Iterator[tuple[ModelFolders, Look]]:
    """As `apply --repo` follows it."""
    machine = Machine(folder / "root", str(fleet(model, folder, ready=ready).folder))
    (declared,) = machine.follow().parsed.models
    yield OnDisk(StampBook.empty()), lambda folders: folders.source(declared.source_path, ready=ready)


@contextlib.contextmanager
def in_the_cache(model: Path, folder: Path, ready: bool) -> Iterator[tuple[ModelFolders, Look]]:
    """As it is once it was fetched from the hub."""
    cache, stamps = SourceCache(Layout(str(folder / "root"))), StampBook.empty()
    files = tuple(
        LockedFile(path=one.name, size=one.stat().st_size, sha256=hashlib.sha256(one.read_bytes()).hexdigest())
        for one in sorted(model.iterdir())
    )
    source = LockedSource(repo="org/model", revision="1" * 40, files=files, ready=ready)
    begun = Path(cache.begin(source))
    for one in model.iterdir():
        shutil.copy(one, begun / one.name)
    cache.publish(source, stamps)

    def look(folders: ModelFolders) -> SourceModel:
        found = folders.locked(source).model
        assert found is not None
        return found

    yield OnDisk(stamps, cache), look


PLACES: dict[str, Place] = {
    "a folder": on_disk,
    "a commit": in_a_commit,
    "the mirror": in_the_mirror,
    "the hub's cache": in_the_cache,
}


def test_each_kind_that_a_manifest_can_name_can_be_fetched() -> None:
    assert REMOTES.keys() == REMOTE_KINDS.keys() | READY_KINDS.keys() | {GIT}  # which is named by its path


def fleet(model: Path, folder: Path, *, ready: bool) -> Repository:
    repository = Repository(folder / "fleet")
    shutil.copytree(model, repository.folder / "model")
    repository.model("one", source="../model")
    manifest = repository.folder / "manifests" / "one.yaml"
    if ready:
        manifest.write_text(manifest.read_text().replace("{path: ../model}", "{onnx: {path: ../model}}"))
    repository.commit()
    return repository


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param]


@pytest.fixture
def model(tmp_path: Path, capitals: Path) -> Path:
    return Path(shutil.copytree(capitals, tmp_path / "written" / "model"))


def test_the_same_files_are_the_same_model(place: Place, model: Path, tmp_path: Path) -> None:
    expected = inspect_source(str(model), StampBook.empty())
    with place(model, tmp_path, False) as (folders, look):
        found = look(folders)
        assert replace(found, path="") == replace(expected, path="")
        assert expected.known


def pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def cut_off(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def no_json(model: Path) -> None:
    (model / "config.json").write_text("{")


def twice(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": "llama", "model_type": "llama"}')


def code_of_its_own(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}))


MISTAKES = (pickled, cut_off, no_json, twice, code_of_its_own)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_same_mistakes_have_the_same_codes(
    place: Place, mistake: Callable[[Path], None], model: Path, tmp_path: Path
) -> None:
    mistake(model)
    expected = inspect_source(str(model), StampBook.empty())
    codes = [one.code for one in (*expected.problems, *expected.warnings)]
    assert codes
    with place(model, tmp_path, False) as (folders, look):
        found = look(folders)
        assert [one.code for one in (*found.problems, *found.warnings)] == codes
        assert all(str(tmp_path) not in str(one) for one in found.problems)


def test_the_same_ready_folder_is_the_same_model(place: Place, tmp_path: Path) -> None:
    model = write_ready(tmp_path / "written" / "model")
    expected = inspect_source(str(model), StampBook.empty(), ready=True)
    with place(model, tmp_path, True) as (folders, look):
        found = look(folders)
        assert replace(found, path="") == replace(expected, path="")
        assert found.ready
        assert found.files


@pytest.mark.parametrize(("file", "data"), [(GRAPH, b"<html>"), (DATA, b"w"), (GENAI, b"{}")])
def test_the_same_mistakes_of_a_ready_folder_have_the_same_codes(
    place: Place, file: str, data: bytes, tmp_path: Path
) -> None:
    model = write_ready(tmp_path / "written" / "model")
    (model / file).write_bytes(data)
    codes = [one.code for one in inspect_source(str(model), StampBook.empty(), ready=True).problems]
    assert codes
    with place(model, tmp_path, True) as (folders, look):
        assert [one.code for one in look(folders).problems] == codes


def test_what_is_not_here_is_known_as_that(tmp_path: Path) -> None:
    files = (LockedFile(path="config.json", size=2, sha256="0" * 64),)
    source = LockedSource(repo="org/model", revision="1" * 40, files=files)
    for folders in (OnDisk(StampBook.empty()), OnDisk(StampBook.empty(), SourceCache(Layout(str(tmp_path))))):
        found = folders.locked(source)
        assert (found.model, found.whole, found.missing) == (None, False, 2)
