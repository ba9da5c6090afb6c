"""Small files, whatever lies in their place."""

import errno
import os
from pathlib import Path

import pytest

from reconciler.host.reading import LIMIT, read_whole
from tests.posix import needs_posix


def test_a_file_is_read_to_its_last_byte(tmp_path: Path) -> None:
    for data in (b"", b"x", os.urandom(1 << 20)):
        (tmp_path / "file").write_bytes(data)
        assert read_whole(str(tmp_path / "file")) == data
        assert read_whole(str(tmp_path / "file"), limit=len(data)) == data


@pytest.mark.parametrize("size", [LIMIT + 1, 1 << 40])
def test_a_file_of_no_sane_size_is_refused_and_not_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", size)
    with pytest.raises(OSError, match="too large") as refused:
        read_whole(str(tmp_path / "sparse"))
    assert refused.value.errno == errno.EFBIG


@needs_posix
@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = "/dev/zero" if kind == "device" else str(tmp_path / "fifo")
    if kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file") as refused:
        read_whole(path)
    assert refused.value.errno == errno.EINVAL
