"""A tiny model as the converter leaves it, for tests that need something real to serve.

Converted once per test run by Olive in a child process, and shared by all test processes.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from reconciler.domain.digest import StoredFile, of_bytes
from reconciler.domain.manifest import Generation, Target
from reconciler.domain.release import Artifact, Recipe, Release
from reconciler.host.environment import private_environment
from tests import forked
from tests.tiny_models import CHATML, write_qwen2

CONVERT = """
import json, sys
from olive.workflows import run
sys.exit(not run(json.loads(sys.argv[1])).has_output_model())
"""


def converted_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converted folder, made by whichever test process comes first. Nobody may change it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    import fcntl  # not on Windows, where nothing is converted

    final = shared / "converted" / "model"
    final.parent.mkdir(exist_ok=True)
    with open(final.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            _convert(final)
    return final


def _convert(final: Path) -> None:
    work = final.parent / "work"
    shutil.rmtree(work, ignore_errors=True)
    (work / "cwd").mkdir(parents=True)
    source = write_qwen2(work / "source")
    config = {
        "input_model": {"type": "HfModel", "model_path": str(source)},
        "systems": {
            "local": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "passes": {"build": {"type": "ModelBuilder", "precision": "int4", "extra_options": {"hf_remote": False}}},
        "host": "local",
        "target": "local",
        "no_artifacts": True,
        "output_dir": str(work / "output"),
        "cache_dir": str(work / "cache"),
    }
    (work / "convert.py").write_text(CONVERT)
    environment = private_environment(str(work))
    # Olive takes any option for a path that exists in its working directory, which is therefore empty.
    forked.run_beside_olive(work / "convert.py", [json.dumps(config)], work / "cwd", environment)
    (work / "output").rename(final)


def artifact_of(folder: Path) -> Artifact:
    files = tuple(
        StoredFile(path=path.name, digest=of_bytes(path.read_bytes()), size=path.stat().st_size)
        for path in sorted(folder.iterdir())
    )
    return Artifact(digest=of_bytes(b"artifact"), build_key=release_of().recipe.build_key, files=files)


def blobs_of(folder: Path) -> dict[str, str]:
    return {file.digest: os.path.join(folder, file.path) for file in artifact_of(folder).files}


def release_of(
    template: str = CHATML, roles: dict[str, str] | None = None, generation: Generation | None = None
) -> Release:
    recipe = Recipe(
        source=of_bytes(b"source"),
        adapter=None,
        architecture="Qwen2ForCausalLM",
        precision="int4",
        options={"blockSize": 32},
        target=Target(),
        tools={"olive-ai": "0.13.0"},
    )
    return Release(
        variant="tiny-int4",
        model="tiny",
        precision="int4",
        recipe=recipe,
        template=template,
        template_origin="inline",
        roles=roles,
        generation=generation or Generation(),
    )
