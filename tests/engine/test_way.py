"""delete-then-build on a real root: what serves goes, its successor is begun; and what is left when that fails."""

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.machine.facts import StorageLimits, Traits
from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.planning import take_snapshot
from reconciler.engine.reconciler import run_pass
from reconciler.host.disk_usage import bytes_below
from reconciler.operations.verify import verify
from reconciler.sources.manifests import load
from tests.at_rest import opened, serve
from tests.machine import TestMachine

OPTIONS = Options(converter_module="tests.engine.waiting_worker", cage="off")
FIRST = "  disk: {strategy: delete-then-build}\n"


def outcomes(result: PassResult) -> list[str]:
    return [f"{one.change.action} {one.change.reason} {one.status}" for one in result.outcomes]


def narrow(machine: TestMachine, at: Machine) -> Machine:
    """With a quota that both do not fit into, and the new one alone does."""
    (convert,) = (c for c in take_snapshot(at, load(str(machine.manifests))).plan.changes if c.action == "convert")
    quota = (
        bytes_below(at.layout.root) + convert.cost.peak_disk_bytes - 150_000
    )  # more than the folder alone gives back
    return replace(at, traits=Traits(limits=StorageLimits(disk_quota=quota)))


@pytest.mark.parametrize("precision", ["int4", "int8"])
def test_what_serves_makes_way_and_after_a_failure_git_brings_it_back(
    tmp_path: Path, capitals: Path, precision: str
) -> None:
    """For another release of the same precision, and for another precision."""
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    serve(machine)
    held = {*opened(machine).store.artifacts()}
    wish = "  quantization: {blockSize: 64}\n"
    machine.declare(precisions=precision, more=wish)
    with locked_machine(str(machine.root), str(machine.cache), command="test") as wide:
        at = narrow(machine, wide)
        seen = take_snapshot(at, load(str(machine.manifests)))
        assert "DiskInsufficient" in [hold.reason for hold in seen.plan.held]  # side by side: nothing is touched
        assert run_pass(at, load(str(machine.manifests)), Reporter(), OPTIONS).outcomes == ()
        assert "capitals-int4:1" in machine.index()

        machine.declare(precisions=precision, more=wish + FIRST)
        (machine.manifests.parent / "fail").touch()
        result = run_pass(at, load(str(machine.manifests)), Reporter(), OPTIONS)
        assert outcomes(result)[:2] == ["prune MakesWay done", "prune DiskShort done"]
        assert (outcomes(result)[2].split()[::2], len(outcomes(result))) == (["convert", "failed"], 3)
        assert machine.index() == {}
        assert at.store.artifacts() == {}
        assert verify(opened(machine)) == ()
        held_back = take_snapshot(at, load(str(machine.manifests))).plan
        assert [hold.reason for hold in held_back.held] == ["FailedBefore"]

        (machine.manifests.parent / "fail").unlink()
        machine.declare(more=FIRST)  # git goes back
        result = run_pass(at, load(str(machine.manifests)), Reporter(), OPTIONS)
        assert outcomes(result)[0].split()[::2] == ["convert", "done"]
        assert {*at.store.artifacts()} == held
