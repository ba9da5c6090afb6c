"""Ready ONNX models, from the manifest to an answer of the real Foundry Local: a folder beside the manifests, and one
in a folder of a repository of the hub. Both are examples/ready-onnx, whose manifest is the first one here."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.sources.folder.onnx_graph import external_data
from tests.extras import needs
from tests.hub_server import COMMIT, HubServer
from tests.machine import TestMachine

needs("huggingface_hub", "hub")
needs("foundry_local_sdk", "foundry")

EXAMPLE = Path(__file__).parents[2] / "examples" / "ready-onnx"

FOLDER = "cpu_and_mobile/cpu-int4"
PROMPTS = """\
  gates:
    - prompts: {cases: [{prompt: What is the capital of Slovenia?, contains: Ljubljana}]}
"""
OF_HUB = f"{{onnx: {{huggingface: {{repo: org/tiny, revision: {COMMIT}, folder: {FOLDER}}}}}}}"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer().running() as running:
        repo = running.give("org/tiny", EXAMPLE / "model")
        repo.files["chat_template.jinja"] += b"{# of the hub #}"  # so it is another artifact
        repo.files = {f"{FOLDER}/{name}": data for name, data in repo.files.items()} | {"README.md": b"about it"}
        yield running


def declare(machine: TestMachine, name: str, source: str) -> Path:
    path = machine.declare(name, template="source", more=PROMPTS)
    path.write_text(path.read_text().replace("{path: ../model}", source))
    return path


@pytest.mark.slow
def test_a_ready_folder_is_served_as_it_is(tmp_path: Path, server: HubServer) -> None:
    ready = EXAMPLE / "model"
    check_graph(ready)
    machine = TestMachine(folder=tmp_path / "machine")
    hub = {"HF_ENDPOINT": server.url}
    beside = machine.give_model(ready)
    declare(machine, "fetched", OF_HUB)
    shutil.copy(EXAMPLE / "manifests" / "support.yaml", machine.manifests / "local.yaml")
    done = machine.run("lock", **hub)
    assert done.code == 0, done.err
    done = machine.run("apply", "-o", "json", **hub)
    assert done.code == 0, done.err
    actions = [f"{one['action']} {one['variant']}" for one in done.json()["outcomes"]]
    assert actions.count("convert support-int4") == actions.count("convert fetched-int4") == 1
    assert actions.count("fetch fetched-int4") == 1
    words = {one["word"] for one in done.json()["outcomes"] if one["action"] == "convert"}
    assert words == {"take"}
    events = machine.run("events", "support-int4").out
    assert "take.done" in events
    assert "convert" not in events
    assert not (machine.root / "logs" / "converter.log").exists()  # nothing was converted
    assert sorted(machine.index()) == ["fetched-int4:1", "support-int4:1"]
    answer = machine.run("ask", "fetched-int4", "What is the capital of Slovenia?")
    assert "Ljubljana" in answer.out, answer.err
    assert machine.plan() == []
    assert machine.run("verify").code == 0

    # Weights lie once: the store has what was fetched.
    assert not [one for one in (machine.root / "sources" / "hub").iterdir() if len(one.name) == 64]
    served = [(machine.served(f"{name}-int4") / "model.onnx.data").read_bytes() for name in ("support", "fetched")]
    assert {*served} == {(ready / "model.onnx.data").read_bytes()}

    # Damage is mended, a lost artifact is taken or fetched again, and comes out the same.
    (machine.served("support-int4") / "tokenizer.json").unlink()
    assert machine.plan() == ["repair DriftDetected support-int4"]
    assert machine.run("apply", **hub).code == 0
    shutil.rmtree(machine.root / "oci")
    shutil.rmtree(machine.served("fetched-int4"))
    done = machine.run("apply", **hub)
    assert done.code == 0, done.err
    assert sorted(machine.index()) == ["fetched-int4:1", "support-int4:1"]

    # Another folder is another release, and one that is broken harms only itself.
    os.truncate(beside / "model.onnx.data", 100)
    done = machine.run("apply", "-o", "json", **hub)
    assert [one["code"] for one in done.json()["problems"]] == ["WeightsTruncated"]
    assert sorted(machine.index()) == ["fetched-int4:1", "support-int4:1"]
    (machine.manifests / "local.yaml").unlink()
    assert machine.run("apply", **hub).code == 0
    assert sorted(machine.index()) == ["fetched-int4:1"]


def check_graph(ready: Path) -> None:
    """Our reading of it is that of the package `onnx`."""
    import onnx
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    path = ready / "model.onnx"
    tensors = onnx.load(str(path), load_external_data=False).graph.initializer
    places = [ExternalDataInfo(one) for one in tensors if uses_external_data(one)]
    with open(path, "rb") as file:
        found = [(one.location, one.offset, one.length) for one in external_data(file, path.stat().st_size)]
    assert found
    assert found == [(one.location, one.offset or 0, one.length) for one in places]
