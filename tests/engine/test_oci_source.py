"""A ready ONNX model from a registry, from the lock to what is served. The runtime is stood in for; the passes are
real."""

import json
from pathlib import Path

from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.engine.reconciler import run_pass
from reconciler.sources.manifests import load
from tests.crash.stand_ins import options
from tests.machine import TestMachine
from tests.ready_onnx import BYTES, DATA, GRAPH, write_ready
from tests.registry.test_model_source import push
from tests.registry_server import FakeRegistry


def test_it_is_locked_priced_fetched_and_served(tmp_path: Path) -> None:
    ready = write_ready(tmp_path / "ready")
    machine = TestMachine(folder=tmp_path)
    with FakeRegistry().running() as fake:
        place = f"{fake.origin.removeprefix('http://')}/models/support"
        digest = push(fake.origin, ready)
        path = machine.declare(template="source")
        done = machine.run("lock", "--commit-of", f"oci/{place}:v1")
        assert done.out.strip() == digest, done.err
        assert machine.run("lock", "--commit-of", f"oci/{place}").code == 64
        source = f'{{onnx: {{oci: {{repository: "{place}", digest: "{digest}"}}}}}}'
        path.write_text(path.read_text().replace("{path: ../model}", source))
        assert [one["code"] for one in machine.run("plan", "-o", "json").json()["problems"]] == ["HubNotLocked"]
        assert machine.run("lock").code == 0
        asked = len(fake.requests)
        assert machine.run("lock", "--check").code == 0
        (change,) = machine.run("plan", "-o", "json").json()["changes"]
        assert len(fake.requests) == asked  # priced without a network
        assert change["action"] == "fetch"
        assert change["cost"]["downloadBytes"] == sum(one.stat().st_size for one in ready.iterdir())
        with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
            result = run_pass(held, load(str(machine.manifests)), Reporter(), options())
        assert result.converged
        assert [one.change.action for one in result.outcomes] == ["fetch", "convert", "verify", "register"]
        assert (machine.served("capitals-int4") / GRAPH).read_bytes() == (ready / GRAPH).read_bytes()
        # What is there under the tag later is another model.
        (ready / "tokenizer_config.json").write_text("{}")
        push(fake.origin, ready)
        assert machine.run("lock").code == 0
        assert machine.plan() == []


def test_two_digests_of_one_repository_are_two_models(tmp_path: Path) -> None:
    """A repository of a registry has no default tag: the one is no newer state of the other."""
    ready = write_ready(tmp_path / "ready")
    machine = TestMachine(folder=tmp_path)
    with FakeRegistry().running() as fake:
        digests = [push(fake.origin, ready)]
        (ready / DATA).write_bytes(b"v" * BYTES)
        digests.append(push(fake.origin, ready))
        for name, digest in zip(("one", "two"), digests, strict=True):
            path = machine.declare(name, template="source")
            place = f"{fake.origin.removeprefix('http://')}/models/support"
            source = f'\n    onnx:\n      oci:\n        repository: "{place}"\n        digest: "{digest}"'
            path.write_text(path.read_text().replace(" {path: ../model}", source))
        for _ in range(2):  # new ones, then locked ones
            done = machine.run("lock")
            assert done.code == 0, done.err
            assert "upstream is at" not in done.out
    found = machine.run("plan", "-o", "json").json()
    assert "UpstreamMoved" not in {one["code"] for one in found["warnings"]}
    # What moved elsewhere, or stands in a lock of before, is named as the manifest names it.
    lock = machine.manifests / "reconciler.lock.json"
    entries = json.loads(lock.read_text())
    next(one for one in entries["sources"] if one["revision"] == digests[0])["upstream"] = digests[1]
    lock.write_text(json.dumps(entries))
    (warning,) = (one for one in machine.run("plan", "-o", "json").json()["warnings"] if one["code"] == "UpstreamMoved")
    line = (machine.manifests / "one.yaml").read_text().splitlines()[warning["line"] - 1]
    assert (warning["field"], line.split()[0]) == ("spec.source.onnx.oci.digest", "digest:")
    assert "write that as digest" in warning["hint"]
