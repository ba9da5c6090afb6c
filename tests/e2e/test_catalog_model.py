"""A model of Foundry's catalog, from its manifest to an answer: through the real SDK, from a catalog on loopback."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.catalog_server import SECRET, CatalogServer
from tests.e2e.test_ready_onnx import PROMPTS
from tests.extras import needs
from tests.machine import TestMachine

needs("foundry_local_sdk", "foundry")
needs("olive", "convert")

NAME = "tiny-generic-cpu"


@pytest.fixture
def server(tmp_path: Path, capitals: Path) -> Iterator[CatalogServer]:
    builder = TestMachine(folder=tmp_path / "builder")
    builder.give_model(capitals)
    builder.declare()
    done = builder.run("apply")
    assert done.code == 0, done.err
    folder = builder.served("capitals-int4")
    for name in ("release.json", "inference_model.json"):
        (folder / name).unlink()
    with CatalogServer(folder=tmp_path / "certificates").running() as running:
        running.give(NAME, 3, folder)
        running.give(NAME, 4, folder)
        yield running


@pytest.mark.slow
def test_a_model_of_the_catalog_is_locked_downloaded_and_served(tmp_path: Path, server: CatalogServer) -> None:
    machine = TestMachine(folder=tmp_path / "machine")
    path = machine.declare("assistant", template="source", more=PROMPTS)
    path.write_text(path.read_text().replace("{path: ../model}", f"{{catalog: {{name: {NAME}, version: 3}}}}"))
    done = machine.run("validate", "-o", "json")
    assert [one["code"] for one in done.json()["problems"]] == ["HubNotLocked"]

    done = machine.run("lock", **server.environment)
    assert done.code == 0, done.err
    lock = (machine.manifests / "reconciler.lock.json").read_text()
    assert '"kind": "catalog"' in lock
    assert '"upstream": "4"' in lock
    assert "inference_model.json" not in lock
    assert machine.run("lock", "--commit-of", f"catalog/{NAME}", **server.environment).out == "4\n"

    # What it costs is known without a network.
    asked = len(server.requests)
    (change,) = machine.run("plan", "-o", "json").json()["changes"]
    size = sum(map(len, server.models[0].files.values()))
    assert (change["action"], change["cost"]["downloadBytes"]) == ("fetch", size)
    assert len(server.requests) == asked

    done = machine.run("apply", **server.environment)
    assert done.code == 0, done.err
    assert sorted(machine.index()) == ["assistant-int4:1"]
    answer = machine.run("ask", "assistant-int4", "What is the capital of Slovenia?")
    assert "Ljubljana" in answer.out, answer.err
    assert machine.plan() == []
    assert machine.run("verify").code == 0
    for file in machine.root.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file

    # From now on these bytes and no others, whatever the catalog has under that version.
    shutil.rmtree(machine.root / "oci")
    shutil.rmtree(machine.served("assistant-int4"))
    server.models[0].files["tokenizer_config.json"] += b" "
    done = machine.run("apply", "-o", "json", **server.environment)
    assert "DigestMismatch" in [one.get("code") for one in done.json()["outcomes"]], done.out

    path.write_text(path.read_text().replace("version: 3", "version: 9"))
    done = machine.run("lock", **server.environment)
    assert done.code != 0
    assert f"the catalog has no {NAME}:9" in done.err
