"""Take out one flush after the other, and swap the steps whose order is a promise (tests/plug/guards.py): the states
that a power cut may leave must then be wrong. Each in a process whose import of one module gives the mutant.

    python -m tests.plug.mutants [WORD ...]      exit code 1 when one of them survives
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType

from tests.mutants.tags import REPOSITORY
from tests.plug.guards import FLUSHES, MUTANTS, ORDERS, Mutant
from tests.trust import record

CAUGHT, SURVIVED, ERROR = "caught", "SURVIVED", "ERROR"
WRONG = 3
_VERDICTS = {0: SURVIVED, WRONG: CAUGHT}
ROLLS, MENDED, TIMEOUT = 2, 12, 600.0
AT_ONCE = int(os.environ.get("RECONCILER_TEST_PROCESSES", "1"))


class _Loader(SourceFileLoader):
    def __init__(self, mutant: Mutant) -> None:
        super().__init__(_module(mutant), str(REPOSITORY / mutant.file))
        self._text = mutant.text

    def get_code(self, fullname: str) -> CodeType:
        """Never from a cache, nor into one."""
        return compile(self._text, self.path, "exec")


class _Finder:
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(name, _Loader(self._mutant)) if name == _module(self._mutant) else None


def _module(mutant: Mutant) -> str:
    return mutant.tags[0].module


def play(mutant: Mutant, folder: str) -> int:
    """In a process of its own: WRONG, if the states of the mutant are."""
    sys.meta_path.insert(0, _Finder(mutant))
    from tests.crash import stand_ins
    from tests.plug import states

    stand_ins.work_quickly()
    for name in mutant.scenarios.split():
        found = states.judged(name, Path(folder, name), ROLLS, MENDED)
        if found["wrong"]:
            print(name, *found["problems"][:1])
            return WRONG
    return 0


def verdict(mutant: Mutant) -> str:
    shared = "/dev/shm"
    where = shared if os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="plug-", dir=where) as folder:
        command = [sys.executable, "-m", "tests.plug.mutants", "--play", json.dumps(asdict(mutant)), folder]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    return _VERDICTS.get(done.returncode, f"{ERROR}: {done.stderr[-400:]}")


def run(mutants: Sequence[Mutant]) -> dict[Mutant, str]:
    found: dict[Mutant, str] = {}

    def one(mutant: Mutant) -> None:
        found[mutant] = verdict(mutant)
        print(f"{found[mutant]:9} {mutant.guard} ({mutant.file})", flush=True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, mutants))
    return found


def main(words: list[str]) -> int:
    if words[:1] == ["--play"]:
        return play(Mutant(**json.loads(words[1])), words[2])
    chosen = [one for one in MUTANTS if not words or any(word in f"{one.guard} {one.file}" for word in words)]
    found = run(chosen)
    caught = sum(said == CAUGHT for said in found.values())
    print(f"{caught} of {len(found)} caught")
    if caught == len(found) and not words:
        what = f"{len(FLUSHES)} flushes taken out, {len(ORDERS)} orders swapped: tests/plug/mutants.py"
        record("plug", f"{caught} of {len(found)} mutants caught", what, part="mutants")
    return 0 if caught == len(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
