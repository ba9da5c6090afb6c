"""Leaves tests out where an optional extra is not installed, without importing it to find out: Olive takes seven
seconds and half a gigabyte, in each process that collects tests."""

from importlib.util import find_spec

import pytest


def needs(package: str, extra: str) -> None:
    """For a test, or at the top of a file for all of it."""
    if find_spec(package) is None:
        pytest.skip(f"needs the {extra} extra", allow_module_level=True)
