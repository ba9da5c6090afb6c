"""A served folder is whole, or says what is wrong with it."""

# mypy: disable-error-code="func-returns-value"
# (rows of a table call what returns nothing)

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.backends.foundry.folder import assemble, inspect, marker_to_json
from reconciler.domain.digest import StoredFile, of_bytes
from reconciler.domain.errors import Disturbed, PermanentError
from reconciler.domain.plain_data import as_dict
from reconciler.domain.release import ALWAYS_COPIED, Artifact, Marker
from reconciler.host.codec import seal
from reconciler.host.stamps import StampBook
from tests.backends.test_served_files import edited
from tests.converted_model import release_of

WEIGHTS = b"w" * (ALWAYS_COPIED + 1)  # large enough to be shared instead of copied

CONTENT = {
    "model.onnx": b"graph",
    "model.onnx.data": WEIGHTS,
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b'{"chat_template": "{{ old }}"}',
    "genai_config.json": edited({}),
    "config.json": b"{}",
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return blobs_of(tmp_path)


def blobs_of(tmp_path: Path) -> Path:
    folder = tmp_path / "blobs"
    folder.mkdir()
    for data in CONTENT.values():
        (folder / of_bytes(data)).write_bytes(data)
    return folder


@pytest.fixture
def stamps(tmp_path: Path) -> StampBook:
    return StampBook.load(str(tmp_path / "stamps.json"))


@pytest.fixture
def served(tmp_path: Path, store: Path, stamps: StampBook) -> Path:
    folder = tmp_path / "served" / "tiny-int4" / "3"
    folder.mkdir(parents=True)
    assembled(folder, store, stamps)
    return folder


def artifact(content: dict[str, bytes]) -> Artifact:
    files = tuple(StoredFile(path=path, digest=of_bytes(data), size=len(data)) for path, data in content.items())
    return Artifact(digest=of_bytes(b"a"), build_key=of_bytes(b"k"), files=files)


def assembled(folder: Path, store: Path, stamps: StampBook, content: dict[str, bytes] | None = None) -> Marker:
    return assemble(
        str(folder),
        release_of(),
        artifact(CONTENT if content is None else content),
        lambda digest: str(store / digest),
        stamps,
        owner="me",
        number=3,
        revision="main@sha1:0",
        created="2026-11-22T16:00:00Z",
        protected=False,
    )


def test_a_fresh_folder_is_whole_and_its_marker_tells_all(served: Path, stamps: StampBook) -> None:
    found = inspect(str(served), stamps)
    assert found.damage == ()
    assert found.marker is not None
    assert (found.variant, found.number, found.marker.id) == ("tiny-int4", 3, "tiny-int4:3")
    assert found.marker.release == release_of().digest
    on_disk = {path.name for path in served.iterdir()} - {"release.json"}
    assert {file.path for file in found.marker.files} == on_disk
    assert "config.json" not in on_disk
    assert "old" not in (served / "tokenizer_config.json").read_text()


def test_the_same_release_gives_the_same_bytes(tmp_path: Path, served: Path, store: Path, stamps: StampBook) -> None:
    again = tmp_path / "again"
    again.mkdir()
    assembled(again, store, stamps)
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in served.iterdir()
    }


