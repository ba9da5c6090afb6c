"""`diff --against`: what real machines will do, from the reports that they wrote."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.machine.facts import Facts
from reconciler.engine.machine import locked_machine
from reconciler.engine.resolve import resolve
from reconciler.fleet.inventory import DiskSpace, Inventory
from reconciler.fleet.inventory_form import inventory_view, read_inventory
from reconciler.gates.prompts import PromptsGate
from reconciler.host.clock import now
from reconciler.sources.manifests import load
from tests.at_rest import serve
from tests.diff.repository import Fleet
from tests.machine import TestMachine
from tests.releases import measure, one_pass

PLENTY = Inventory(
    machine="plenty",
    generated=now(),
    reconciler="0.1.0",
    facts=Facts(os="linux", arch="amd64", memory_bytes=64 << 30, cpus=8),
    disk=DiskSpace(free_bytes=1 << 40, total_bytes=1 << 41),
)


@pytest.fixture
def fleet(tmp_path: Path, capitals: Path) -> Fleet:
    one = Fleet(tmp_path / "fleet")
    one.give_model(capitals)
    one.write("manifests/nothing.txt", "")
    one.git("tag", "base", one.commit())
    one.declare("capitals")
    one.commit()
    return one


def report(fleet: Fleet, inventory: Inventory) -> None:
    folder = fleet.folder / "inventories"
    folder.mkdir(exist_ok=True)
    (folder / f"{inventory.machine}.json").write_text(json.dumps(inventory_view(inventory)))


def groups(fleet: Fleet) -> list[Any]:
    found: list[Any] = fleet.view("base", "HEAD", "--against", "inventories")["machines"]
    return found


def names(group: Any) -> list[str]:
    return [machine["name"] for machine in group["machines"]]


def test_machines_to_which_the_same_happens_are_one_group(fleet: Fleet) -> None:
    for name in ("a", "b", "c"):
        report(fleet, replace(PLENTY, machine=name))
    (group,) = groups(fleet)
    assert names(group) == ["a", "b", "c"]
    assert [change["action"] for change in group["changes"]] == ["convert", "verify", "register"]
    assert group["failures"] == []
    assert "3 machines: a (report: 0 days old)" in fleet.diff("base", "--against", "inventories").out


@pytest.mark.parametrize(
    ("inventory", "kind"),
    [
        (replace(PLENTY, disk=DiskSpace(free_bytes=1000, total_bytes=1 << 41)), "disk"),
        (replace(PLENTY, facts=replace(PLENTY.facts, memory_bytes=1000)), "memory"),
        (replace(PLENTY, facts=replace(PLENTY.facts, execution_providers=())), "provider"),
    ],
)
def test_a_machine_that_will_fail_is_named_with_the_reason(fleet: Fleet, inventory: Inventory, kind: str) -> None:
    report(fleet, PLENTY)
    report(fleet, replace(inventory, machine="poor"))
    failing = next(group for group in groups(fleet) if group["failures"])
    assert names(failing) == ["poor"]
    assert [(one["variant"], one["kind"]) for one in failing["failures"]] == [("capitals-int4", kind)]
    for output in ("text", "markdown", "github"):
        assert "poor" in fleet.diff("base", "HEAD", "--against", "inventories", "-o", output).out


def test_a_model_for_a_gpu_fails_where_there_is_none(fleet: Fleet) -> None:
    cuda = "CUDAExecutionProvider"
    fleet.declare("capitals", more=f"  target: {{executionProvider: {cuda}}}\n")
    fleet.commit()
    report(fleet, PLENTY)
    found = (*PLENTY.facts.execution_providers, cuda)
    report(fleet, replace(PLENTY, machine="gpu", facts=replace(PLENTY.facts, execution_providers=found)))
    told = {name: group["failures"] for group in groups(fleet) for name in names(group)}
    assert told["gpu"] == []
    assert [(one["kind"], f"wants {cuda}" in one["message"]) for one in told["plenty"]] == [("provider", True)]


def test_a_folder_that_a_machine_does_not_allow(fleet: Fleet) -> None:
    fleet.declare("capitals", source="/models/phi")
    fleet.commit()
    report(fleet, PLENTY)
    report(fleet, replace(PLENTY, machine="able", source_roots=("/models",)))
    view = fleet.view("base", "HEAD", "--source-root", "/models", "--against", "inventories")
    told = {name: group["failures"] for group in view["machines"] for name in names(group)}
    assert told["able"] == []
    assert [one["kind"] for one in told["plenty"]] == ["notAllowed"]


def test_a_selector_says_which_machines_do_anything(fleet: Fleet) -> None:
    fleet.declare("capitals", more="  nodeSelector: {matchLabels: {site: here}}\n")
    fleet.commit()
    report(fleet, PLENTY)
    report(fleet, replace(PLENTY, machine="chosen", labels={"site": "here"}))
    told = {name: group["changes"] for group in groups(fleet) for name in names(group)}
    assert told["plenty"] == []
    assert [change["action"] for change in told["chosen"]] == ["convert", "verify", "register"]


def test_each_machine_chooses_its_precision(fleet: Fleet) -> None:
    """Where no machine is known, the machine decides; from its report, it is known what."""
    path = fleet.folder / "manifests" / "capitals.yaml"
    path.write_text(path.read_text().replace("[int4]", "auto"))
    fleet.commit()
    small = replace(PLENTY.facts, memory_bytes=256 << 20)
    report(fleet, replace(PLENTY, facts=replace(PLENTY.facts, cpus=1)))
    report(fleet, replace(PLENTY, machine="tiny", facts=small))
    view = fleet.view("base", "HEAD", "--against", "inventories")
    assert view["models"][0]["chooses"] == ["int8", "int4"]
    told = {name: group for group in view["machines"] for name in names(group)}
    assert {change["variant"] for change in told["plenty"]["changes"]} == {"capitals-int8"}
    assert told["plenty"]["chosen"][0]["message"].startswith("int8: ")
    assert told["tiny"]["changes"] == []
    (failure,) = told["tiny"]["failures"]
    assert (failure["kind"], "int4 would need" in failure["message"]) == ("memory", True)
    for output in ("text", "markdown"):
        out = fleet.diff("base", "HEAD", "--against", "inventories", "-o", output).out
        assert "each machine serves one of int8, int4" in out
        assert "precision of capitals: int8: " in out


def test_old_and_unreadable_reports(fleet: Fleet) -> None:
    report(fleet, replace(PLENTY, generated="2001-01-01T00:00:00Z"))
    report(fleet, replace(PLENTY, machine="odd", generated="yesterday"))
    (fleet.folder / "inventories" / "broken.json").write_text("{")
    done = fleet.diff("base", "HEAD", "--against", "inventories", "-o", "json")
    view = json.loads(done.out)
    assert done.code == 2
    assert [(p["code"], p["file"]) for p in view["problems"]] == [("InventoryInvalid", "inventories/broken.json")]
    told = {one["name"]: (one["old"], one["ageDays"] is None) for g in view["machines"] for one in g["machines"]}
    assert told == {"plenty": (True, False), "odd": (True, True)}
    github = fleet.diff("base", "HEAD", "--against", "inventories", "-o", "github").out
    assert "::warning file=inventories/odd.json::the report of odd is of unknown age!" in github


def test_a_machine_that_serves_it_already_does_nothing(tmp_path: Path, fleet: Fleet, capitals: Path) -> None:
    """The report of a real root: digests told from git are those that the machine knows its sources by."""
    machine = TestMachine(folder=tmp_path / "machine")
    machine.give_model(capitals)
    machine.declare("capitals")
    serve(machine)
    assert machine.plan() == []
    done = machine.run("inventory", "-o", "json")
    assert done.code == 0, done.err
    (fleet.folder / "inventories").mkdir()
    (fleet.folder / "inventories" / "real.json").write_text(done.out)
    (group,) = groups(fleet)
    assert group["changes"] == []
    fleet.declare("capitals", template="llama3")
    fleet.commit()
    (group,) = groups(fleet)
    assert [change["action"] for change in group["changes"]] == ["verify", "register", "retire"]


GATES = """\
  gates:
    - prompts: {cases: [{prompt: France?, exact: Paris}, {prompt: Italy?, exact: Rome}], minPass: %d}
    - load: {maxMemory: %s}
