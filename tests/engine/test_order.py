"""Order between models and limits of retries, as passes carry them out; Olive and Foundry Local are stood in for."""

import json
from pathlib import Path

import pytest

from reconciler.domain.reasons import Reason
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.sources.manifests import load
from tests.at_rest import opened
from tests.crash.stand_ins import FAILS, options
from tests.machine import TestMachine

DEPENDS = "  dependsOn: [draft]\n"


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    return one


def one_pass(machine: TestMachine) -> PassResult:
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
        return run_pass(held, load(str(machine.manifests)), Reporter(), options())


def events(machine: TestMachine, *types: str) -> list[str]:
    found = [json.loads(line) for line in machine.run("events", "-o", "json").out.splitlines()]
    return [one["variant"] for one in found if one["type"] in types]


def reasons(result: PassResult) -> dict[str, Reason]:
    return {one.variant: one.reason for one in result.remaining.held}


def test_one_apply_goes_link_by_link_and_prunes_the_other_way(machine: TestMachine) -> None:
    machine.declare("alast", precisions="int8", more="  dependsOn: [target]\n")
    machine.declare("target", precisions="int8", more=DEPENDS)
    machine.declare("draft")
    for number in range(4):
        machine.declare(f"stays{number}")
    assert one_pass(machine).converged
    order = [one for one in events(machine, "register.done") if not one.startswith("stays")]
    assert order == ["draft-int4", "target-int8", "alast-int8"]
    assert opened(machine).records.dependencies() == {"alast": ("target",), "target": ("draft",)}
    for name in ("draft", "target", "alast"):
        (machine.manifests / f"{name}.yaml").unlink()
    result = one_pass(machine)
    assert result.converged
    assert [one for one in events(machine, "prune.done") if one] == ["alast-int8", "target-int8", "draft-int4"]
    assert opened(machine).records.dependencies() == {}


def test_a_dependency_that_fails_harms_only_its_dependents(machine: TestMachine, capitals: Path) -> None:
    machine.give_model(capitals, "bad/model")
    machine.give_model(capitals, "bad/x")
    (machine.manifests.parent / "bad" / FAILS).touch()
    machine.declare("draft", source="../bad/model", precisions="fp32")
    machine.declare("target", precisions="int8", more=DEPENDS)
    machine.declare("other")
    result = one_pass(machine)
    assert reasons(result) == {"draft-fp32": Reason.FAILED_BEFORE, "target-int8": Reason.DEPENDENCY_NOT_READY}
    assert set(machine.index()) == {"other-int4:1"}
    assert "DependencyNotReady" in machine.run("status").out
    machine.declare("draft")
    result = one_pass(machine)
    assert result.converged
    assert set(machine.index()) == {"other-int4:1", "draft-int4:1", "target-int8:1"}


def test_after_its_limit_a_model_is_stalled_until_somebody_asks(
    machine: TestMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.domain.errors import ConverterLost
    from tests.crash.stand_ins import StandInConverter

    tries: list[int] = []

    def lost(self: object, *said: object, **more: object) -> None:
        tries.append(1)
        raise ConverterLost("it was killed")

    monkeypatch.setattr(StandInConverter, "convert", lost)
    machine.declare(more="  retry: {limit: 1}\n")
    assert reasons(one_pass(machine)) == {"capitals-int4": Reason.BACKOFF_ACTIVE}
    for _ in range(3):  # `apply` does not wait for a back-off, but it keeps to the limit
        assert reasons(one_pass(machine)) == {"capitals-int4": Reason.RETRIES_EXCEEDED}
    assert len(tries) == 2
    found = opened(machine).records.conditions()["capitals-int4"]["Stalled"]
    assert (found.status, found.reason) == ("True", "RetriesExceeded")
    assert "2 times, and retry.limit is 1" in found.message
    assert "limit is 1" in machine.run("status").out
    assert machine.run("retry").code == machine.run("retry", "capitals", "--all").code == 64
    assert "nothing of other waits for another try" in machine.run("retry", "other").out
    assert "would be tried again" in machine.run("retry", "capitals", "--dry-run").out
    assert len(tries) == 2
    assert "convert is tried again" in machine.run("retry", "capitals").out
    assert "nothing of capitals waits for another try" in machine.run("retry", "capitals").out
    assert reasons(one_pass(machine)) == {"capitals-int4": Reason.BACKOFF_ACTIVE}
    assert reasons(one_pass(machine)) == {"capitals-int4": Reason.RETRIES_EXCEEDED}
    assert len(tries) == 4
    machine.declare(more="  retry: {limit: 9}\n")
    assert reasons(one_pass(machine)) == {"capitals-int4": Reason.BACKOFF_ACTIVE}
    machine.declare()
    monkeypatch.undo()
    assert one_pass(machine).converged
    assert opened(machine).records.failures() == ()


def test_explain_says_what_comes_first_and_how_often_it_is_tried(machine: TestMachine) -> None:
    machine.declare("draft")
    machine.declare("target", precisions="int8", more="  dependsOn: [draft]\n  retry: {limit: 3}\n")
    explained = machine.run("explain", "target").out
    assert "after      draft (dependsOn)" in explained
    assert "retries    at most 3" in explained
    assert "dependsOn" not in machine.run("explain", "draft").out
