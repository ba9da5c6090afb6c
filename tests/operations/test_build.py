"""Builders: their parts, and what they refuse before anything is converted. tests/e2e has one that builds."""

import json
from pathlib import Path

import pytest

from reconciler.operations.build import Shard
from tests.machine import TestMachine
from tests.registry.keys import key_pair
from tests.registry_server import FakeRegistry

CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
registries: [{{url: "{origin}/models/tiny", role: {role}}}]
"""


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare()
    return one


def configured(machine: TestMachine, origin: str, role: str = "push") -> str:
    path = machine.folder / "machine.yaml"
    path.write_text(CONFIG.format(origin=origin, role=role))
    path.chmod(0o600)
    return str(path)


def test_each_variant_is_in_one_part() -> None:
    variants = [f"m{n}-{precision}" for n in range(50) for precision in ("int4", "int8")]
    shards = [Shard(number=number, count=5) for number in range(1, 6)]
    assert all(sum(shard.has(one) for shard in shards) == 1 for one in variants)
    assert all(5 < sum(map(shard.has, variants)) < 40 for shard in shards)


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "1/99999"])
def test_what_is_no_part_is_refused(text: str, machine: TestMachine) -> None:
    done = machine.run("build", "--shard", text)
    assert done.code == 64
    assert "expected I/N" in done.err


def test_without_a_registry_to_push_to(machine: TestMachine) -> None:
    done = machine.run("build", RECONCILER_CONFIG=configured(machine, "http://127.0.0.1:9", "pull"))
    assert done.code == 64
    assert "role: push or both" in done.err


def test_what_cannot_be_pushed_is_not_begun(machine: TestMachine) -> None:
    with FakeRegistry(auth="basic").running() as fake:
        done = machine.run("build", RECONCILER_CONFIG=configured(machine, fake.origin))
    assert done.code == 1
    assert "models/tiny" in done.err
    assert "convert" not in machine.run("events").out


def test_what_is_not_in_this_part_is_not_asked_for(machine: TestMachine) -> None:
    with FakeRegistry().running() as fake:
        config = configured(machine, fake.origin)
        machine.declare(more="  suspend: true\n")
        results = [
            machine.run("build", "-o", "json", "--shard", f"{n}/2", RECONCILER_CONFIG=config).json() for n in (1, 2)
        ]
        assert len(fake.requests) == 1
    builds = [one for result in results for one in result["builds"]]
    assert [(one["variant"], one["status"]) for one in builds] == [("capitals-int4", "held")]
    assert json.dumps(results).count('"complete": false') == 1


def test_a_key_that_cannot_sign_is_refused_before_anything_is_built(machine: TestMachine) -> None:
    private, public = key_pair(machine.folder, "builder")
    config = configured(machine, "http://127.0.0.1:9")
    done = machine.run("build", "--signing-key", public, RECONCILER_CONFIG=config)
    assert done.code == 1
    assert f"{public} holds no private key" in done.err
    done = machine.run("build", "--signing-key", private, "--builder-id", "me", RECONCILER_CONFIG=config)
    assert done.code == 64
    assert "--builder-id wants a URI" in done.err


def test_only_what_is_for_a_machine_of_the_folder(machine: TestMachine) -> None:
    """A machine is known by its inventory; one that cannot be read is named, and the others count."""
    machine.declare(more="  suspend: true\n")
    machine.declare(
        "berlin", precisions="int8", more="  suspend: true\n  nodeSelector: {matchLabels: {site: berlin}}\n"
    )
    folder = machine.folder / "inventories"
    folder.mkdir()
    (folder / "edge-1.json").write_text(machine.run("inventory").out)
    with FakeRegistry().running() as fake:
        config = configured(machine, fake.origin)
        build = ("build", "-o", "json", "--for")
        done = machine.run(*build, str(folder), RECONCILER_CONFIG=config)
        assert [one["variant"] for one in done.json()["builds"]] == ["capitals-int4"]
        (folder / "edge-1.json").write_text("{")
        done = machine.run(*build, str(folder), RECONCILER_CONFIG=config)
        assert (done.code, done.json()["builds"], "edge-1.json" in done.err) == (3, [], True)
        named = json.loads(machine.run("inventory").out) | {"labels": {"site": "berlin"}}
        (folder / "edge-2.json").write_text(json.dumps(named))
        done = machine.run(*build, str(folder), RECONCILER_CONFIG=config)
        assert [one["variant"] for one in done.json()["builds"]] == ["berlin-int8", "capitals-int4"]
        assert machine.run(*build, "nowhere", RECONCILER_CONFIG=config).code == 64
