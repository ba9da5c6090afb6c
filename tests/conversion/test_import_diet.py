"""The cheaper imports fit the installed versions, leave the compiler alone, and change nothing that is computed (that
the bytes stay the same, test_conversion compares with `olive run` by hand)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.host.environment import private_environment

pytestmark = pytest.mark.slow

ROOT = str(Path(__file__).parent.parent.parent)

LOOK = """
import gc, inspect, json, os, sys
usual = inspect.getframeinfo
from reconciler.conversion import tools
from reconciler.conversion.worker.main.import_diet import from_last_all
tools.load("int8", "fp16")
loaded = set(sys.modules)
from transformers.utils import import_utils
import torch, transformers
from transformers.masking_utils import TransformGetItemToIndex
texts = []
for folder, _, names in os.walk(os.path.join(os.path.dirname(transformers.__file__), "models")):
    texts += [open(os.path.join(folder, name), encoding="utf-8").read() for name in names if name.endswith(".py")]
names_of = import_utils.fetch__all__.__closure__[0].cell_contents
print(json.dumps({
    "compiler was loaded": "torch._dynamo" in loaded,
    "stand-ins left": [name for name, module in sys.modules.items() if type(module).__name__ == "_Later"],
    "finders left": [type(finder).__name__ for finder in sys.meta_path if type(finder).__name__ == "_Improver"],
    "frame info is put back": inspect.getframeinfo is usual,
    "collector works": gc.isenabled(),
    "set aside": gc.get_freeze_count(),
    "files": len(texts),
    "read otherwise": sum(names_of(text) != names_of(from_last_all(text)) for text in texts),
    "cache": import_utils.create_import_structure_from_path.cache_info().maxsize,
    "the class that waited": type(TransformGetItemToIndex()).__name__,
    "decorators work": torch.compiler.disable(lambda: 5)(),
    "compiler is there when wanted": "torch._dynamo" in sys.modules,
}))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("diet")
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        env=private_environment(str(home), PYTHONPATH=ROOT),
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in done.stderr  # it would mean that the plain way was taken
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_compiler_is_only_loaded_when_somebody_wants_it(seen: dict[str, Any]) -> None:
    assert not seen["compiler was loaded"]
    assert seen["the class that waited"] == "TransformGetItemToIndex"
    assert seen["decorators work"] == 5
    assert seen["compiler is there when wanted"]


def test_everything_is_put_back(seen: dict[str, Any]) -> None:
    assert seen["stand-ins left"] == seen["finders left"] == []
    assert seen["frame info is put back"]
    assert seen["collector works"]
    assert seen["set aside"] > 100_000


def test_transformers_finds_the_same_names_in_all_its_files(seen: dict[str, Any]) -> None:
    assert seen["files"] > 2000
    assert seen["read otherwise"] == 0
    assert seen["cache"] is None
