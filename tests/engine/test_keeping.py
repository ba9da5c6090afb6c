"""Passes that do not wait, with a converter that works for as long as a test likes: what runs beside, what is dropped,
what is remembered. The runtime is the real one."""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.planning import take_snapshot
from reconciler.engine.reconciler import Reconciler, run_pass
from reconciler.sources.manifests import load
from tests.machine import TestMachine, put
from tests.waiting import PATIENCE, Slower, is_alive, seconds_until, until

# Out of a cage: what a test says to its converter, and hears from it, lies beside the source.
OPTIONS = Options(jobs=2, converter_module="tests.engine.waiting_worker", cage="off")


class World:
    """One machine whose passes a test makes by hand."""

    def __init__(self, machine: TestMachine, opened: Machine) -> None:
        self.machine = machine
        self.opened = opened
        self.woken = threading.Event()
        self.keeping = Reconciler(opened, Reporter(), OPTIONS, wake=self.woken.set)

    def run(self) -> PassResult:
        return self.keeping.run_pass(load(str(self.machine.manifests)))

    def apply(self, **options: bool) -> PassResult:
        more = replace(OPTIONS, **options)
        return run_pass(self.opened, load(str(self.machine.manifests)), Reporter(), more)

    def plan(self) -> list[str]:
        return [h.reason for h in take_snapshot(self.opened, load(str(self.machine.manifests))).plan.held]

    def say(self, word: str) -> None:
        (self.machine.manifests.parent / word).touch()

    def unsay(self, word: str) -> None:
        (self.machine.manifests.parent / word).unlink()

    def pids(self, name: str = "pids") -> list[int]:
        path = self.machine.manifests.parent / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def wait(self) -> None:
        assert self.woken.wait(PATIENCE)
        self.woken.clear()

    def conditions(self, variant: str = "capitals-int4") -> dict[str, str]:
        held = self.opened.records.conditions()[variant]
        return {kind: f"{one.status} {one.reason}" for kind, one in held.items()}


@pytest.fixture
def world(tmp_path: Path, capitals: Path) -> Iterator[World]:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    with locked_machine(str(machine.root), str(machine.cache), command="test") as opened:
        one = World(machine, opened)
        yield one
        one.keeping.close()
    assert not [pid for pid in one.pids() + one.pids("workers") if is_alive(pid)]
    assert os.listdir(opened.layout.staging) == []


def outcomes(result: PassResult) -> list[str]:
    return [f"{one.change.action} {one.status}" for one in result.outcomes]


def test_a_pass_does_not_wait_and_the_next_ones_keep_what_runs(world: World) -> None:
    world.say("wait")
    for _ in range(3):
        result = world.run()  # whoever waits here waits for ever
        assert [change.action for change in result.running] == ["convert"]
        assert not result.converged
        assert result.outcomes == ()
        assert world.conditions()["Reconciling"] == "True Converting"
        assert world.conditions()["Stalled"] == "False Progressing"
    until(world.pids)
    assert world.keeping.running() == result.running
    world.unsay("wait")
    world.wait()
    assert len(world.pids()) == 1
    until(lambda: not is_alive(world.pids("workers")[0]))  # nothing runs, so nobody is there
    result = world.run()
    assert outcomes(result) == ["convert done", "verify failed", "register skipped"]  # the graph is five bytes
    assert result.running == ()
    assert world.conditions()["Built"] == "True ArtifactHeld"
    assert world.conditions()["Verified"].startswith("False")


def test_what_the_plan_no_longer_wants_is_dead_within_3_seconds_and_the_rest_goes_on(world: World) -> None:
    world.say("wait")
    world.machine.declare(precisions="int4, int8")
    assert len(world.run().running) == 2
    until(lambda: len(world.pids()) == 2)
    world.machine.declare(precisions="int8")
    result = world.run()
    assert outcomes(result) == ["convert cancelled"]
    assert [change.variant for change in result.running] == ["capitals-int8"]
    assert seconds_until(lambda: sum(map(is_alive, world.pids())) == 1, "it is dead") < 3 * Slower.now().clock
    assert world.opened.records.failures() == ()
    assert not result.failed
    work = os.path.join(world.opened.layout.staging, "work")
    until(lambda: len(os.listdir(work)) == 2)  # the job, and what the converter can write:
    until(lambda: len(os.listdir(os.path.join(work, "converting"))) == 2)  # home, scratch
    assert len(set(world.pids("workers"))) == 1


