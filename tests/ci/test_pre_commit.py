"""The hook as pre-commit runs it: installed from this checkout, with the light dependencies and no network."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ci.light import light_packages
from tests.ci.steps import CHECKOUT, read
from tests.git_server import Repository

(HOOK,) = read(".pre-commit-hooks.yaml")


@pytest.mark.parametrize(
    ("name", "looked_at"),
    [
        ("manifests/a.yaml", True),
        ("manifests/deep/a.yml", True),
        ("fleet/manifests/a.yaml", True),
        ("manifests/templates/brief.jinja", True),
        ("manifests/fixtures/cases.jsonl", True),
        ("manifests/reconciler.lock.json", True),
        ("manifests/README.md", False),
        ("manifests/a.json.orig", False),
        ("data/cases.jsonl", False),
        ("docs/manifests.yaml", False),
        ("old-manifests/a.yaml", False),
    ],
)
def test_the_hook_wakes_for_manifests_and_what_they_name(name: str, looked_at: bool) -> None:
    assert bool(re.search(HOOK["files"], name)) is looked_at


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """This checkout as a repository with a tag: what pre-commit clones. Uncommitted work is in it."""
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    repository = Repository(tmp_path / "published")
    for name in filter(None, listing.stdout.split("\0")):
        if not name.startswith(("tests/", "docs/", "bench/")) and (CHECKOUT / name).is_file():
            repository.write(name, (CHECKOUT / name).read_bytes())
    repository.commit()
    repository.git("tag", "v0")
    return repository.folder


def test_the_hook_finds_a_bad_manifest_with_the_light_dependencies_only(
    tmp_path: Path, published: Path, capitals: Path
) -> None:
    if importlib.util.find_spec("pre_commit") is None:
        pytest.skip("pre-commit is not installed (pip install -e .[dev])")
    fleet = Repository(tmp_path / "fleet")
    shutil.copytree(capitals, fleet.folder / "model")
    fleet.model("capitals")
    fleet.write(
        ".pre-commit-config.yaml", f"repos: [{{repo: {published}, rev: v0, hooks: [{{id: reconciler-validate}}]}}]\n"
    )
    fleet.commit()
    environment = os.environ | light_packages(tmp_path / "light")

    def hook() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose", "--color", "never"],
            cwd=fleet.folder,
            env=environment | {"PRE_COMMIT_HOME": str(tmp_path / "pre-commit")},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    good = hook()
    assert good.returncode == 0, good.stdout + good.stderr
    assert "1 model: valid" in good.stdout
    fleet.write("manifests/bad.yaml", "kind: Model\n")
    fleet.git("add", "-A")
    bad = hook()
    assert bad.returncode == 1
    assert "manifests/bad.yaml:1" in bad.stdout
    assert "Traceback" not in bad.stdout
