"""Built once, served elsewhere: one root builds and pushes to Debian's registry, another one may only pull."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.relay import Relay
from reconciler.registry.signing_keys import read_id
from tests.cli.test_lock import declare
from tests.extras import needs
from tests.hub_server import HubServer
from tests.machine import TestMachine
from tests.registry.keys import key_pair
from tests.registry_server import FakeRegistry, debian_registry

pytestmark = pytest.mark.slow

V = "capitals-int4"
QUESTION = "What is the capital of Slovenia?"
CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
convert: {convert}
registries: [{{url: "{origin}/models/tiny", role: {role}}}]
"""
TRUSTS = 'trust: [{{repository: "127.0.0.1:*/models/*", keys: [{{file: "{key}"}}]}}]\n'


Fleet = tuple[TestMachine, TestMachine, Relay, contextlib.ExitStack]


@pytest.fixture
def fleet(tmp_path: Path, capitals: Path) -> Iterator[Fleet]:
    """Builder, edge, the relay between the edge and the registry, and what ends that. The edge takes what the builder
    signed and nothing else."""
    machines = [TestMachine(folder=tmp_path / name) for name in ("builder", "edge")]
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(debian_registry(tmp_path / "registry"))
        relay = stack.enter_context(Relay(int(origin.rpartition(":")[2])).running())
        _, public = key_pair(tmp_path, "builder")
        more = ("", TRUSTS.format(key=public))
        for machine, convert, role in zip(machines, ("local", "registry-only"), ("push", "pull"), strict=True):
            origin = origin if machine is machines[0] else f"http://127.0.0.1:{relay.port}"
            machine.folder.mkdir()
            machine.give_model(capitals)
            machine.declare()
            text = CONFIG.format(convert=convert, role=role, origin=origin) + more[machine is machines[1]]
            config = machine.folder / "machine.yaml"
            config.write_text(text)
            config.chmod(0o600)
        yield machines[0], machines[1], relay, stack


def run(machine: TestMachine, *arguments: str, codes: tuple[int, ...] = (0,), **environment: str) -> str:
    done = machine.run(*arguments, RECONCILER_CONFIG=str(machine.folder / "machine.yaml"), **environment)
    assert done.code in codes, done.out + done.err
    return done.out


def planned(machine: TestMachine) -> tuple[list[str], list[dict[str, Any]]]:
    plan = json.loads(run(machine, "plan", "-o", "json"))
    return [change["action"] for change in plan["changes"]], plan["held"]


def events(*machines: TestMachine) -> list[str]:
    return [json.loads(line)["type"] for one in machines for line in run(one, "events", "-o", "json").splitlines()]


def test_a_fleet_converts_once(fleet: Fleet) -> None:
    builder, edge, relay, registry = fleet
    actions, [held] = planned(edge)
    assert (actions, held["reason"]) == ([], "AwaitingBuild")
    assert "sha256:" in held["message"]
    assert "AwaitingBuild" in run(edge, "apply", codes=(3,))

    builder.declare(more="  gates: [fidelity: {maxMeanKL: 0}]\n")
    [refused] = json.loads(run(builder, "build", "-o", "json", codes=(3,)))["builds"]
    assert (refused["status"], "mean KL" in refused["message"]) == ("held", True)
    assert planned(edge)[1] == [held]  # a gate rejects it, and nothing was pushed
    builder.declare()
    built = json.loads(run(builder, "build", "-o", "json"))["builds"]
    assert [(one["variant"], one["status"]) for one in built] == [(V, "pushed")]
    assert builder.index() == {}
    again = json.loads(run(builder, "build", "-o", "json"))["builds"]
    assert [one["status"] for one in again] == ["there"]
    signed_afterwards(builder, edge)

    plan = json.loads(run(edge, "plan", "-o", "json"))
    pull = plan["changes"][0]
    assert pull["action"] == "pull"
    assert pull["buildKey"] == built[0]["buildKey"]
    assert pull["cost"]["downloadBytes"] == pull["cost"]["diskBytes"] > 0
    assert "+ pull" in run(edge, "plan")
    signer = read_id(str(builder.folder.parent / "builder.pub"))
    assert pull["after"]["signedBy"] == signer
    run(edge, "apply")
    assert set(edge.index()) == {f"{V}:1"}
    assert "Ljubljana" in run(edge, "ask", V, QUESTION)
    status = json.loads(run(edge, "status", "-o", "json"))
    assert [one["origin"]["signedBy"] for one in status["variants"]] == [signer]
    assert [one["status"] for one in status["conditions"] if one["type"] == "BuildsTrusted"] == ["True"]
    assert f"signed by {signer}" in run(edge, "history", V)
    done = events(builder, edge)
    assert [done.count(one) for one in ("convert.done", "pull.done", "measure.done")] == [1, 1, 0]
    gates = json.loads(run(edge, "plan", "-o", "json"))["gates"]
    fidelity = [one for one in gates if one["gate"] == "fidelity"]
    assert {one["status"] for one in fidelity} == {"Successful"}  # by the builder's numbers
    assert reference_verdicts(gates) == ["Successful"] * 2

    only_a_template(edge, relay)
    registry.close()
    carried(builder, builder.folder.parent / "offline")
    edge.declare(precisions="int4, int8")
    assert "Ljubljana" in run(edge, "ask", V, QUESTION)
    actions, [held] = planned(edge)
    assert (actions, held["variant"], held["reason"]) == ([], "capitals-int8", "AwaitingBuild")
    assert "RegistryUnreachable" in held["message"]
    run(edge, "apply", codes=(3,))
    machine = json.loads(run(edge, "status", "-o", "json"))["conditions"]
    assert [one["reason"] for one in machine if one["type"] == "RegistryReachable"] == ["RegistryUnreachable"]
    assert "Ljubljana" in run(edge, "ask", V, QUESTION)


