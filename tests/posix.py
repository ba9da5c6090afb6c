"""The mark of tests that need what Windows has not: signals, modes, FIFOs, open files that can be renamed."""

import sys
from pathlib import Path

import pytest

ON_WINDOWS = sys.platform == "win32"
needs_posix = pytest.mark.skipif(ON_WINDOWS, reason="needs POSIX")


def make_link(path: Path, target: Path) -> None:
    """A symbolic link. Skips the test where there is none afterwards: Wine says that it made one."""
    path.symlink_to(target)
    if not path.is_symlink():
        pytest.skip("no symbolic links here")
