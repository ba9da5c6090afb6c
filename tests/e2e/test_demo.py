"""The demo judges every step by what it shows: ending well, it has proved the whole story. This machine's settings must
not reach it. At night its commands are new processes, as a user has them."""

import os
from pathlib import Path

import pytest

from tests import forked
from tests.machine import TestMachine
from tests.trust import NIGHTLY

BESIDE_OLIVE = "" if NIGHTLY else Path(__file__).with_name("demo_beside_olive.py")

pytestmark = pytest.mark.slow


def test_the_demo_ends_well_whatever_the_machine_is_set_up_for(tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.manifests.mkdir(parents=True)
    elsewhere = {"RECONCILER_PATH": "/manifests", "RECONCILER_REPO": "https://localhost/none.git"}
    environment = os.environ | machine.environment() | elsewhere
    done = forked.run(["demo"], machine.folder / "fleet", environment, 300, BESIDE_OLIVE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The capital of Slovenia is Ljubljana." in done.stdout
    assert "nothing is served by this reconciler" in done.stdout
    assert not machine.root.exists()
    assert not machine.cache.exists()
