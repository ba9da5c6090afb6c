"""A virtual environment as an agent has it: what requirements/foundry.txt names, at those versions, and nothing of what
converts. Its packages are links to those of this environment, so that making it takes a second and no network."""

import subprocess
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.ci.light import tops

REPOSITORY = Path(__file__).parent.parent
LOCK = REPOSITORY / "requirements" / "foundry.txt"
CONVERTS = ("torch", "olive", "transformers", "onnx", "peft", "accelerate", "onnxruntime_genai")


def agent_environment(folder: Path) -> Path:
    """Its Python. Skips where this environment is not that of the lock."""
    venv.create(folder, with_pip=False, symlinks=True)
    [packages] = folder.glob("lib/python*/site-packages")
    for name, version in locked():
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed")
        if found.version != version:
            pytest.skip(f"{name} {found.version} is installed, the lock says {version}")
        for path in tops(found):
            if not (packages / path.name).exists():
                (packages / path.name).symlink_to(path)
    python = folder / "bin" / "python"
    lacks = f"import importlib.util as u; print([one for one in {CONVERTS} if u.find_spec(one)])"
    done = subprocess.run([python, "-I", "-c", lacks], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    return python


def locked() -> list[tuple[str, str]]:
    """Names and versions, on this platform."""
    lines = (line.rstrip(" \\\n") for line in LOCK.read_text().splitlines() if "==" in line and line[0].isalnum())
    wanted = [Requirement(line) for line in lines]
    here = [one for one in wanted if one.marker is None or one.marker.evaluate()]
    return [(one.name, str(one.specifier).removeprefix("==")) for one in here]
