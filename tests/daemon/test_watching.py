"""What of the runtimes' folders wakes the loop: names that come and go, and nothing else that programs write there."""

from pathlib import Path

import pytest

from reconciler.daemon.watching import _Groups
from reconciler.domain.machine.backends import BackendSettings
from reconciler.domain.machine.facts import Traits
from reconciler.engine.machine import open_machine


@pytest.mark.parametrize(
    ("place", "wakes"),
    [
        ("two/foundry.local.modelinfo.json", True),
        ("two/foundry.local.modelinfo.lock", False),
        ("two/foundry.modelinfo.json", False),
        ("one/reconciler", True),
        ("one/reconciler/capitals-int4-1", True),
        ("one/foundry.modelinfo.json", False),
        ("one/Microsoft", False),
    ],
)
def test_names_of_each_runtime_are_watched(place: str, wakes: bool, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    two.mkdir()
    (one / "reconciler").mkdir(parents=True)
    runtimes = BackendSettings(), BackendSettings(name="foundry-local-1", catalog=str(one))
    machine = open_machine(str(tmp_path / "root"), str(two), Traits(backends=runtimes))
    ((folders, _, reason_of),) = list(_Groups(machine, None, "").threads())
    assert str((tmp_path / place).parent) in folders
    assert (reason_of(str(tmp_path / place)) is not None) == wakes
