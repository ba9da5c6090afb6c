"""The demo judges every step by what it shows: ending well, it has proved the whole story. This machine's settings must
not reach it."""

from pathlib import Path

import pytest

from tests.machine import TestMachine

pytestmark = pytest.mark.slow


def test_the_demo_ends_well_whatever_the_machine_is_set_up_for(tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.manifests.mkdir(parents=True)
    elsewhere = {"RECONCILER_PATH": "/manifests", "RECONCILER_REPO": "https://localhost/none.git"}
    done = machine.run("demo", **elsewhere)
    assert done.code == 0, done.out + done.err
    assert "The capital of Slovenia is Ljubljana." in done.out
    assert "nothing is served by this reconciler" in done.out
    assert not machine.root.exists()
    assert not machine.cache.exists()
