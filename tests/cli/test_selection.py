"""A machine serves what is for it: from the manifest to the plan."""

import shutil
from pathlib import Path

import pytest

from reconciler.engine.machine import machine_labels
from reconciler.host.facts import read_facts
from tests.at_rest import opened, serve
from tests.machine import TestMachine

ELSEWHERE = "  nodeSelector: {matchLabels: {reconciler.foundry/os: plan9}}\n"
HERE = "  nodeSelector: {matchLabels: {reconciler.foundry/name: %s}}\n"


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    for name in ("capitals", "rivers", "cities"):
        machine.declare(name)
    serve(machine)
    return machine


def test_what_is_for_others_goes_and_the_rest_stays(machine: TestMachine) -> None:
    machine.declare("capitals", more=ELSEWHERE)
    machine.declare("rivers", more=HERE % machine_labels(opened(machine))["reconciler.foundry/name"])
    done = machine.run("plan", "-o", "json")
    assert done.code == 0, done.err
    changes = [f"{c['action']} {c['reason']} {c['variant']}" for c in done.json()["changes"]]
    assert changes == ["prune NotSelected capitals-int4"]
    (other,) = done.json()["notSelected"]
    assert other["model"] == "capitals"
    assert other["message"].startswith("reconciler.foundry/os is ")
    assert "1 model is not for this machine" in machine.run("plan").out


def test_a_misspelt_selector_of_every_model_is_told_as_such(machine: TestMachine) -> None:
    for name in ("capitals", "rivers", "cities"):
        machine.declare(name, more="  nodeSelector: {matchLabels: {sight: berlin}}\n")
    plan = machine.run("plan").out
    assert "what is declared is not for this machine (capitals: sight is not set, wants berlin; " in plan


def test_a_source_that_only_others_have_is_no_problem_here(machine: TestMachine) -> None:
    machine.declare("huge", more=ELSEWHERE)
    assert machine.plan() == []
    (machine.folder / "fleet" / "elsewhere").mkdir()
    machine.declare("huge", source="../elsewhere", more=ELSEWHERE)
    assert machine.plan() == []
    assert machine.run("plan").code == 0
    shutil.rmtree(machine.folder / "fleet" / "elsewhere")


def test_the_facts_are_this_machines() -> None:
    facts = read_facts()
    assert facts.os in ("linux", "darwin", "windows")
    assert facts.arch
    assert facts.arch != "x86_64"
    assert facts.memory_bytes > 1 << 28
    assert facts.cpus >= 1
    assert "CPUExecutionProvider" in facts.execution_providers
