"""A large prune on a real root: held, until git says that it is meant."""

from pathlib import Path

from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.reconciler import run_pass
from reconciler.operations.verify import verify
from reconciler.sources.manifests import load
from tests.at_rest import opened, serve
from tests.machine import TestMachine

CONFIRMATION = """\
apiVersion: reconciler.foundry/v1alpha1
kind: PruneConfirmation
metadata: {name: cleaning}
spec: {models: [a, b]}
"""


def test_an_unattended_machine_prunes_what_git_confirms(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    for name in "abc":
        machine.declare(name)
    serve(machine)
    for name in "ab":
        (machine.manifests / f"{name}.yaml").unlink()
    with locked_machine(str(machine.root), str(machine.cache), command="test") as at:
        held = run_pass(at, load(str(machine.manifests)), Reporter(), Options())
        assert {one.reason for one in held.remaining.held} == {"ConfirmationNeeded"}
        assert len(machine.index()) == 3
        (machine.manifests / "cleaning.yaml").write_text(CONFIRMATION)
        done = run_pass(at, load(str(machine.manifests)), Reporter(), Options())
        assert done.converged
    assert [*machine.index()] == ["c-int4:1"]
    assert verify(opened(machine)) == ()
