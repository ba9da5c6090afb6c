"""The owner mark of a root."""

from pathlib import Path

import pytest

from reconciler.domain.errors import PermanentError
from reconciler.domain.layout import Layout
from reconciler.host.ownership import make_owner, read_owner


def test_a_root_that_never_made_anything_has_no_mark(tmp_path: Path) -> None:
    assert read_owner(Layout(str(tmp_path / "nowhere"))) == ""


def test_a_mark_is_drawn_once_and_no_two_roots_share_one(tmp_path: Path) -> None:
    one, two = Layout(str(tmp_path / "one")), Layout(str(tmp_path / "two"))
    mark = make_owner(one)
    assert len(mark) == 32
    assert make_owner(one) == read_owner(one) == mark
    assert make_owner(two) != mark


@pytest.mark.parametrize("content", [b"", b"0" * 31, b"0" * 33, b"g" * 32, b"\xff" * 32, b"0" * 32 + b"\n\n"])
def test_an_unreadable_mark_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    layout = Layout(str(tmp_path))
    Path(layout.owner).write_bytes(content)
    with pytest.raises(PermanentError, match="does not hold an owner mark") as error:
        make_owner(layout)
    assert "release.json" in error.value.hint
    assert Path(layout.owner).read_bytes() == content
