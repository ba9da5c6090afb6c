"""Durable writes on a real file system."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.domain.errors import DiskFull
from reconciler.domain.release import ALWAYS_COPIED
from reconciler.host import durable
from reconciler.host.stamps import StampBook
from tests.posix import make_link, needs_posix

BIG = os.urandom(1 << 10) * (ALWAYS_COPIED >> 10) + b"odd"
NAMES = ["plain", "mit Leerzeichen", "日本語-ünï", "-rf", "$(id)"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if shutil.which("mount") is None:
        pytest.skip("nothing can be mounted")
    disk = tmp_path / "small disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_replaced_at_once_and_nothing_is_left_beside_it(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    for data in (b"", b"one", BIG):
        durable.write_file(path, data)
        assert Path(path).read_bytes() == data
    assert os.listdir(tmp_path) == [name]


@needs_posix
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        durable.write_file(str(tmp_path / "file"), b"x")
        durable.write_file(str(tmp_path / "sealed"), b"x", mode=0o444)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "sealed").stat().st_mode) == 0o444


def test_a_line_after_a_torn_one_stands_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    durable.append_line(str(log), b"one")
    log.write_bytes(log.read_bytes() + b"tor")
    durable.append_line(str(log), b"two")
    assert log.read_bytes() == b"one\ntor\ntwo\n"


def test_a_folder_is_published_whole_and_its_name_must_be_free(tmp_path: Path) -> None:
    staged, final = tmp_path / "staging" / "x", tmp_path / "served" / "a b" / "1"
    (staged / "deep").mkdir(parents=True)
    (staged / "deep" / "file").write_bytes(b"x")
    durable.publish(str(staged), str(final))
    assert (final / "deep" / "file").read_bytes() == b"x"
    assert not staged.exists()
    staged.mkdir()
    with pytest.raises(FileExistsError):
        durable.publish(str(staged), str(final))
    assert (final / "deep" / "file").read_bytes() == b"x"


def test_what_is_unnamed_is_out_of_sight_and_can_be_freed(tmp_path: Path) -> None:
    path, trash = tmp_path / "served", str(tmp_path / "trash")
    (path / "deep" / "er").mkdir(parents=True)
    (path / "deep" / "er" / "file").write_bytes(b"x")
    (path / "link").symlink_to(tmp_path)
    moved = durable.unname(str(path), trash)
    assert not path.exists()
    assert os.path.dirname(moved) == trash
    durable.free(moved)
    durable.free(moved)
    assert os.listdir(trash) == []
    assert tmp_path.exists()


def test_links_are_deleted_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"x")
    doomed = tmp_path / "trash" / "x"
    doomed.mkdir(parents=True)
    (doomed / "folder").symlink_to(tmp_path / "precious", target_is_directory=True)
    (doomed / "file").symlink_to(tmp_path / "precious" / "file")
    durable.empty(str(tmp_path / "trash"))
    assert os.listdir(tmp_path / "trash") == []
    assert (tmp_path / "precious" / "file").read_bytes() == b"x"


@pytest.mark.parametrize("where", ["served/x", "trash/x/deep", "trash", "staging/../served", "linked/trash/x"])
def test_nothing_outside_trash_and_staging_is_ever_freed(tmp_path: Path, where: str) -> None:
    for folder in ("served/x", "trash/x/deep", "staging", "elsewhere/x"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "linked").mkdir()
    if where.startswith("linked"):
        make_link(tmp_path / "linked" / "trash", tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="refusing to delete"):
        durable.free(str(tmp_path / where))
    assert (tmp_path / "elsewhere" / "x").exists()


def test_a_small_file_is_copied_so_that_an_edit_cannot_reach_the_source(tmp_path: Path) -> None:
    source, served = tmp_path / "blob", tmp_path / "served"
    source.write_bytes(b"small")
    StampBook.empty().relink(str(source), str(served))
    served.chmod(0o644)
    served.write_bytes(b"edited")
    assert source.read_bytes() == b"small"


def test_a_big_file_shares_its_bytes(tmp_path: Path) -> None:
    source, served = tmp_path / "blob", tmp_path / "served"
    source.write_bytes(BIG)
    assert durable.share(str(source), str(served)) in ("reflink", "hardlink")
    assert served.read_bytes() == BIG


def test_across_file_systems_a_big_file_is_copied(tmp_path: Path, small_disk: Path) -> None:
    source = tmp_path / "blob"
    source.write_bytes(BIG)
    assert durable.share(str(source), str(small_disk / "served")) == ""
    StampBook.empty().relink(str(source), str(small_disk / "served"))
    assert (small_disk / "served").read_bytes() == BIG


def test_a_copy_tells_the_digest_of_what_was_written(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(BIG)
    found = durable.copy_hashed(str(source), str(tmp_path / "copy"))
    assert found == ("sha256:" + hashlib.sha256(BIG).hexdigest(), len(BIG))
    with pytest.raises(FileExistsError):
        durable.copy_hashed(str(source), str(tmp_path / "copy"))


def test_adopting_moves_a_file_but_copies_one_that_has_another_name(tmp_path: Path) -> None:
    alone, twice, other = tmp_path / "alone", tmp_path / "twice", tmp_path / "other"
    alone.write_bytes(BIG)
    twice.write_bytes(BIG)
    os.link(twice, other)
    inode = alone.stat().st_ino
    durable.adopt(str(alone), str(tmp_path / "a"))
    durable.adopt(str(twice), str(tmp_path / "b"))
    assert (tmp_path / "a").stat().st_ino == inode
    other.write_bytes(b"changed through its other name")
    assert (tmp_path / "b").read_bytes() == BIG
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o444


def test_a_mended_folder_holds_what_was_staged_and_foreign_files_are_kept_aside(tmp_path: Path) -> None:
    staged, final, aside = tmp_path / "staged", tmp_path / "final", tmp_path / "quarantine" / "1"
    for folder in (staged / "deep", final / "odd" / "deep"):
        folder.mkdir(parents=True)
    (staged / "whole").write_bytes(BIG)
    os.link(staged / "whole", final / "whole")
    (staged / "deep" / "missing").write_bytes(b"new")
    (staged / "changed").write_bytes(b"right")
    (final / "changed").write_bytes(b"wrong")
    (final / "foreign").write_bytes(b"mine")
    (final / ".DS_Store").write_bytes(b"the Finder's")
    (final / "odd" / "deep" / "too").write_bytes(b"mine too")
    make_link(final / "link", tmp_path)
    inode = (final / "whole").stat().st_ino
    durable.replace_files(str(staged), str(final), str(aside))
    ours = {"whole": BIG, "deep/missing": b"new", "changed": b"right"}
    assert _tree(final) == ours | {".DS_Store": b"the Finder's"}
    assert _tree(aside) == {"foreign": b"mine", "odd/deep/too": b"mine too"}
    assert (aside / "link").is_symlink()
    assert (final / "whole").stat().st_ino == inode


def test_a_file_where_a_folder_belongs_and_the_other_way_round_are_kept_aside(tmp_path: Path) -> None:
    staged, final, aside = tmp_path / "staged", tmp_path / "final", tmp_path / "quarantine"
    (staged / "folder").mkdir(parents=True)
    (staged / "folder" / "x").write_bytes(b"x")
    (staged / "file").write_bytes(b"y")
    (final / "file").mkdir(parents=True)
    (final / "file" / "inner").write_bytes(b"inner")
    (final / "folder").write_bytes(b"was a file")
    durable.replace_files(str(staged), str(final), str(aside))
    assert _tree(final) == {"folder/x": b"x", "file": b"y"}
    assert _tree(aside) == {"file/inner": b"inner", "folder": b"was a file"}


def test_a_full_disk_is_a_temporary_error_and_gives_its_bytes_back(small_disk: Path, tmp_path: Path) -> None:
    source = tmp_path / "big"
    source.write_bytes(BIG * 3)
    path = small_disk / "record.json"
    durable.write_file(str(path), b"last good")
    for write in (
        lambda: durable.write_file(str(path), BIG * 3),
        lambda: durable.copy_hashed(str(source), str(small_disk / "copy")),
        lambda: StampBook.empty().relink(str(source), str(small_disk / "placed")),
        lambda: durable.adopt(str(source), str(small_disk / "adopted")),
    ):
        with pytest.raises(DiskFull, match="no space left for") as full:
            write()
        assert "--root" in full.value.hint
        assert os.listdir(small_disk) == ["record.json"]
    assert path.read_bytes() == b"last good"


def test_on_a_full_disk_things_can_still_be_unnamed_and_freed(small_disk: Path) -> None:
    doomed = small_disk / "doomed"
    doomed.mkdir()
    (small_disk / "trash").mkdir()
    for size in (64 << 10, 1):
        with pytest.raises(DiskFull):
            _fill(doomed, size)
    durable.free(durable.unname(str(doomed), str(small_disk / "trash")))
    durable.write_file(str(small_disk / "record"), BIG)


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".record.json.0a1b2c3d.tmp").write_bytes(b"half")
    (tmp_path / "record.json").write_bytes(b"whole")
    durable.sweep_temporaries(str(tmp_path))
    durable.sweep_temporaries(str(tmp_path / "nowhere"))
    assert os.listdir(tmp_path) == ["record.json"]


def test_only_what_a_writer_of_ours_can_have_left_is_swept(tmp_path: Path) -> None:
    kept = ["notes.tmp", ".swp.tmp", "x.0a1b2c3.tmp", "x.0A1B2C3D.tmp", "x.0a1b2c3d.tmp.bak"]
    for name in [*kept, "a" * 64 + ".0a1b2c3d.tmp"]:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "foo.tmp").mkdir()
    (tmp_path / "folder.0a1b2c3d.tmp").mkdir()
    make_link(tmp_path / "link.0a1b2c3d.tmp", Path("notes.tmp"))
    durable.sweep_temporaries(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "foo.tmp", "folder.0a1b2c3d.tmp", "link.0a1b2c3d.tmp"])


@pytest.mark.parametrize("old", [None, b"the old content, still whole"])
def test_a_process_killed_before_any_step_of_a_write_leaves_the_old_or_the_new(
    tmp_path: Path, old: bytes | None
) -> None:
    new, path = b"the new content " * 1000, tmp_path / "file"
    program = f"from reconciler.host import durable; durable.write_file({str(path)!r}, {new!r})"
    for step in range(1, 30):
        if old is not None:
            path.write_bytes(old)
        environment = {**os.environ, "RECONCILER_CRASH_AT": str(step)}
        code = subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode
        found = path.read_bytes() if path.exists() else None
        assert found in (old, new)
        if code == 0:
            assert found == new
            assert step > 4
            return
        assert abs(code) == 9  # Windows knows no signals: there it is the exit code
        path.unlink(missing_ok=True)
    pytest.fail("it never ends")


def _fill(folder: Path, size: int) -> None:
    while True:
        durable.write_file(str(folder / os.urandom(8).hex()), b"x" * size)


def _tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
