"""Folders in the cache of Foundry Local 0.5 to 1.x: whole or not there, mended in place, and nobody else's touched."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.backends.foundry_cache import dropped
from reconciler.backends.foundry_cache.cache_runtime import CacheRuntime, outside
from reconciler.domain.errors import CatalogBroken, PermanentError, RuntimeUnavailable
from reconciler.domain.observed import Registration, own_properties
from reconciler.host import durable
from reconciler.host.stamps import StampBook, stamp_of

OURS = own_properties(owner="me", release="sha256:0")
ID = "tiny-int4:3"
ROLES = {"prompt": "<|user|>{Content}<|assistant|>"}


@pytest.fixture(autouse=True)
def small_files_are_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "ALWAYS_COPIED", 1000)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "served" / "tiny-int4" / "3"
    folder.mkdir(parents=True)
    content = {"genai_config.json": "{}", "model.onnx": "g", "model.onnx.data": "w" * 5000, "release.json": "{}"}
    content["inference_model.json"] = json.dumps({"Name": ID, "PromptTemplate": ROLES, "Version": "3"})
    for name, text in content.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


def runtime(cache: Path, tmp_path: Path, stamps: StampBook | None = None) -> CacheRuntime:
    scratch = tmp_path / "root" / "staging" / "foundry"
    scratch.mkdir(parents=True, exist_ok=True)
    stamps = stamps or StampBook.empty()
    return CacheRuntime(str(cache), scratch=str(scratch), log=str(tmp_path / "log"), stamps=stamps)


def found(cache: Path) -> dict[str, Registration]:
    return {one.id: one for one in dropped.found_in(str(cache))}


def ours(cache: Path) -> Path:
    return cache / "reconciler" / "tiny-int4-3"


def test_the_folder_holds_what_the_runtime_reads_and_shares_the_weights(
    served: Path, cache: Path, tmp_path: Path
) -> None:
    stamps = StampBook.load(str(tmp_path / "stamps"))
    known = stamps.digest(str(served / "model.onnx.data"))
    running = runtime(cache, tmp_path, stamps)
    running.register(str(served), ID, OURS)
    assert found(cache) == {ID: Registration(id=ID, path=str(served), properties=OURS)}
    assert json.loads((ours(cache) / "inference_model.json").read_text()) == {"Name": ID, "PromptTemplate": ROLES}
    assert {one.name for one in ours(cache).iterdir()} == {
        *("genai_config.json", "model.onnx", "model.onnx.data", "inference_model.json", "reconciler.json")
    }
    assert os.path.samefile(ours(cache) / "model.onnx.data", served / "model.onnx.data")
    assert stamps.known(str(served / "model.onnx.data")) == known  # it needs not be read again
    assert json.loads((cache / "foundry.modelinfo.json").read_text())["savedAtUnix"] == 0
    running.unregister(ID)
    assert found(cache) == {}
    assert stamps.known(str(served / "model.onnx.data")) == known
    assert sorted(one.name for one in cache.iterdir()) == ["foundry.modelinfo.json"]
    assert sorted(one.name for one in cache.parent.iterdir()) == ["models"]


def test_a_catalog_that_the_runtime_has_made_is_left_as_it_is(served: Path, cache: Path, tmp_path: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "foundry.modelinfo.json").write_text("its own")
    runtime(cache, tmp_path).register(str(served), ID, OURS)
    assert (cache / "foundry.modelinfo.json").read_text() == "its own"


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a small file edited": (lambda f: edit(f / "genai_config.json"), "genai_config.json changed"),
    "the name edited": (lambda f: edit(f / "inference_model.json"), "inference_model.json changed"),
    "the name gone": (lambda f: (f / "inference_model.json").unlink(), "inference_model.json missing"),
    "weights gone": (lambda f: (f / "model.onnx.data").unlink(), "model.onnx.data missing"),
    "a link in the place of a file": (
        lambda f: ((f / "model.onnx").unlink(), (f / "model.onnx").symlink_to("/etc/hostname")),
        "model.onnx changed",
    ),
}


def edit(path: Path) -> None:
    path.chmod(0o644)
    path.write_text("{}  ")


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_seen_and_mended_in_its_place(name: str, served: Path, cache: Path, tmp_path: Path) -> None:
    damage, message = DAMAGE[name]
    running = runtime(cache, tmp_path)
    running.register(str(served), ID, OURS)
    whole = os.stat(ours(cache))
    damage(ours(cache))
    assert found(cache)[ID].damage == (f"{message} in the cache",)
    running.register(str(served), ID, OURS)
    assert found(cache)[ID].damage == ()
    assert os.stat(ours(cache)).st_ino == whole.st_ino
    assert not os.path.exists(outside(str(cache), running.scratch))


def test_what_others_have_there_is_never_touched(served: Path, cache: Path, tmp_path: Path) -> None:
    """A model of the same name elsewhere, a folder in our place, one that our own was copied to."""
    running = runtime(cache, tmp_path)
    elsewhere = cache / "Microsoft" / "tiny" / "v1"
    for folder in (elsewhere, ours(cache)):
        shutil.copytree(served, folder)
        with pytest.raises(PermanentError) as refused:
            running.register(str(served), ID, OURS)
        assert refused.value.code == "AlreadyRegistered"
        assert str(folder) in str(refused.value)
        running.unregister(ID)
        assert found(cache)[ID] == Registration(id=ID, path=str(folder))
        shutil.rmtree(folder)
    running.register(str(served), ID, OURS)
    shutil.move(ours(cache), cache / "mine")
    ours(cache).symlink_to(cache / "mine")
    assert {one.owner for one in dropped.found_in(str(cache))} == {""}
    running.unregister(ID)
    assert ours(cache).is_symlink()
    assert found(cache)[ID].owner == ""  # a link in our place, and a folder that is not where we put ours
    assert (cache / "mine" / "model.onnx").exists()


def test_what_others_put_into_our_folder_stays(served: Path, cache: Path, tmp_path: Path) -> None:
    running = runtime(cache, tmp_path)
    running.register(str(served), ID, OURS)
    (ours(cache) / "notes").mkdir()
    (ours(cache) / "notes" / "mine.txt").write_text("mine")
    running.unregister(ID)
    assert found(cache) == {}
    assert [one.name for one in ours(cache).rglob("*") if one.is_file()] == ["mine.txt"]


NAMES = {"a:7": "a:7", "a": "a:0", "a:x": "", "": "", "b:99999999999": ""}


def test_others_are_found_as_the_runtime_finds_them(cache: Path) -> None:
    for number, name in enumerate(NAMES):
        folder = cache / "p" / "q" / str(number)
        folder.mkdir(parents=True)
        (folder / "genai_config.json").touch()
        (folder / "inference_model.json").write_text(json.dumps({"Name": name}))
    for name, text in {"torn": "{", "list": "[]", "none": "{}"}.items():
        (cache / name).mkdir()
        (cache / name / "genai_config.json").touch()
        (cache / name / "inference_model.json").write_text(text)
    coming = cache / "p" / "q" / "0"
    assert set(found(cache)) == {identity for identity in NAMES.values() if identity}
    (coming / "download.tmp").touch()
    assert set(found(cache)) == {"a:0"}


def test_a_cache_that_cannot_be_read_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CatalogBroken):
        dropped.found_in(str(tmp_path / "file"))
    assert dropped.found_in(str(tmp_path / "none")) == ()


class Killed(BaseException):
    pass


def at_each_step(monkeypatch: pytest.MonkeyPatch, prepare: Callable[[], None], act: Callable[[], None]) -> int:
    """Ends `act` before its 1st, 2nd, ... step on the disk, until it gets through. `prepare` looks at what is left."""
    number = 0
    while True:
        number, taken = number + 1, 0

        def step(name: str) -> None:
            nonlocal taken
            taken += 1
            if taken == number:  # noqa: B023 - used within the round
                raise Killed

        prepare()
        with monkeypatch.context() as patched:
            patched.setattr(durable, "_step", step)
            try:
                act()
            except Killed:
                continue
            return number


def test_one_that_dies_anywhere_leaves_a_whole_folder_or_none(
    served: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Putting in, mending and taking away; whoever comes next finishes it and leaves nothing behind."""

    def again() -> None:
        assert all(not one.damage for one in found(cache).values())
        runtime(cache, tmp_path).unregister(ID)
        assert not ours(cache).exists()

    def put() -> None:
        assert all(not one.damage for one in found(cache).values())
        runtime(cache, tmp_path).register(str(served), ID, OURS)

    def damaged() -> None:
        runtime(cache, tmp_path).register(str(served), ID, OURS)
        assert found(cache)[ID].damage == ()
        (ours(cache) / "inference_model.json").unlink()
        edit(ours(cache) / "genai_config.json")

    assert at_each_step(monkeypatch, again, put) > 20
    assert at_each_step(monkeypatch, put, again) > 8
    assert at_each_step(monkeypatch, damaged, lambda: runtime(cache, tmp_path).register(str(served), ID, OURS)) > 8
    put()
    again()
    scratch = runtime(cache, tmp_path).scratch
    assert not os.path.isdir(f"{scratch}/staging") or os.listdir(f"{scratch}/staging") == []


