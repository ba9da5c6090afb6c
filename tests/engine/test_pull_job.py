"""A pull as a pass carries it out: other bytes never reach the store, and what comes is rehearsed before it serves."""

import json
from pathlib import Path

import pytest

from reconciler.engine.planning import take_snapshot
from reconciler.registry.transfer import push
from reconciler.sources.manifests import load
from tests.at_rest import opened
from tests.machine import TestMachine
from tests.registry.places import REPOSITORY, client_of
from tests.registry_server import FakeRegistry, Fault, _Handler

CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
convert: {convert}
registries: [{{url: "{origin}/{repository}"}}]
"""


def pushed(machine: TestMachine, origin: str, folder: Path, data: bytes = b"no model" * 100) -> str:
    """Something that is no model, under the build key that this machine wants. The key."""
    [(key, source)] = take_snapshot(opened(machine), load(str(machine.manifests))).resolution.sources.items()
    store = opened(TestMachine(folder=folder / "builder")).store
    tree = folder / "tree"
    tree.mkdir()
    (tree / "model.onnx").write_bytes(data)
    artifact = store.put(key, str(tree), source.recipe.as_json())
    client = client_of(origin)
    push(client, str(Path(store.blob(artifact.digest)).parent), artifact.digest)
    client.session.close()
    return key


def swapped(handler: _Handler) -> bool:
    handler.other = b"evil one" * 100
    return False


@pytest.mark.parametrize("convert", ["registry-only", "prefer-registry"])
def test_other_bytes_are_refused(convert: str, tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    machine.declare()
    with FakeRegistry().running() as fake:
        key = pushed(machine, fake.origin, tmp_path)
        config = tmp_path / "machine.yaml"
        config.write_text(CONFIG.format(convert="registry-only", origin=fake.origin, repository=REPOSITORY))
        config.chmod(0o600)
        fake.faults.append(Fault(method="GET", path="/blobs/", act=swapped, times=100))
        done = machine.run("apply", RECONCILER_CONFIG=str(config))
        assert done.code == 3
        assert "DigestMismatch" in machine.run("events", "-o", "json").out
        assert opened(machine).store.artifacts() == {}
        config.write_text(CONFIG.format(convert=convert, origin=fake.origin, repository=REPOSITORY))
        plan = machine.run("plan", "-o", "json", RECONCILER_CONFIG=str(config)).json()
        if convert == "prefer-registry":
            assert next(one["action"] for one in plan["changes"]) == "convert"
            return
        assert [one["reason"] for one in plan["held"]] == ["BackoffActive"]
        fake.faults.clear()
        done = machine.run("apply", RECONCILER_CONFIG=str(config))
        assert done.code == 3
        assert set(opened(machine).store.artifacts()) == {key}
        assert machine.index() == {}  # it was rehearsed, and is no model
        types = [json.loads(line)["type"] for line in machine.run("events", "-o", "json").out.splitlines()]
        assert "pull.done" in types
        assert "convert.done" not in types
        assert not list((machine.root / "sources" / "registry").iterdir())
        left = machine.root / "sources" / "registry" / key.removeprefix("sha256:")
        left.mkdir()  # of a process that died after the store had it
        (left / "part").write_bytes(b"x")
        machine.run("apply", RECONCILER_CONFIG=str(config))
        assert not left.exists()
