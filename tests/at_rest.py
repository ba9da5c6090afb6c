"""A converged machine in a tenth of a second: what Olive and Foundry Local would have made, laid out by our own code
around weights that nobody loads. For tests of what looks at a machine, never of what the runtime does with it."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.backends.foundry.folder import assemble
from reconciler.backends.foundry.index import INDEX
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.measured import TEXTS_DIGEST, Fidelity
from reconciler.domain.observed import properties_of
from reconciler.domain.recorded import RecordedRelease
from reconciler.domain.release import Artifact, Marker, Recipe
from reconciler.engine.machine import Machine, locked_machine, open_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.engine.resolve import resolve
from reconciler.host import durable
from reconciler.host.stamps import TICK
from reconciler.sources.manifests import load
from tests.backends.test_served_files import edited
from tests.machine import TestMachine

FAITHFUL = Fidelity(
    build_key="",
    prompts=TEXTS_DIGEST,
    positions=100,
    top1_agreement=1.0,
    mean_kl=0.0,
    perplexity_ratio=1.0,
    wiring_kl=0.0,
)
CREATED = "2026-01-01T00:00:00Z"
TREE = {
    "model.onnx": b"graph",
    "model.onnx.data": b"w" * 100_000,
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "genai_config.json": edited({}),
}


def serve(machine: TestMachine) -> PassResult:
    """Everything that the manifests of `machine` declare, served as number 1. A pass over it finds nothing to do, and
    nothing to learn: what was hashed in the tick in which it was written is hashed again (host/stamps.py)."""
    time.sleep(2 * TICK / 1e9)
    with locked_machine(str(machine.root), str(machine.cache), command="test") as opened:
        parsed = load(str(machine.manifests))
        for wanted in resolve(parsed, opened.stamps).desired.wanted:
            _release(opened, wanted, parsed.revision)
        result = run_pass(opened, parsed, Reporter(), Options())
    assert result.converged
    assert not result.plan
    return result


def opened(machine: TestMachine) -> Machine:
    return open_machine(str(machine.root), str(machine.cache))


def edit_catalog(machine: TestMachine, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """`change` gets and gives entries by id."""
    path = machine.cache / INDEX
    listed = json.loads(path.read_text())["models"] if path.exists() else []
    entries = change({entry["model_info"]["id"]: entry for entry in listed})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"catalog_name": "local", "version": 2, "models": list(entries.values())}))


def entry(identity: str, path: str, properties: dict[str, str]) -> dict[str, Any]:
    info = {"id": identity, "task": "chat-completion", "stringProperties": properties}
    return {"model_path": path, "model_info": info}


def convert(machine: Machine, recipe: Recipe) -> Artifact:
    """What a conversion leaves in the store; the same bytes each time."""
    tree = Path(machine.layout.at("staging", "converted"))
    tree.mkdir(parents=True)
    for name, data in TREE.items():
        (tree / name).write_bytes(data + recipe.build_key.encode() if name.endswith(".data") else data)
    artifact = machine.store.put(recipe.build_key, str(tree), recipe.as_json())
    shutil.rmtree(tree)
    return artifact


def _release(machine: Machine, wanted: DesiredRelease, revision: str) -> None:
    recipe = wanted.release.recipe
    artifact = convert(machine, recipe)
    machine.records.save_fidelity(replace(FAITHFUL, build_key=recipe.build_key))
    staged = machine.layout.at("staging", f"{wanted.variant}-served")
    Path(staged).mkdir()
    marker = assemble(
        staged,
        wanted.release,
        artifact,
        machine.store.blob,
        machine.stamps,
        owner=machine.owner,
        number=1,
        revision=revision,
        created=CREATED,
        protected=wanted.protected,
    )
    final = machine.layout.served_release(wanted.variant, 1)
    durable.publish(staged, final)
    _register(machine, marker, final)


def _register(machine: Machine, marker: Marker, path: str) -> None:
    index = Path(machine.cache, INDEX)
    index.parent.mkdir(parents=True, exist_ok=True)
    listed = json.loads(index.read_text())["models"] if index.exists() else []
    listed.append(entry(marker.id, path, properties_of(marker)))
    index.write_text(json.dumps({"catalog_name": "local", "version": 2, "models": listed}))
    machine.records.save_release(RecordedRelease.from_marker(marker, registered=CREATED))
