"""The mark of tests that need what Windows has not: signals, modes, FIFOs, open files that can be renamed."""

import sys

import pytest

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")
