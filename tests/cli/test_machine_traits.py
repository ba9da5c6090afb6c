"""What the machine's configuration says holds for every verb that opens the machine, not for passes only."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.cli import configuration
from reconciler.cli.main import main
from reconciler.cli.verbs import rollback, status
from reconciler.domain.history import Rollback
from reconciler.domain.machine.facts import Traits
from reconciler.engine.machine import Machine
from reconciler.engine.options import Reporter
from reconciler.host.clock import now
from reconciler.operations.rollback import carry_out_now
from tests.at_rest import opened
from tests.machine import TestMachine

HEAD = "apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\n"
YEARS_AGO = "1600000000000000000"


@pytest.fixture
def config(machine: TestMachine) -> Iterator[str]:
    """The process keeps the configuration that it has loaded; the tests that follow have none."""
    path = machine.folder / "config.yaml"
    path.write_text(f"{HEAD}name: edge-7\nroot: {machine.root}\ncache: {machine.cache}\nquarantineFor: off\n")
    yield str(path)
    configuration.load(["--config="])


def test_status_and_rollback_open_the_machine_with_it(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Machine] = []
    monkeypatch.setattr(status, "_show", lambda machine, arguments: seen.append(machine))
    monkeypatch.setattr(rollback, "variants_named", lambda machine, name, **_: seen.append(machine) or [])
    assert main(["status", "--config", config]) == 0
    assert main(["rollback", "capitals", "--undo", "--config", config]) == 0
    assert [(one.traits.name, one.traits.quarantine_for) for one in seen] == [("edge-7", None)] * 2


def test_a_machine_that_cannot_convert_takes_what_others_built(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration.load([f"--config={config}"])
    assert configuration.traits().convert == "local"
    monkeypatch.setattr(configuration, "serves_only", lambda: "there is no PyTorch for Windows on Arm")
    assert configuration.traits().convert == "registry-only"


def test_a_roll_back_frees_nothing_that_the_configuration_keeps(machine: TestMachine) -> None:
    before = opened(machine)
    folder = Path(before.layout.at("quarantine", YEARS_AGO))
    folder.mkdir(parents=True)
    past = before.records.history("capitals-int4")[-1]
    rolled_back = Rollback(variant="capitals-int4", refused=(), to=past, reason="a test", since=now())

    def roll_back(quarantine_for: float | None) -> None:
        held = replace(opened(machine), traits=Traits(quarantine_for=quarantine_for))
        assert carry_out_now(held, rolled_back, None, Reporter()) == ()

    roll_back(None)
    roll_back(None)
    assert folder.exists()
    roll_back(0.0)
    assert not folder.exists()