def test_large_files_are_real_files_that_share_their_bytes(served: Path, store: Path) -> None:
    weights = served / "model.onnx.data"
    assert weights.is_file()
    assert not weights.is_symlink()
    if weights.stat().st_dev == store.stat().st_dev and weights.stat().st_nlink > 1:
        assert weights.samefile(store / of_bytes(WEIGHTS))


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def flip(path: Path) -> None:
    """The same size and the same modification time."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    replace(path, bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def turn_into_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "a missing file": (lambda f: (f / "model.onnx").unlink(), ("model.onnx missing",)),
    "a shorter file": (lambda f: replace(f / "model.onnx", b"gr"), ("model.onnx changed",)),
    "a flipped bit": (lambda f: flip(f / "model.onnx.data"), ("model.onnx.data changed",)),
    "another template": (lambda f: replace(f / "chat_template.jinja", b"{{ x }}"), ("chat_template.jinja changed",)),
    "a foreign file": (lambda f: (f / "notes.txt").write_text("x"), ("notes.txt foreign",)),
    "a second template": (lambda f: (f / "chat_template.json").write_text("{}"), ("chat_template.json foreign",)),
    "a foreign file further down": (
        lambda f: [(f / "deep" / "er").mkdir(parents=True), (f / "deep" / "er" / "x").write_text("x")],
        ("deep/er/x foreign",),
    ),
    "a link in place of a file": (
        lambda f: [(f / "model.onnx").rename(f.parent / "m"), (f / "model.onnx").symlink_to(f.parent / "m")],
        ("model.onnx changed",),
    ),
    "a folder in place of a file": (
        lambda f: [(f / "model.onnx").unlink(), (f / "model.onnx").mkdir()],
        ("model.onnx missing",),
    ),
    "a pipe in place of a file": (lambda f: turn_into_a_pipe(f / "model.onnx"), ("model.onnx changed",)),
    "a link to nowhere": (lambda f: (f / "x").symlink_to("/nowhere"), ("x foreign",)),
    "what the Finder writes": (lambda f: (f / ".DS_Store").write_text("x"), ()),
    "what Windows writes": (lambda f: [(f / "Thumbs.db").touch(), (f / "desktop.ini").touch()], ()),
    "a link of such a name": (lambda f: (f / ".DS_Store").symlink_to("/nowhere"), (".DS_Store foreign",)),
    "a folder of such a name": (
        lambda f: [(f / ".DS_Store").mkdir(), (f / ".DS_Store" / "x").touch()],
        (".DS_Store/x foreign",),
    ),
    "two at once": (
        lambda f: [(f / "tokenizer.json").unlink(), (f / "x").write_text("")],
        ("tokenizer.json missing", "x foreign"),
    ),
    "no marker": (lambda f: (f / "release.json").unlink(), ("release.json missing",)),
    "half a marker": (
        lambda f: replace(f / "release.json", (f / "release.json").read_bytes()[:100]),
        ("release.json unreadable",),
    ),
    "a flipped bit in the marker": (lambda f: flip(f / "release.json"), ("release.json unreadable",)),
    "a marker of a newer version": (
        lambda f: replace(f / "release.json", seal({"formatVersion": 2})),
        ("release.json unreadable",),
    ),
    "a pipe in place of the marker": (lambda f: turn_into_a_pipe(f / "release.json"), ("release.json unreadable",)),
    "an edited marker": (
        lambda f: replace(f / "release.json", (f / "release.json").read_bytes().replace(b"tiny-int4", b"evil-int4")),
        ("release.json unreadable",),
    ),
    "nothing at all": (empty, ("release.json missing",)),
}


@pytest.mark.parametrize(("harm", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named(
    served: Path, stamps: StampBook, harm: Callable[[Path], object], damage: tuple[str, ...]
) -> None:
    inspect(str(served), stamps)  # what was fine a moment ago is not taken on trust
    harm(served)
    assert inspect(str(served), stamps).damage == damage


def test_a_folder_that_was_copied_to_another_name_is_not_that_release(served: Path, stamps: StampBook) -> None:
    shutil.copytree(served, served.parent / "4")
    found = inspect(str(served.parent / "4"), stamps)
    assert found.marker is None
    assert found.damage == ("release.json of another release",)


def test_a_marker_that_names_files_elsewhere_reads_none_of_them(served: Path, stamps: StampBook) -> None:
    marker = inspect(str(served), stamps).marker
    assert marker is not None
    secret = {"path": "../../../blobs", "digest": "sha256:0", "size": 0}
    forged = {**marker_to_json(marker), "files": [*map(as_dict, marker.files), secret]}
    replace(served / "release.json", seal(forged))
    assert inspect(str(served), stamps).damage == ("../../../blobs missing",)


def test_a_changed_blob_is_not_served(tmp_path: Path, store: Path, stamps: StampBook) -> None:
    (store / of_bytes(b"graph")).write_bytes(b"other")
    folder = tmp_path / "new"
    folder.mkdir()
    with pytest.raises(Disturbed) as caught:
        assembled(folder, store, stamps)
    assert caught.value.code == "ArtifactDamaged"
    assert not (folder / "release.json").exists()


def test_a_configuration_that_loads_a_library_is_never_written(tmp_path: Path, store: Path, stamps: StampBook) -> None:
    evil = edited({"model.decoder.session_options.custom_ops_library": "evil.so"})
    (store / of_bytes(evil)).write_bytes(evil)
    folder = tmp_path / "new"
    folder.mkdir()
    with pytest.raises(PermanentError) as caught:
        assembled(folder, store, stamps, {**CONTENT, "genai_config.json": evil})
    assert caught.value.code == "GenaiConfigRefused"
    assert list(folder.iterdir()) == []


def test_looking_writes_nothing_and_reads_only_what_is_new(served: Path, stamps: StampBook) -> None:
    def stat() -> dict[str, int]:
        return {path.name: path.stat().st_ctime_ns for path in (served, *served.iterdir())}

    before = stat()
    assert inspect(str(served), stamps).damage == ()
    assert stat() == before
    assert all(stamps.known(str(path)) for path in served.iterdir() if path.name != "release.json")
