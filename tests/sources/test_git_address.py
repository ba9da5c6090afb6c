"""Addresses of repositories as Windows writes them; of all others tests/sources/test_git_source.py knows."""

import sys

import pytest

from reconciler.domain.errors import UsageError
from reconciler.sources.git.address import Remote

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="drives")


@pytest.mark.parametrize("written", [r"Q:\group\fleet.git", "Q:/group/fleet.git", "file:///Q:/group/fleet.git"])
def test_a_folder_of_a_drive_is_a_file_url(written: str) -> None:
    assert Remote(written, "main", "manifests", allow_file=True).url == "file:///Q:/group/fleet.git"


def test_a_drive_without_a_root_is_no_host_of_ssh() -> None:
    with pytest.raises(UsageError, match="expected a whole path") as refused:
        Remote("Q:fleet.git", "main", "manifests", allow_file=True)
    assert refused.value.hint == r"write Q:\fleet.git"
