"""Take out one guard after the other and see its tests fail: `python -m tests.mutants [--share N] [WORD...]` (some ten
minutes for all; a share of N takes each N-th).

Works on a copy of the tree. A mutant that its tests do not notice is a survivor, and the exit code is then 1. Only a
failing test counts as caught: a mutant that breaks the import, or tests that cannot run, are errors.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.guards import MUTANTS, Mutant
from tests.mutants.tags import REPOSITORY, Tag, named, without
from tests.trust import record

COPIED = ("reconciler", "tests", "examples", "manifests", "schema", "docs", "bench", "ci", "packaging")
FILES = ("pyproject.toml", "README.md", "Makefile", "action.yml", ".pre-commit-hooks.yaml", "Dockerfile")
TIMEOUT = 300.0
AT_ONCE = int(os.environ.get("RECONCILER_TEST_PROCESSES", "1"))

CAUGHT, SURVIVED, ERROR = "caught", "SURVIVED", "ERROR"
_VERDICTS = {0: SURVIVED, 1: CAUGHT}


def copy_of_the_tree(folder: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "results", ".cache")
    for name in COPIED:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore, symlinks=True)
    for name in FILES:
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


def tag_of(mutant: Mutant) -> Tag:
    (tag,) = named(mutant.guard, "guard")
    return tag


def verdict(mutant: Mutant, tree: Path) -> str:
    tag = tag_of(mutant)
    path = tree / tag.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(without([tag], mutant.instead), encoding="utf-8")
    try:
        return _tested(mutant, tree)
    finally:
        path.write_text(whole, encoding="utf-8")


def _tested(mutant: Mutant, tree: Path) -> str:
    """A test that hangs without its guard is a test that fails."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-n", "0", "-m", "not slow", "--no-header", "--tb=no"]
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("RECONCILER_TRUST_RESULTS", None)
    environment.pop("RECONCILER_TEST_SIZE", None)
    command = [sys.executable, "-m", "pytest", *options, *mutant.tests.split()]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return CAUGHT
    return _VERDICTS.get(done.returncode, f"{ERROR}: {done.stdout.decode(errors='replace')[-300:]}")


def run(mutants: list[Mutant]) -> dict[Mutant, str]:
    found: dict[Mutant, str] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:

        def share(number: int) -> None:
            tree = Path(folder, str(number))
            tree.mkdir()
            copy_of_the_tree(tree)
            for mutant in mutants[number::AT_ONCE]:
                found[mutant] = verdict(mutant, tree)
                print(f"{found[mutant]:9} {mutant.guard} ({tag_of(mutant).file})", flush=True)

        list(pool.map(share, range(AT_ONCE)))
    return found


def _names(mutant: Mutant) -> str:
    return f"{mutant.guard} {tag_of(mutant).file}"


def main(words: list[str]) -> int:
    share, words = (int(words[1]), words[2:]) if words[:1] == ["--share"] else (1, words)
    chosen = [one for one in MUTANTS if not words or any(word in _names(one) for word in words)]
    chosen = chosen[::share]
    found = run(chosen)
    caught = sum(said == CAUGHT for said in found.values())
    print(f"{caught} of {len(found)} caught")
    if caught == len(found) and not words:
        record(
            "mutants",
            f"{caught} of {len(found)} caught",
            f"one guard taken out at a time, {len(MUTANTS)} in all: tests/mutants/guards.py",
        )
    return 0 if caught == len(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
