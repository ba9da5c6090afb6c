"""A ready ONNX model beside its original: compared with it once, held to its bars, and what is not compared says so.
Converter and runtime are stood in for; the passes are real."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.reference import Comparison
from reconciler.domain.release import Recipe
from reconciler.engine import machine as engine_machine
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.model import inspect_source
from reconciler.sources.manifests import load
from tests.at_rest import opened
from tests.crash.stand_ins import StandInConverter, options
from tests.extras import needs
from tests.hub_server import COMMIT, HubServer
from tests.machine import TestMachine
from tests.ready_onnx import write_ready


class Comparing(StandInConverter):
    compared: tuple[tuple[str, str], ...] = ()  # the source's digest, and its folder

    def compare(self, recipe: Recipe, *said: Any, **more: Any) -> Comparison:
        Comparing.compared += ((recipe.source, said[0]),)
        return super().compare(recipe, *said, **more)


OPTIONS = replace(options(), make_converter=Comparing)
GATES = "  gates: [{fidelity: {minTop1Agreement: 0.85}}]\n"


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    Comparing.compared = ()
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals, "original")
    write_ready(tmp_path / "fleet" / "onnx")
    declare(one, "{path: ../original}")
    return one


def declare(machine: TestMachine, original: str, gates: str = GATES) -> None:
    path = machine.declare(template="source", more=gates)
    source = f"{{onnx: {{path: ../onnx}}, original: {original}}}"
    path.write_text(path.read_text().replace("{path: ../model}", source))


def one_pass(machine: TestMachine) -> PassResult:
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
        return run_pass(held, load(str(machine.manifests)), Reporter(), OPTIONS)


def steps(result: PassResult) -> list[str]:
    return [f"{one.change.action} {one.status}" for one in result.outcomes]


def verdicts(machine: TestMachine) -> dict[str, str]:
    (judged,) = opened(machine).records.judged().values()
    return {one.measure: one.message for one in judged.verdicts if one.gate == "fidelity"}


def test_it_is_compared_once_and_with_this_original(machine: TestMachine) -> None:
    assert machine.plan()[1] == "measure ReleaseMissing capitals-int4"
    assert steps(one_pass(machine)) == ["convert done", "measure done", "verify done", "register done"]
    original = machine.folder / "fleet" / "original"
    assert Comparing.compared == ((inspect_source(str(original), StampBook.empty()).digest, str(original)),)
    records = opened(machine).records
    (key,) = records.measured().fidelity
    assert [one.build_key for one in records.measured().releases.values()] == [key]
    assert (reference := records.reference(key)) is not None
    assert reference.build_key == key
    assert verdicts(machine)["top1Agreement"] == "top-1 agreement 0.9, at least 0.85 wanted"
    declare(machine, "{path: ../original}", GATES.replace("0.85", "0.95"))
    assert one_pass(machine).outcomes == ()  # judged by the numbers that are known
    assert "0.95 wanted" in verdicts(machine)["top1Agreement"]
    # Numbers of another original prove nothing of this one.
    config = original / "generation_config.json"
    config.write_text(config.read_text().replace("{", '{"top_k": 3, ', 1))
    assert steps(one_pass(machine))[:2] == ["convert done", "measure failed"]
    assert len(Comparing.compared) == 2


def test_one_that_is_named_later_and_rejects_leaves_what_serves_alone(machine: TestMachine) -> None:
    path = machine.manifests / "capitals.yaml"
    for warmth in (0.25, 0.5):  # of one release alone there is no history to go back in
        declare(machine, "{path: ../original}", f"  generation: {{temperature: {warmth}}}\n")
        path.write_text(path.read_text().replace(", original: {path: ../original}", ""))
        assert one_pass(machine).converged
    declare(machine, "{path: ../original}", GATES.replace("0.85", "0.95"))
    assert steps(one_pass(machine)) == ["convert done", "measure failed"]
    result = one_pass(machine)
    assert steps(result) == []
    assert [one.reason for one in result.plan.held] == ["GateFailed"]


def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    there = engine_machine.installed_versions
    monkeypatch.setattr(engine_machine, "installed_versions", lambda names: there(set(names) - {"torch"}))


def test_without_the_tools_the_gate_says_so(machine: TestMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    without_torch(monkeypatch)
    assert one_pass(machine).converged
    assert Comparing.compared == ()
    assert verdicts(machine) == {"fidelity": "not measured: torch must be installed to compare it with its original"}


@pytest.fixture
def hub(tmp_path: Path, capitals: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    needs("huggingface_hub", "hub")
    with HubServer().running() as server:
        server.give("org/original", capitals)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_one_of_the_hub_comes_for_the_comparison_alone(machine: TestMachine, hub: HubServer) -> None:
    shutil.rmtree(machine.folder / "fleet" / "original")
    declare(machine, f"{{huggingface: {{repo: org/original, revision: {COMMIT}}}}}")
    (problem,) = machine.run("plan", "-o", "json").json()["problems"]
    assert (problem["code"], problem["field"]) == ("HubNotLocked", "spec.source.original.huggingface")
    assert machine.run("lock").code == 0
    assert machine.plan() == ["fetch SourceMissing capitals-int4"]
    done = steps(one_pass(machine))
    assert done[:3] == ["fetch done", "convert done", "measure done"]
    assert done[-1] == "prune done"
    assert [os.path.basename(path) for _, path in Comparing.compared] != ["original"]
    assert not [one for one in (machine.root / "sources" / "hub").iterdir() if len(one.name) == 64]
    assert machine.plan() == []
    assert one_pass(machine).outcomes == ()


def test_without_the_tools_nothing_is_fetched(
    machine: TestMachine, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(machine, f"{{huggingface: {{repo: org/original, revision: {COMMIT}}}}}")
    assert machine.run("lock").code == 0
    without_torch(monkeypatch)
    assert steps(one_pass(machine)) == ["convert done", "measure done", "verify done", "register done"]
    assert verdicts(machine) == {"fidelity": "not measured: torch must be installed to compare it with its original"}
