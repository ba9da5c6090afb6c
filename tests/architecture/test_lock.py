"""The lock in requirements/ is whole, fits pyproject.toml and names no machine."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = {
    "base": [],
    "foundry": ["foundry"],
    "all": ["foundry", "convert", "hub", "bench"],
    "dev": ["dev", "build", "hub"],
}
TORCH = (ROOT / "requirements" / "torch.txt").read_text().strip()
ENTRY = re.compile(r"^([\w.-]+)==([^ ]+)(?: ; [^\\\n]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M)


def text(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def declared(extras: list[str]) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    return [one for one in map(Requirement, lines) if one.name != project["name"]]


@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_has_a_version_and_hashes_and_no_address(name: str) -> None:
    rest = ENTRY.sub("", text(name)).splitlines()
    assert [line for line in rest if not line.startswith("#")] == []
    assert not re.search(r"://|--(index|find)|(^|\s)/|@", text(name))


@pytest.mark.parametrize(("name", "extras"), LOCKS.items())
def test_the_lock_fits_the_ranges(name: str, extras: list[str]) -> None:
    """`make lock` writes it anew."""
    locked: dict[str, set[str]] = {}
    for package, version, _ in ENTRY.findall(text(name)):
        locked.setdefault(package, set()).add(version)
    locked["torch"] = {TORCH.partition("==")[2]}
    wrong = [
        str(one)
        for one in declared(extras)
        if not (found := locked.get(canonicalize_name(one.name)))
        or not all(one.specifier.contains(version, prereleases=True) for version in found)
    ]
    assert wrong == []


def test_the_files_agree() -> None:
    every: dict[str, set[str]] = {}
    for name in LOCKS:
        by_package: dict[str, set[str]] = {}
        for package, version, hashes in ENTRY.findall(text(name)):
            by_package.setdefault(package, set()).add(version + hashes)
        for package, entries in by_package.items():
            assert every.setdefault(package, entries) == entries, package


def test_torch_is_pinned_alone_and_brings_no_cuda() -> None:
    assert re.fullmatch(r"torch==[\d.]+", TORCH)
    assert not re.search(r"^(torch|nvidia|cuda|triton)\b(?!vision|metrics)", text("all"), re.M)
