"""Three machines, a Rollout of two rings and reports in Debian's registry, from apply to apply: only Olive and Foundry
Local are stood in for."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.errors import RehearsalFailed
from reconciler.domain.machine_report import ReportSettings
from reconciler.engine.machine import Machine, locked_machine, open_machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.engine.rollouts import ring_reports
from reconciler.engine.rollouts.ring_reader import ring_reader
from reconciler.operations.report import Reporting
from reconciler.sources.manifests import load
from tests.crash.stand_ins import StandInFoundry, options
from tests.machine import TestMachine
from tests.machine_reports.documents import key_of, know
from tests.registry_server import debian_registry

NAMES = ("edge-1", "edge-2", "edge-3")
ROLLOUT = """\
---
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {name: edge}
spec: {rings: [{name: canary, machines: [edge-1, edge-2], readyShare: 1, soak: 500ms}, {name: broad}]}
"""


class Fleet:
    """Machines over one clone. `refusing` is a machine whose rehearsal fails."""

    def __init__(self, folder: Path, origin: str, capitals: Path) -> None:
        self.folder, self.refusing = folder, ""
        self.settings = ReportSettings(to=f"oci+{origin}/fleet/reports", keys=know(folder / "keys", NAMES))
        self.clone = TestMachine(folder=folder)
        self.clone.give_model(capitals)

    def declare(self, template: str) -> None:
        self.clone.declare(template=template, more=ROLLOUT)

    def apply(self, name: str) -> str:
        """One pass and one report, as a daemon makes them. The reason why it is not Ready, and the message."""
        folder = self.folder / name
        with locked_machine(str(folder / "root"), str(folder / "cache"), command="test") as held:
            machine = self._named(held, name)
            made = options(reports=ring_reader(machine))
            made = replace(made, make_runtime=self._runtime(name))
            result = run_pass(machine, load(str(self.clone.manifests)), Reporter(), made)
        self._reporting(name).send(unchanged=True)
        return self._told(result)

    def _told(self, result: PassResult) -> str:
        return "; ".join(f"{one.reason}: {one.message}" for one in result.remaining.held)

    def _runtime(self, name: str) -> Any:
        def make(cache: str, scratch: str, log: str) -> StandInFoundry:
            made = StandInFoundry(cache, scratch=scratch, log=log)
            if name == self.refusing:
                made._load = self._no_text  # type: ignore[method-assign]
            return made

        return make

    def _no_text(self, parameters: Any) -> dict[str, Any]:
        raise RehearsalFailed("the answer is no text")

    def _reporting(self, name: str) -> Reporting:
        folder = self.folder / name
        machine = self._named(open_machine(str(folder / "root"), str(folder / "cache")), name)
        return Reporting(machine, self.settings, key_of(name, self.folder))

    def _named(self, machine: Machine, name: str) -> Machine:
        return replace(machine, traits=replace(machine.traits, name=name, reports=self.settings))


@pytest.fixture
def fleet(tmp_path: Path, capitals: Path) -> Iterator[Fleet]:
    with debian_registry(tmp_path / "registry") as origin:
        yield Fleet(tmp_path, origin, capitals)


def test_the_second_ring_waits_then_opens_and_a_refusal_stops_it(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_reports, "MOST_READ", 1)  # of two canaries: the other's refusal is found by its mark
    fleet.declare("chatml")
    assert "AwaitingRing: ring broad of Rollout edge waits for ring canary: " in fleet.apply("edge-3")
    assert [fleet.apply(name) for name in NAMES[:2]] == ["", ""]
    assert "(soak)" in fleet.apply("edge-3")
    time.sleep(0.6)  # the soak
    assert fleet.apply("edge-3") == ""
    for refusing in NAMES[:2]:
        fleet.refusing = refusing
        fleet.declare({"edge-1": "phi3", "edge-2": "phi4"}[refusing])
        for name in NAMES[:2]:
            told = fleet.apply(name)
            assert bool(told) == (name == refusing)
        time.sleep(0.6)
        told = fleet.apply("edge-3")
        assert f"stopped in ring canary: {refusing} refused it: " in told
        assert "the answer is no text" in told