def test_a_changed_recipe_replaces_what_runs_and_keeps_the_worker(world: World) -> None:
    world.say("wait")
    world.run()
    until(world.pids)
    world.machine.declare(more="  quantization: {blockSize: 64}\n")
    result = world.run()
    assert outcomes(result) == ["convert cancelled"]
    assert [change.variant for change in result.running] == ["capitals-int4"]
    assert seconds_until(lambda: not is_alive(world.pids()[0]), "it is dead") < 3 * Slower.now().clock
    until(lambda: len(world.pids()) == 2)
    assert len(set(world.pids("workers"))) == 1


def test_imports_for_nothing_are_ended(world: World) -> None:
    world.say("imports")
    world.run()
    until(lambda: world.pids("workers"))
    world.machine.declare(more="  suspend: true\n")
    result = world.run()
    assert seconds_until(lambda: not is_alive(world.pids("workers")[0]), "it is dead") < 3 * Slower.now().clock
    assert outcomes(result) == ["convert cancelled"]
    assert result.converged


def test_a_manifest_that_cannot_be_read_costs_no_conversion(world: World) -> None:
    world.say("wait")
    world.run()
    until(world.pids)
    path = world.machine.manifests / "capitals.yaml"
    good = path.read_text()
    put(path, "kind: [")
    result = world.run()
    assert len(result.running) == 1
    assert result.outcomes == ()
    put(path, good)
    assert len(world.run().running) == 1
    assert is_alive(world.pids()[0])


def test_twenty_passes_after_a_failure_are_one_event_and_an_edit_tries_again(world: World) -> None:
    world.say("fail")
    world.run()
    world.wait()
    result = world.run()
    assert outcomes(result) == ["convert failed"]
    for _ in range(20):
        result = world.run()
        assert result.outcomes == ()
        assert [hold.reason for hold in result.remaining.held] == ["FailedBefore"]
        assert result.next_wake is None
        assert not result.converged
        assert world.conditions()["Ready"] == world.conditions()["Stalled"].replace("True", "False")
    told = [event["type"] for event in world.opened.records.events()]
    assert told == ["convert.failed", "variant.stalled"]  # once each, after 21 passes
    assert world.plan() == ["FailedBefore"]
    assert outcomes(world.apply()) == []
    assert outcomes(world.apply(retry=True)) == ["convert failed"]
    world.machine.declare(more="  quantization: {blockSize: 64}\n")
    assert len(world.run().running) == 1
    world.wait()
    world.run()
    (failure,) = world.opened.records.failures()  # what nothing declares any more is forgotten
    assert failure.attempts == 1


def test_a_killed_converter_is_tried_again_later_and_at_once_for_who_asks(world: World) -> None:
    world.say("die")
    world.run()
    world.wait()
    result = world.run()
    assert outcomes(result) == ["convert failed"]
    assert result.outcomes[0].code == "ConverterLost"
    assert world.plan() == ["BackoffActive"]
    assert world.conditions()["Stalled"] == "False BackoffActive"
    assert result.next_wake is not None
    assert outcomes(world.run()) == []
    asked = world.apply()
    assert outcomes(asked) == ["convert failed"]
    assert not asked.converged
    (failure,) = world.opened.records.failures()
    assert (failure.attempts, failure.permanent) == (2, False)


def test_a_success_is_no_longer_a_failure(world: World) -> None:
    world.say("die")
    world.apply()
    world.unsay("die")
    assert outcomes(world.apply())[0] == "convert done"
    assert {one.action for one in world.opened.records.failures()} == {"verify"}


def test_closing_ends_everything_in_time_and_says_so(world: World) -> None:
    world.say("wait")
    world.run()
    until(world.pids)
    began = time.monotonic()
    world.keeping.close()
    assert time.monotonic() - began < 10 * Slower.now().clock  # what is promised of a signal
    assert not any(map(is_alive, world.pids() + world.pids("workers")))
    assert world.conditions()["Reconciling"] == "True ChangesLeft"
    assert [event["type"] for event in world.opened.records.events()] == ["convert.cancelled"]
    assert world.opened.records.failures() == ()


def test_a_damaged_memory_of_failures_is_set_aside(world: World) -> None:
    world.say("fail")
    world.apply()
    path = Path(world.opened.layout.records, "failures.json")
    path.write_text(path.read_text().replace("NaN", "inf"))
    assert world.opened.records.load().damaged == ("failures.json",)
    assert outcomes(world.apply()) == ["convert failed"]
    assert "NaN" in json.dumps([one.message for one in world.opened.records.failures()])