"""


def gated(machine: TestMachine, *answers: str, gates: str) -> Inventory:
    """The report of a real root, which serves and has answered these."""
    machine.declare("capitals", more=gates)
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
        (wanted,) = resolve(load(str(machine.manifests)), held.stamps).desired.wanted
        measure(held, wanted, peak=3 << 20)
        found = held.records.measured().releases[wanted.release.digest]
        said = dict(zip(wanted.gates.get(PromptsGate).questions, answers, strict=True))
        held.records.save_measured(replace(found, answers=said))
    one_pass(machine)
    return read_inventory(machine.run("inventory", "-o", "json").out.encode(), "real.json")


def test_what_changed_bars_will_say_is_told_from_what_machines_have_measured(
    tmp_path: Path, fleet: Fleet, capitals: Path
) -> None:
    machine = TestMachine(folder=tmp_path / "machine")
    machine.give_model(capitals)
    machine.declare("capitals")
    serve(machine)
    base = GATES % (1, "1Gi")
    real = gated(machine, "Paris", "Roma", gates=base)
    assert "Roma" not in json.dumps(inventory_view(real))
    fleet.declare("capitals", more=base)
    fleet.git("tag", "-f", "base", fleet.commit())
    fleet.declare("capitals", more=GATES % (2, "2Mi"))
    fleet.commit()
    assert real.measured is not None
    (one,) = real.measured
    assert one.load is not None
    for name, peak in (("small", 3 << 20), ("large", 4 << 20)):
        told = replace(one, load=replace(one.load, peak_memory_bytes=peak))
        report(fleet, replace(real, machine=name, measured=(told,)))
    report(fleet, replace(real, machine="silent", measured=None))
    view = fleet.view("base", "HEAD", "--against", "inventories")
    told, silent = view["machines"]
    assert names(told) == ["large", "small"]
    assert names(silent) == ["silent"]
    assert silent["gates"] == []
    assert {
        f"{g['gate']}.{g['measure']}": (g["before"]["status"], g["after"]["status"], g["low"], g["high"])
        for g in told["gates"]
    } == {
        "prompts.passed": ("Successful", "Failed", 1.0, 1.0),
        "load.peakMemory": ("Successful", "Failed", float(3 << 20), float(4 << 20)),
    }
    assert [held["reason"] for held in told["held"]] == ["GateFailed"]
    line = "prompts: 1 of 2 answered rightly, at least 2 wanted (ok -> failed)"
    range_ = "(3,145,728 to 4,194,304 on these machines) (ok -> failed)"
    for output in ("text", "markdown"):
        out = fleet.diff("base", "HEAD", "--against", "inventories", "-o", output).out
        assert f"gates of capitals-int4: {line}" in out
        assert range_ in out
        assert "spec.gates.prompts.minPass: 1 of 2 -> 2 of 2" in out
        assert "spec.gates.load.maxMemory: 1Gi -> 2Mi" in out
    github = fleet.diff("base", "HEAD", "--against", "inventories", "-o", "github").out
    assert "large will miss 2 more bars: capitals-int4: load" in github


def test_a_gate_that_a_commit_drops_or_adds(tmp_path: Path, fleet: Fleet, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path / "machine")
    machine.give_model(capitals)
    machine.declare("capitals")
    serve(machine)
    base = GATES % (2, "1Gi")
    report(fleet, replace(gated(machine, "Paris", "Roma", gates=base), machine="real"))
    fleet.declare("capitals", more=base)
    fleet.git("tag", "-f", "base", fleet.commit())
    fleet.declare("capitals", more="  gates: [endurance: {requests: 9}]\n")
    fleet.commit()
    out = fleet.diff("base", "HEAD", "--against", "inventories").out
    assert "prompts: 1 of 2 answered rightly, at least 2 wanted: no longer asked for (failed before)" in out
    assert "endurance: not measured yet (not asked for -> open)" in out
    assert "measure capitals-int4 (GateUnmeasured)" in out
