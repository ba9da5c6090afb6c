"""Passes over gates: one that comes together with another runtime, a bar that a commit relaxes, and what a pass could
not write down. The runtime is stood in for; the passes are real."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.host import durable
from reconciler.operations.repository import read_branch
from reconciler.sources.git.address import Remote
from reconciler.sources.git.runner import Credentials
from reconciler.sources.manifests import load
from tests.at_rest import opened
from tests.crash.stand_ins import StandInFoundry, options
from tests.git_server import Repository
from tests.machine import TestMachine

V = "capitals-int4"
PACKAGE = "foundry-local-sdk"
PARIS = "  gates: [prompts: {cases: [{prompt: France?, exact: Paris}]}]\n"
ROME = "  gates: [prompts: {cases: [{prompt: France?, exact: Rome}]}]\n"
LONGER = "  gates: [prompts: {cases: [{prompt: France?, exact: Paris}]}, endurance: {requests: 8}]\n"


class Dated(StandInFoundry):
    """Says which libraries answer, and counts what it is asked."""

    asked = 0

    def _ask(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        Dated.asked += 1
        return super()._ask(parameters)

    def _measure(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"peak_memory_bytes": 1 << 20, "runtime": {PACKAGE: INSTALLED}}


def _installed() -> str:
    from importlib import metadata

    return metadata.version(PACKAGE)


INSTALLED = _installed()


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare()
    signs = Signs()
    assert one_pass(one, signs).converged
    assert signs.seen >= 2  # each answer is a sign of life: golden prompts take longer than a watchdog waits
    assert set(one.index()) == {f"{V}:1"}
    return one


OPTIONS = replace(options(), make_runtime=lambda cache, scratch, log: Dated(cache, scratch=scratch, log=log))


class Signs(Reporter):
    seen = 0

    def alive(self) -> None:
        self.seen += 1


def one_pass(machine: TestMachine, reporter: Reporter | None = None) -> PassResult:
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
        return run_pass(held, load(str(machine.manifests)), reporter or Reporter(), OPTIONS)


def by_another_runtime(machine: TestMachine) -> None:
    records = opened(machine).records
    (one,) = records.measured().releases.values()
    assert one.load is not None
    records.save_measured(replace(one, load=replace(one.load, runtime={PACKAGE: "0.0.1"})))


def steps(result: PassResult) -> list[str]:
    return [f"{one.change.action} {one.change.reason} {one.status}" for one in result.outcomes]


@pytest.mark.parametrize("gates", [PARIS, LONGER])
def test_a_new_gate_and_another_runtime_are_measured_at_once(machine: TestMachine, gates: str) -> None:
    by_another_runtime(machine)
    machine.declare(more=gates)
    assert machine.plan() == [f"measure GateUnmeasured {V}", f"verify RuntimeChanged {V}"]
    result = one_pass(machine)
    assert steps(result) == ["measure GateUnmeasured done"]  # whose numbers are of today's runtime
    assert result.converged
    (measured,) = opened(machine).records.measured().releases.values()
    assert measured.load is not None
    assert measured.load.runtime == {PACKAGE: INSTALLED}
    assert list(measured.answers.values()) == ["Paris"]
    assert {"load", "prompts"} <= measured.times.keys()
    assert machine.plan() == []
    assert one_pass(machine).outcomes == ()
    assert set(machine.index()) == {f"{V}:1"}


def test_a_new_gate_that_fails_with_another_runtime_keeps_what_serves(machine: TestMachine) -> None:
    """There is nothing to go back to."""
    by_another_runtime(machine)
    machine.declare(more=ROME)
    result = one_pass(machine)
    assert [held.reason for held in result.remaining.held] == ["GateFailed"]
    assert set(machine.index()) == {f"{V}:1"}
    before = (machine.root / "records" / "events.jsonl").read_bytes()
    asked = Dated.asked
    for _ in range(20):
        again = one_pass(machine)
        assert (again.outcomes, again.remaining.changes) == ((), ())
    assert Dated.asked == asked
    assert (machine.root / "records" / "events.jsonl").read_bytes() == before


def test_the_same_content_under_another_name_is_rehearsed_once(machine: TestMachine) -> None:
    asked = Dated.asked
    for number in range(4):
        machine.declare(f"twin-{number}")
    assert one_pass(machine).converged
    assert Dated.asked == asked
    assert {f"twin-{number}-int4:1" for number in range(4)} < set(machine.index())
    known = opened(machine).records.measured().releases
    assert len(known) == 5
    assert {one.release for one in known.values()} == known.keys()
    assert len({str(one.load) for one in known.values()}) == 1


def test_another_template_is_other_content(machine: TestMachine) -> None:
    asked = Dated.asked
    machine.declare("other", template="llama3")
    assert one_pass(machine).converged
    assert Dated.asked > asked


def test_what_another_runtime_measured_is_not_taken_for_the_same_content(machine: TestMachine) -> None:
    by_another_runtime(machine)
    asked = Dated.asked
    machine.declare("twin")
    assert one_pass(machine).converged
    assert Dated.asked > asked


def test_what_was_measured_of_other_bytes_is_not_taken_for_the_same_content(machine: TestMachine) -> None:
    """A conversion of the same recipe that came out otherwise, as on a machine whose memory fails."""
    records = opened(machine).records
    ((build_key, digest),) = records.measured().artifacts.items()
    assert digest == opened(machine).store.artifacts()[build_key].digest
    before = records.measured()
    records.save_artifact(build_key, digest)  # the same again
    assert records.measured() == before
    records.save_artifact(build_key, "sha256:other")
    assert (records.measured().fidelity, records.measured().releases) == ({}, {})
    asked = Dated.asked
    machine.declare("twin")
    assert one_pass(machine).converged
    assert Dated.asked > asked


def test_a_bar_that_a_commit_relaxes_is_met_by_what_was_measured(tmp_path: Path, capitals: Path) -> None:
    """Through git: no conversion, no question, and the release is served."""
    machine = TestMachine(folder=tmp_path)
    repository = Repository(tmp_path / "fleet")
    machine.give_model(capitals)
    both = "  gates: [prompts: {cases: [{prompt: a, exact: Paris}, {prompt: b, exact: Rome}], minPass: %d}]\n"
    machine.declare(more=both % 2)
    repository.commit("two of two")
    first = one_pass_of(repository, machine)
    assert [one.code for one in first.failed] == ["GateFailed"]
    assert machine.index() == {}
    measured = (machine.root / "records" / "measurements.json").read_bytes()
    for _ in range(3):
        assert one_pass_of(repository, machine).outcomes == ()
    asked = Dated.asked
    machine.declare(more=both % 1)
    repository.commit("one of two is enough")
    second = one_pass_of(repository, machine)
    assert [one.change.action for one in second.outcomes] == ["verify", "register"]
    assert second.converged
    assert set(machine.index()) == {f"{V}:1"}
    assert Dated.asked == asked
    assert (machine.root / "records" / "measurements.json").read_bytes() == measured
    kinds = [json.loads(line)["type"] for line in machine.run("events", "-o", "json").out.splitlines()]
    steps = ("convert.done", "verify.failed", "verify.done", "register.done")
    assert {kind: kinds.count(kind) for kind in steps} == dict.fromkeys(steps, 1)


def one_pass_of(repository: Repository, machine: TestMachine) -> PassResult:
    """Over what is committed, as a daemon reads it."""
    origin = Remote(str(repository.folder), "main", "manifests", allow_file=True)
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
        parsed = read_branch(held, origin, Credentials(), accept=True).parsed
        assert parsed.problems == ()
        return run_pass(held, parsed, Reporter(), OPTIONS)


def test_what_could_not_be_recorded_is_said_and_is_no_convergence(
    machine: TestMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to do but to write down which revision was applied, and the disk is full."""
    text = (machine.manifests / "capitals.yaml").read_text()
    (machine.manifests / "capitals.yaml").write_text(text + "# a comment\n")
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held, monkeypatch.context() as full:
        full.setattr(durable, "_steps", 0)
        full.setattr(durable, "_fail_at", durable.fault("1:ENOSPC+"))
        result = run_pass(held, load(str(machine.manifests)), Reporter(), OPTIONS)
    assert "no space left" in result.unrecorded
    assert (result.converged, result.outcomes, result.plan.changes) == (False, (), ())
    again = one_pass(machine)
    assert (again.converged, again.unrecorded, again.outcomes) == (True, "", ())
