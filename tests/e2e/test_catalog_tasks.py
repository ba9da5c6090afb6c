"""Models of the catalog that embed and hear: locked, downloaded through the real SDK from a catalog on loopback, gated
and served. What the catalog says of their task counts for nothing; the manifest does."""

import json
import shutil
from pathlib import Path

import pytest

from tests.catalog_server import CatalogServer
from tests.extras import needs
from tests.machine import TestMachine

needs("foundry_local_sdk", "foundry")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.slow
def test_models_of_the_catalog_embed_and_hear(tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path / "machine")
    machine.manifests.mkdir(parents=True)
    shutil.copytree(EXAMPLES / "speech" / "recordings", machine.manifests.parent / "recordings")
    with CatalogServer(folder=tmp_path / "certificates").running() as server:
        for example, name in (("embeddings", "places"), ("speech", "tones")):
            server.give(f"{name}-generic-cpu", 2, EXAMPLES / example / "model")
            manifest = (EXAMPLES / example / "manifests" / f"{name}.yaml").read_text()
            named = f"catalog: {{name: {name}-generic-cpu, version: 2}}"
            (machine.manifests / f"{name}.yaml").write_text(manifest.replace("onnx: {path: ../model}", named))
        done = machine.run("lock", **server.environment)
        assert done.code == 0, done.err
        lock = json.loads((machine.manifests / "reconciler.lock.json").read_text())
        files = {one["path"] for source in lock["sources"] for one in source["files"]}
        assert {"model.onnx.data", "encoder.onnx.data", "audio_processor_config.json"} <= files
        done = machine.run("apply", **server.environment)
        assert done.code == 0, done.err
    tasks = {identity: entry["model_info"]["task"] for identity, entry in machine.index().items()}
    assert tasks == {"places-fp32:1": "embeddings", "tones-fp32:1": "automatic-speech-recognition"}
    assert machine.plan() == []
