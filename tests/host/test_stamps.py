"""The stamp book: what it may believe, and what it must not."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.domain.release import ALWAYS_COPIED
from reconciler.host import durable, stamps
from reconciler.host.codec import seal, unseal
from reconciler.host.stamps import StampBook

BIG = os.urandom(1 << 10) * (ALWAYS_COPIED >> 10) + b"odd"


@pytest.fixture
def book(tmp_path: Path) -> StampBook:
    return StampBook.load(str(tmp_path / "records" / "stamps.json"))


def settled(path: Path, data: bytes = BIG) -> str:
    """A file that was written a while ago."""
    path.write_bytes(data)
    time.sleep(3 * stamps.TICK / 1e9)
    return str(path)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_an_unchanged_file_is_not_read_again_even_by_another_process(tmp_path: Path, book: StampBook) -> None:
    path = settled(tmp_path / "model.onnx")
    assert book.known(path) is None
    assert book.digest(path) == digest_of(BIG)
    book.save()
    again = StampBook.load(str(tmp_path / "records" / "stamps.json"))
    assert again.known(path) == digest_of(BIG)


def _truncate(path: str) -> None:
    os.truncate(path, 100)


def _flip_a_byte(path: str) -> None:
    with open(path, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)[0]
        file.seek(5000)
        file.write(bytes([byte ^ 1]))


def _flip_and_restore_the_time(path: str) -> None:
    before = os.stat(path)
    _flip_a_byte(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace_by_a_copy_with_the_same_time(path: str) -> None:
    before = os.stat(path)
    changed = bytearray(Path(path).read_bytes())
    changed[0] ^= 1
    Path(path + ".new").write_bytes(changed)
    os.utime(path + ".new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(path + ".new", path)


EDITS = [_truncate, _flip_a_byte, _flip_and_restore_the_time, _replace_by_a_copy_with_the_same_time]


@pytest.mark.parametrize("edit", EDITS)
def test_every_edit_is_found(tmp_path: Path, book: StampBook, edit: Callable[[str], None]) -> None:
    path = settled(tmp_path / "file")
    old = book.digest(path)
    edit(path)
    assert book.known(path) is None
    assert book.digest(path) != old


@pytest.mark.parametrize("edit", EDITS)
def test_every_edit_of_a_served_file_is_found_right_after_it_was_linked(
    tmp_path: Path, book: StampBook, edit: Callable[[str], None]
) -> None:
    blob, served = settled(tmp_path / "blob"), str(tmp_path / "served")
    old = book.relink(blob, served)
    assert book.known(served) == old
    time.sleep(stamps.TICK / 1e9)
    edit(served)
    assert book.digest(served) != old


def test_a_file_that_is_still_warm_is_hashed_each_time(tmp_path: Path, book: StampBook) -> None:
    path = tmp_path / "warm"
    path.write_bytes(BIG)
    assert book.digest(str(path)) == digest_of(BIG)
    if time.time_ns() - path.stat().st_ctime_ns < stamps.TICK:
        assert book.known(str(path)) is None


def test_linking_a_blob_into_a_served_folder_reads_nothing_again(tmp_path: Path, book: StampBook) -> None:
    blob, served = settled(tmp_path / "blob"), str(tmp_path / "served")
    book.digest(blob)
    assert book.relink(blob, served) == digest_of(BIG)
    assert book.known(blob) == book.known(served) == digest_of(BIG)


def test_a_small_file_is_copied_and_known(tmp_path: Path, book: StampBook) -> None:
    blob, served = settled(tmp_path / "blob", b"small"), str(tmp_path / "served")
    assert book.relink(blob, served) == book.known(served) == digest_of(b"small")
    assert os.stat(served).st_ino != os.stat(blob).st_ino


def test_a_blob_that_was_damaged_before_it_is_linked_is_told_apart(tmp_path: Path, book: StampBook) -> None:
    for number, data in enumerate((b"small", BIG)):
        blob = settled(tmp_path / f"blob{number}", data)
        right = book.digest(blob)
        _flip_a_byte(blob) if data is BIG else Path(blob).write_bytes(b"smaLl")
        assert book.relink(blob, str(tmp_path / f"served{number}")) != right


def test_removing_one_name_keeps_the_others_known(tmp_path: Path, book: StampBook) -> None:
    blob, served = settled(tmp_path / "blob"), str(tmp_path / "served")
    book.relink(blob, served)
    book.remove(served)
    assert not os.path.exists(served)
    assert book.known(blob) == digest_of(BIG)


def test_freeing_a_served_folder_keeps_its_blobs_known(tmp_path: Path, book: StampBook) -> None:
    blob = settled(tmp_path / "blob")
    (tmp_path / "trash" / "x" / "deep").mkdir(parents=True)
    book.relink(blob, str(tmp_path / "trash" / "x" / "deep" / "model.onnx"))
    durable.free(str(tmp_path / "trash" / "x"), remove=book.remove)
    assert os.listdir(tmp_path / "trash") == []
    assert book.known(blob) == digest_of(BIG)


def test_an_edit_before_the_removal_of_another_name_is_not_carried_over(tmp_path: Path, book: StampBook) -> None:
    blob, served = settled(tmp_path / "blob"), str(tmp_path / "served")
    book.relink(blob, served)
    _flip_and_restore_the_time(blob)
    book.remove(served)
    assert book.known(blob) is None


def test_a_link_made_by_somebody_else_costs_a_hash_and_no_more(tmp_path: Path, book: StampBook) -> None:
    blob = settled(tmp_path / "blob")
    book.digest(blob)
    os.link(blob, tmp_path / "foreign")
    assert book.known(blob) is None
    assert book.digest(blob) == digest_of(BIG)


def test_renaming_a_folder_or_a_file_reads_nothing_again(tmp_path: Path, book: StampBook) -> None:
    (tmp_path / "staging").mkdir()
    path = settled(tmp_path / "staging" / "file")
    book.digest(path)
    os.rename(tmp_path / "staging", tmp_path / "served")
    assert book.known(str(tmp_path / "served" / "file")) == digest_of(BIG)
    book.move(str(tmp_path / "served" / "file"), str(tmp_path / "moved"))
    assert book.known(str(tmp_path / "moved")) == digest_of(BIG)


def test_what_we_wrote_ourselves_is_known_at_once(tmp_path: Path, book: StampBook) -> None:
    path = str(tmp_path / "file")
    durable.write_file(path, b"ours")
    book.vouch(path, digest_of(b"ours"))
    assert book.known(path) == digest_of(b"ours")


def test_the_full_check_trusts_no_stamp(tmp_path: Path, book: StampBook) -> None:
    path = settled(tmp_path / "file")
    book.digest(path)
    book.forget(path)
    book.forget(path)
    assert book.known(path) is None


def test_a_book_that_learned_nothing_is_not_written(tmp_path: Path, book: StampBook) -> None:
    path, saved = settled(tmp_path / "file"), tmp_path / "records" / "stamps.json"
    book.save()
    assert not saved.exists()
    book.digest(path)
    book.save()
    before = saved.stat()
    again = StampBook.load(str(saved))
    again.digest(path)
    again.save()
    assert saved.stat() == before


def test_a_damaged_book_is_ignored_wherever_it_is_cut_or_changed(tmp_path: Path, book: StampBook) -> None:
    path, saved = settled(tmp_path / "file"), tmp_path / "records" / "stamps.json"
    book.digest(path)
    book.save()
    data = saved.read_bytes()
    for length in range(len(data)):
        saved.write_bytes(data[:length])
        assert StampBook.load(str(saved)).known(path) is None
    for position in range(len(data)):
        saved.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert StampBook.load(str(saved)).known(path) is None
    saved.write_bytes(data)
    assert StampBook.load(str(saved)).known(path) == digest_of(BIG)


def test_the_book_forgets_files_that_are_gone(tmp_path: Path, book: StampBook) -> None:
    saved = str(tmp_path / "records" / "stamps.json")
    for name in ("stays", "goes"):
        book.digest(settled(tmp_path / name, name.encode()))
    book.save()
    (tmp_path / "goes").unlink()
    later = StampBook.load(saved)
    later.digest(settled(tmp_path / "new"))
    later.save()
    assert len(unseal(Path(saved).read_bytes())) == 2


def test_a_book_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "records").write_bytes(b"a file where the folder should be")
    book = StampBook.load(str(tmp_path / "records" / "stamps.json"))
    book.digest(settled(tmp_path / "file"))
    book.save()


@pytest.mark.parametrize("name", ["with space", "日本語", "line\nbreak", os.fsdecode(b"not utf-8 \xff")])
def test_any_name_a_file_system_allows_can_be_remembered(tmp_path: Path, book: StampBook, name: str) -> None:
    path = settled(tmp_path / name)
    book.digest(path)
    book.save()
    assert StampBook.load(str(tmp_path / "records" / "stamps.json")).known(path) == digest_of(BIG)


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path, book: StampBook) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            book.digest(str(path))


def test_a_book_of_no_sane_size_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "stamps.json"
    path.touch()
    os.truncate(path, 1 << 40)
    assert StampBook.load(str(path)).known(settled(tmp_path / "file")) is None


def test_a_seal_is_plain_json_that_carries_its_own_digest() -> None:
    value = {"name": "ünï", "list": [1, 2.5, None, True]}
    assert unseal(seal(value)) == value
    assert seal(value).startswith(b'{"sha256":"')


def test_a_big_book_loads_within_a_few_milliseconds(tmp_path: Path) -> None:
    path = str(tmp_path / "stamps.json")
    entries = {f"123456:17{n:017d}:17{n:017d}:{n}": [f"sha256:{n:064x}", f"/root/{n:060d}"] for n in range(1800)}
    durable.write_file(path, seal(entries))

    def seconds() -> float:
        began = time.process_time()
        StampBook.load(path)
        return time.process_time() - began

    # 4 ms here; the bench measures, this only catches a blunder. Other threads of a busy test process count too.
    assert min(seconds() for _ in range(3)) < 0.1
