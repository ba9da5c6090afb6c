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
READY = Path(__file__).parents[2] / "examples" / "ready-onnx" / "model"


@pytest.fixture
def fleet(tmp_path: Path, capitals: Path) -> Iterator[list[TestMachine]]:
    """A builder, and a machine that pulls what there is and takes a ready model beside it."""
    builder, edge = machines = [TestMachine(folder=tmp_path / name) for name in ("builder", "edge")]
    with FakeRegistry().running() as fake:
        for machine, convert, role in ((builder, "local", "push"), (edge, "prefer-registry", "pull")):
            machine.folder.mkdir()
            machine.give_model(capitals)
            machine.declare("gpu", more=TARGET)
            config = machine.folder / "machine.yaml"
            config.write_text(CONFIG.format(convert=convert, role=role, origin=fake.origin))
            config.chmod(0o600)
        edge.give_model(READY, "ready")
        beside = edge.declare("ready", template="source")
        beside.write_text(beside.read_text().replace("{path: ../model}", "{onnx: {path: ../ready}}"))
        yield machines


def run(machine: TestMachine, *arguments: str, code: int = 0) -> Any:
    done = machine.run(*arguments, "-o", "json", RECONCILER_CONFIG=str(machine.folder / "machine.yaml"))
    assert done.code == code, done.out + done.err
    return done.json()


def test_it_is_built_without_one_and_held_until_there_is_one(fleet: list[TestMachine]) -> None:
    builder, edge = fleet
    (built,) = run(builder, "build")["builds"]
    assert (built["variant"], built["status"]) == ("gpu-int4", "pushed")
    assert f"not loaded here, where {WEBGPU} is missing" in built["message"]

    done = run(edge, "apply", code=3)
    outcomes = {f"{one['action']} {one['variant']}": one for one in done["outcomes"]}
    assert outcomes["pull gpu-int4"]["status"] == "done"
    assert outcomes["verify gpu-int4"]["code"] == "ProviderMissing"
    assert set(edge.index()) == {"ready-int4:1"}
    plan = run(edge, "plan")
    assert [one["variant"] for one in plan["held"]] == ["gpu-int4"]
    assert [one["code"] for one in plan["warnings"] if one["field"] == "spec.target"] == ["ProviderAbsent"]
    assert f"requires {WEBGPU} which is not registered" in plan["held"][0]["message"]
    said = [one["message"] for one in plan["gates"] if one["variant"] == "gpu-int4" and one["gate"] == "fidelity"]
    assert f"(its graph, by the processor instead of {WEBGPU})" in said[0]

    (edge.manifests / "gpu.yaml").unlink()
    done = run(edge, "apply")
    assert [one["action"] for one in done["outcomes"]] == ["prune"]  # its artifact
    assert run(edge, "plan")["changes"] == []