def test_a_cache_on_another_disk_is_given_what_is_whole_from_beside_it(
    served: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = runtime(cache, tmp_path)
    cache.mkdir(parents=True)
    real = os.stat

    def elsewhere(path: str) -> os.stat_result:
        status = real(path)
        if not str(path).startswith(str(cache.parent)):
            return status
        return os.stat_result((*status[:2], status.st_dev + 1, *status[3:]))

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda path, **_: elsewhere(path))
        beside = dropped_beside(cache, running)
    assert beside == f"{outside(str(cache), running.scratch)}/staging"
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda path, **_: other_device(real(path), str(path) == str(cache)))
        with pytest.raises(RuntimeUnavailable, match="no folder of ours"):
            dropped_beside(cache, running)


def other_device(status: os.stat_result, other: bool) -> os.stat_result:
    return os.stat_result((*status[:2], status.st_dev + other, *status[3:]))


def dropped_beside(cache: Path, running: CacheRuntime) -> str:
    from reconciler.backends.foundry_cache.cache_runtime import beside_of

    return beside_of(str(cache), running.scratch)


def rot(folder: Path, name: str) -> None:
    """A byte changes and no time does: the mark is told the stamp that the file has now."""
    edit(folder / name)
    mark = dropped._read_mark((folder / dropped.MARK).read_bytes())
    stamp = stamp_of((folder / name).stat())
    files = [replace(one, stamp=stamp) if one.path == name else one for one in mark.files]
    (folder / dropped.MARK).chmod(0o644)
    (folder / dropped.MARK).write_bytes(dropped._sealed(mark.id, mark.path, mark.properties, files))


def test_rot_in_a_copy_is_found_by_whoever_reads_every_byte(served: Path, cache: Path, tmp_path: Path) -> None:
    runtime(cache, tmp_path).register(str(served), ID, OURS)
    rot(ours(cache), "model.onnx")
    assert found(cache)[ID].damage == ()
    (registration,) = dropped.found_in(str(cache), every_byte=True)
    assert registration.damage == ("model.onnx changed in the cache",)
