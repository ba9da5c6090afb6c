"""A model that is converted for a GPU by a machine that has none: built, compared and pushed; pulled by another one
that has none either, where the real Foundry Local holds it while everything else serves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.extras import needs
from tests.machine import TestMachine
from tests.registry_server import FakeRegistry

needs("olive", "convert")
needs("foundry_local_sdk", "foundry")
pytestmark = pytest.mark.slow

CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
convert: {convert}
registries: [{{url: "{origin}/models/tiny", role: {role}}}]
"""
WEBGPU = "WebGpuExecutionProvider"
TARGET = f"  target: {{executionProvider: {WEBGPU}}}\n"


@pytest.fixture
def fleet(tmp_path: Path, capitals: Path) -> Iterator[list[TestMachine]]:
    """A builder, and a machine that only pulls. Both models are of the same source."""
    machines = [TestMachine(folder=tmp_path / name) for name in ("builder", "edge")]
    with FakeRegistry().running() as fake:
        for machine, convert, role in zip(machines, ("local", "registry-only"), ("push", "pull"), strict=True):
            machine.folder.mkdir()
            machine.give_model(capitals)
            machine.declare()
            machine.declare("gpu", more=TARGET)
            config = machine.folder / "machine.yaml"
            config.write_text(CONFIG.format(convert=convert, role=role, origin=fake.origin))
            config.chmod(0o600)
        yield machines


def run(machine: TestMachine, *arguments: str, code: int = 0) -> Any:
    done = machine.run(*arguments, "-o", "json", RECONCILER_CONFIG=str(machine.folder / "machine.yaml"))
    assert done.code == code, done.out + done.err
    return done.json()


def test_it_is_built_without_one_and_held_until_there_is_one(fleet: list[TestMachine]) -> None:
    builder, edge = fleet
    built = {one["variant"]: one for one in run(builder, "build")["builds"]}
    assert {name: one["status"] for name, one in built.items()} == {"capitals-int4": "pushed", "gpu-int4": "pushed"}
    assert f"not loaded here, where {WEBGPU} is missing" in built["gpu-int4"]["message"]
    assert "not loaded" not in built["capitals-int4"]["message"]

    done = run(edge, "apply", code=3)
    outcomes = {f"{one['action']} {one['variant']}": one for one in done["outcomes"]}
    assert outcomes["pull gpu-int4"]["status"] == "done"
    assert outcomes["verify gpu-int4"]["code"] == "ProviderMissing"
    assert set(edge.index()) == {"capitals-int4:1"}
    assert "Ljubljana" in edge.run("ask", "capitals-int4", "What is the capital of Slovenia?").out
    plan = run(edge, "plan")
    assert [one["variant"] for one in plan["held"]] == ["gpu-int4"]
    assert f"requires {WEBGPU} which is not registered" in plan["held"][0]["message"]
    said = [one["message"] for one in plan["gates"] if one["variant"] == "gpu-int4" and one["gate"] == "fidelity"]
    assert f"(its graph, by the processor instead of {WEBGPU})" in said[0]

    (edge.manifests / "gpu.yaml").unlink()
    run(edge, "apply")
    assert run(edge, "plan")["changes"] == []
    assert edge.run("verify").code == 0
