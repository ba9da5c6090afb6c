"""What pyproject.toml promises, and what no tracked file may hold."""

import re
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]

# Tried together, offline, on Linux x64. Another version is another tool chain.
TESTED_TOGETHER = {
    "convert": {
        "olive-ai": "0.13.0",
        "onnxruntime-genai": "0.14.1",
        "onnxruntime": "1.31.0",
        "transformers": "5.23.0",
        "torch": "2.13.0",
        "peft": "0.21.2",
    },
    "foundry": {"foundry-local-sdk": "2.2.1"},
}

# Spelled so that this file does not match itself.
NOT_OURS = re.compile(
    r"/(work|root|opt)/(main|shared|wheels|pypi|\.)|"
    r"https?://[^\s\"')]*(pypi[.]|pythonhosted[.]|npmjs[.]|download[.]pytorch|artifactory)"
)
LONGEST_MODULE = 400
MOST_MODULES = 25  # of one folder; but each verb has a file


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    return [CHECKOUT / name for name in listing.stdout.split("\0") if name]


def text_of(path: Path) -> str:
    """Empty for binary files, links and files deleted but not yet committed."""
    if path.is_symlink() or not path.is_file():
        return ""
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode(errors="replace")


@pytest.mark.parametrize("extra", TESTED_TOGETHER)
def test_an_extra_pins_the_versions_that_were_tested_together(extra: str) -> None:
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)$", "\n".join(PROJECT["optional-dependencies"][extra]), re.M))
    assert pinned == TESTED_TOGETHER[extra]


def test_the_core_depends_on_nothing_heavy() -> None:
    names = {re.split(r"[<>=\[]", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert names == {
        "annotated-types",
        "cronsim",
        "cryptography",
        "google-re2",
        "license-expression",
        "pathspec",
        "jsonschema",
        "psutil",
        "platformdirs",
        "pydantic",
        "pyyaml",
        "jinja2",
        "gitpython",
        "watchfiles",
        "structlog",
        "rich",
        "tzdata",
        "urllib3",
    }


def test_no_tracked_file_names_a_place_on_our_machines_or_a_package_registry() -> None:
    found = [
        f"{path.relative_to(CHECKOUT)}: {match.group()}"
        for path in tracked_files()
        for match in NOT_OURS.finditer(text_of(path))
    ]
    assert found == []


def test_no_module_has_outgrown_a_reader() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (CHECKOUT / "reconciler").rglob("*.py")}
    assert {path.name: n for path, n in lengths.items() if n > LONGEST_MODULE} == {}


def test_no_folder_holds_more_than_a_reader_takes_in_at_a_glance() -> None:
    modules = [path for path in (CHECKOUT / "reconciler").rglob("*.py") if path.name != "__init__.py"]
    folders = Counter(path.parent.relative_to(CHECKOUT).as_posix() for path in modules)
    del folders["reconciler/cli/verbs"]
    assert {name: count for name, count in folders.items() if count > MOST_MODULES} == {}


def test_no_public_class_has_a_namesake() -> None:
    paths = (path for path in (CHECKOUT / "reconciler").rglob("*.py") if path.parts[-2:] != ("system", "windows.py"))
    modules = [path.read_text() for path in paths]  # that one has the names of `posix` by design
    names = Counter(name for text in modules for name in re.findall(r"^class ([A-Z]\w*)", text, re.M))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_example_model_is_small_enough_for_git() -> None:
    files = (CHECKOUT / "examples" / "capitals" / "model").iterdir()
    assert sum(file.stat().st_size for file in files) < 2_000_000


def test_a_wheel_carries_what_the_demo_works_on(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=CHECKOUT, capture_output=True, check=True, timeout=120)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = set(wheel.namelist())
    for folder in ("examples/capitals/model", "manifests", "schema"):
        files = [file for file in (CHECKOUT / folder).rglob("*") if file.is_file()]
        assert {f"reconciler/share/{file.relative_to(CHECKOUT).as_posix()}" for file in files} <= held
    assert "reconciler/py.typed" in held
    shown = (file for file in (CHECKOUT / "reconciler").rglob("*") if file.suffix in (".j2", ".css", ".js"))
    assert {file.relative_to(CHECKOUT).as_posix() for file in shown} <= held