def reference_verdicts(gates: list[dict[str, Any]]) -> list[str]:
    return [one["status"] for one in gates if one["gate"] == "reference"]


def only_a_template(edge: TestMachine, relay: Relay) -> None:
    """Of the artifact nothing comes again."""
    moved = relay.down
    edge.declare(template="phi3")
    run(edge, "apply")
    assert set(edge.index()) == {f"{V}:2"}
    assert relay.down - moved < 100_000 < moved
    edge.declare()
    run(edge, "apply")


def signed_afterwards(builder: TestMachine, edge: TestMachine) -> None:
    """What was pushed without a key, and once."""
    actions, [held] = planned(edge)
    assert (actions, held["reason"], "it is unsigned" in held["message"]) == ([], "Untrusted", True)
    key = str(builder.folder.parent / "builder.key")
    for status in ("pushed", "there"):
        again = json.loads(run(builder, "build", "-o", "json", RECONCILER_SIGNING_KEY=key))["builds"]
        assert [one["status"] for one in again] == [status]


def carried(builder: TestMachine, folder: Path) -> None:
    """To a machine that has no network, no manifests and no weights: what the builder holds is served there."""
    offline = TestMachine(folder=folder)
    offline.manifests.mkdir(parents=True)
    (folder / "inventory.json").write_text(offline.run("inventory").out)
    archive = str(folder / "offline.tar")
    assert builder.run("export", archive, "--for", str(folder / "inventory.json")).code == 0
    done = offline.run("import", archive)
    assert done.code == 0, done.out + done.err
    assert set(offline.index()) == {f"{V}:1"}
    [served] = json.loads(offline.run("status", "-o", "json").out)["variants"]
    assert reference_verdicts(served["gates"]) == ["Successful"] * 2
    answer = offline.run("ask", V, QUESTION)
    assert "Ljubljana" in answer.out, answer.err
    receipt = json.loads(Path(f"{archive}.receipt.json").read_text())
    assert receipt["appliedRevision"] == receipt["imported"]["revision"] != ""
    assert [one["releases"][0]["content"]["model"] for one in receipt["variants"]] == ["capitals"]
    types = [json.loads(line)["type"] for line in offline.run("events", "-o", "json").out.splitlines()]
    assert not {"convert.done", "pull.done", "fetch.done", "measure.done"} & {*types}
    written = Path(f"{archive}.receipt.json").read_bytes()
    again = offline.run("import", archive)
    assert (again.code, Path(f"{archive}.receipt.json").read_bytes()) == (0, written)


def test_parts_of_a_model_of_the_hub(tmp_path: Path, capitals: Path) -> None:
    """Together the parts build each once. A machine that only pulls knows its build keys from the lock, and never asks
    the hub."""
    needs("huggingface_hub", "hub")
    needs("olive", "convert")
    with FakeRegistry().running() as fake, HubServer().running() as hub:
        hub.give("org/tiny", capitals)
        machines = [TestMachine(folder=tmp_path / name) for name in ("one", "two", "edge")]
        for machine, convert, role in zip(machines, ("local", "local", "registry-only"), ("both",) * 3, strict=True):
            declare(machine, precisions="int4, fp32")
            assert machine.run("lock", HF_ENDPOINT=hub.url).code == 0
            config = machine.folder / "machine.yaml"
            config.write_text(CONFIG.format(convert=convert, role=role, origin=fake.origin))
            config.chmod(0o600)
        one, two, edge = machines
        told = {
            shard: json.loads(run(machine, "build", "-o", "json", "--shard", shard, HF_ENDPOINT=hub.url))["builds"]
            for machine, shard in ((one, "1/2"), (two, "2/2"))
        }
        pushed = [build["variant"] for builds in told.values() for build in builds if build["status"] == "pushed"]
        assert sorted(pushed) == ["capitals-fp32", V]
        assert sum(tag.startswith("build-") for tag in fake.held("models/tiny").tags) == 2
        hub.requests.clear()
        facts = edge.manifests / "reconciler.facts.json"
        facts.rename(edge.folder / "facts")
        assert planned(edge)[0] == ["fetch"]  # locked by an earlier version: its build key is not known before
        (edge.folder / "facts").rename(facts)
        run(edge, "apply", HF_ENDPOINT=hub.url)
        assert set(edge.index()) == {f"{V}:1", "capitals-fp32:1"}
        assert "Ljubljana" in run(edge, "ask", V, QUESTION)
        assert hub.requests == []
        declare(edge, "later", precisions="int8")
        [held] = planned(edge)[1]
        assert (held["reason"], "sha256:" in held["message"]) == ("AwaitingBuild", True)
        assert events(*machines).count("convert.done") == 2