def compared(world: World) -> int:
    return len(world.pids("compared"))


def test_an_artifact_that_cannot_be_compared_is_kept_and_held_until_its_gates_do_without(world: World) -> None:
    world.say("uncompared")
    done = world.apply()
    assert outcomes(done) == ["convert done", "measure failed"]
    assert done.outcomes[1].code == "FidelityUnmeasured"
    assert world.conditions()["Built"] == "True ArtifactHeld"
    assert world.conditions()["Verified"] == "False FidelityUnmeasured"
    tries = compared(world)
    for _ in range(20):
        assert outcomes(world.run()) == []
    assert world.plan() == ["FailedBefore"]
    assert compared(world) == tries
    world.machine.declare(more="  gates: [fidelity: {skip: no memory}]\n")
    assert world.plan() == []
    assert outcomes(world.apply()) == ["verify failed", "register skipped"]  # the graph is five bytes
    assert len(world.pids()) == 1  # one conversion


def test_a_comparison_that_was_killed_is_tried_again_and_costs_no_conversion(world: World) -> None:
    world.say("die-comparing")
    done = world.apply()
    assert outcomes(done) == ["convert done", "measure failed"]
    assert done.outcomes[1].code == "FidelityUnmeasured"
    assert world.plan() == ["BackoffActive"]
    world.unsay("die-comparing")
    done = world.apply()
    assert outcomes(done)[0] == "measure failed"
    assert done.outcomes[0].code != "FidelityUnmeasured"  # the graph is five bytes
    assert len(world.opened.records.measured().fidelity) == 1  # kept, though something failed after it
    assert len(world.pids()) == 1


def test_a_measurement_does_not_hold_up_another_model_and_a_newer_commit_cancels_it(world: World) -> None:
    world.say("uncompared")
    world.apply()
    world.unsay("uncompared")
    world.say("wait-comparing")
    world.machine.declare(more="  gates: [fidelity: {maxMeanKL: 1}, endurance: {requests: 9}]\n")
    tries = compared(world)
    assert [change.action for change in world.run().running] == ["measure"]
    until(lambda: compared(world) == tries + 1)
    result = world.run()  # whoever waits here waits for ever
    assert [change.action for change in result.running] == ["measure"]
    assert world.conditions()["Reconciling"] == "True Measuring"
    world.machine.declare(more="  gates: [fidelity: {maxMeanKL: 1}, endurance: {requests: 10}]\n")
    result = world.run()
    assert outcomes(result) == ["measure cancelled"]
    assert [change.action for change in result.running] == ["measure"]
    assert seconds_until(lambda: not is_alive(world.pids("compared")[tries]), "it is dead") < 3 * Slower.now().clock
    until(lambda: compared(world) == tries + 2)
    world.keeping.close()
    assert not any(map(is_alive, world.pids("compared")))


def test_nothing_is_measured_beside_a_conversion(world: World) -> None:
    world.say("uncompared")
    world.apply()
    world.unsay("uncompared")
    world.say("wait")
    world.machine.declare(precisions="int4, int8", more="  gates: [endurance: {requests: 9}]\n")
    result = world.run()
    assert [(one.action, one.variant) for one in result.running] == [("convert", "capitals-int8")]
    world.unsay("wait")
    world.wait()
    result = world.run()
    assert outcomes(result)[0] == "convert done"
    assert {one.action for one in result.running} == {"measure"}


def test_who_only_looks_sees_what_is_converted_and_by_whom(world: World) -> None:
    """As another process would: `status` and `plan` take no lock and ask nobody."""
    world.say("wait")
    world.run()

    def working() -> Any:
        return world.machine.run("status", "-o", "json").json()["working"]

    until(lambda: working()["jobs"], seconds=60)
    held = working()
    assert (held["pid"], held["command"]) == (os.getpid(), "test")
    (job,) = held["jobs"]
    assert (job["action"], job["variant"]) == ("convert", "capitals-int4")
    assert 0 <= job["fraction"] <= 1
    line = rf"capitals-int4: converting \(pid {os.getpid()}, \d+ %, .*, since {job['since']}\)\n"
    assert re.search(line, world.machine.run("status").out)
    assert re.search(rf"\. {line}", world.machine.run("plan").out)
    world.keeping.close()
    until(lambda: working()["jobs"] == [], seconds=60)  # the job's own thread removes its folder
