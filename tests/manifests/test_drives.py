"""Paths with the letter of a drive: absolute on Windows, and nothing anywhere else."""

import os
import sys
from typing import Any

import pytest

from reconciler.domain.errors import InputRefused
from reconciler.manifests.parsed import Place
from reconciler.manifests.paths import ParseContext, locate

ON_WINDOWS = sys.platform == "win32"


def located(written: str, *roots: str) -> str:
    render: Any = None
    context = ParseContext(
        base=os.path.abspath("/fleet/manifests"),
        prefix="manifests",
        checkout=os.path.abspath("/fleet"),
        roots=tuple(map(os.path.normpath, roots)),
        place=lambda path: Place(path=path, kind="folder"),
        read=lambda path: None,
        render=render,
    )
    return locate(written, "phi.yaml", "folder", context)


@pytest.mark.skipif(not ON_WINDOWS, reason="on Windows only")
def test_a_drive_that_the_operator_allows() -> None:
    assert located("D:/models/phi", "D:/models") == r"D:\models\phi"
    assert located("d:/Models/phi", "D:/models") == r"d:\Models\phi"
    for written in ("D:/other/phi", "D:/models/../other", "E:/models/phi"):
        with pytest.raises(InputRefused, match="inside the repository"):
            located(written, "D:/models")


@pytest.mark.parametrize("written", ["D:models", r"D:\models\phi", *([] if ON_WINDOWS else ["D:/models/phi"])])
def test_another_spelling_is_refused(written: str) -> None:
    with pytest.raises(InputRefused, match="forward slashes"):
        located(written, "D:/models")
