"""What this user may not read is said to be closed, never to be missing: who believes that writes over good files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny_models import write_qwen2

LOOK = """
import sys
from reconciler.host.stamps import StampBook
from reconciler.sources.folder.model import inspect_adapter
from reconciler.sources.folder.model import inspect_source
look = inspect_adapter if sys.argv[2:] else inspect_source
for one in look(sys.argv[1], StampBook.empty()).problems:
    print(one.code, one.file, one.message, one.hint, sep="|")
"""


def unprivileged() -> list[str]:
    """What to run a command with, so that it reads only what it may."""
    if os.geteuid():
        return []
    program = shutil.which("setpriv")
    if program is None:
        pytest.skip("root reads everything, and setpriv is not installed")
    return [program, "--bounding-set=-all", "--inh-caps=-all"]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*unprivileged(), sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def look(folder: Path, *more: str) -> list[list[str]]:
    done = run("-c", LOOK, str(folder), *more)
    assert done.returncode == 0, done.stderr
    return [line.split("|") for line in done.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    made = write_qwen2(tmp_path / "model")
    yield made
    made.chmod(0o755)


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111], ids=["closed", "listed only", "not listed"])
@pytest.mark.parametrize("more", [(), ("adapter",)], ids=["model", "adapter"])
def test_a_closed_folder_is_one_problem(folder: Path, mode: int, more: tuple[str, ...]) -> None:
    folder.chmod(mode)
    ((code, place, message, hint),) = look(folder, *more)
    assert (code, place, message) == ("SourceUnreadable", "model", "permission denied")
    assert "permissions" in hint


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
)
def test_a_closed_file_is_the_only_problem(folder: Path, name: str) -> None:
    if name == "tokenizer_config.json":
        (folder / "chat_template.jinja").unlink(missing_ok=True)
    if not (folder / name).exists():
        (folder / name).write_text("{}")
    (folder / name).chmod(0)
    ((code, place, message, hint),) = look(folder)
    assert (code, place, message) == ("FileUnreadable", f"model/{name}", "permission denied")
    assert "permissions" in hint


def test_all_closed_files_are_named_at_once(folder: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).chmod(0)
    assert {(one[1], one[2]) for one in look(folder)} == {
        (f"model/{name}", "permission denied") for name in ("config.json", "model.safetensors", "tokenizer.json")
    }


def test_validate_names_the_folder_as_the_manifest_does(folder: Path) -> None:
    manifests = folder.parent / "manifests"
    manifests.mkdir()
    (manifests / "capitals.yaml").write_text(
        "apiVersion: reconciler.foundry/v1alpha1\nkind: Model\nmetadata: {name: capitals}\n"
        "spec:\n  source: {path: ../model}\n  precisions: [int4]\n"
    )
    folder.chmod(0)
    done = run("-m", "reconciler", "validate", "manifests", cwd=folder.parent)
    assert done.returncode == 1
    assert "spec.source: cannot read ../model: permission denied" in done.stdout + done.stderr
    assert "missing" not in done.stdout + done.stderr
