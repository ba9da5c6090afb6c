"""The crash matrix: real processes that are killed with SIGKILL at each of their steps. One warm process imports
everything and forks for each point a child that acts until its n-th step and ends there; what it left is judged, mended
by acting again, and judged once more. In the repeated runs the one who mends is killed too, anywhere.

    python -m tests.crash.matrix FOLDER RUNS [SCENARIO ...]   one JSON object for each run; RUNS -3: one of three
"""

import gc
import itertools
import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reconciler.host import durable
from tests.crash import stand_ins
from tests.crash.judging import after_the_crash, at_rest, listed, snapshot
from tests.crash.scenarios import SCENARIOS, Scenario, World

RUNS = 5
PROCESSES = os.cpu_count() or 1
KILLED = "killed"
UNKILLED = 0


class Bench:
    """One scenario in one folder: prepared once, and put back for each run. Two conversions that end together are taken
    in by one pass, so the last steps of one run may not be there in another: then nobody is killed."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.scenario: Scenario = SCENARIOS[name]
        self.world: World = self.scenario.world(folder=folder)
        folder.mkdir(parents=True)
        self._must("prepare", lambda: self.scenario.prepare(self.world))
        self.before = {identity.rpartition(":")[0] for identity in listed(self.world)}
        self._save()
        self.restore()
        self.steps = self._must("act", self._undisturbed)
        self.expected = json.loads(self._must("look", lambda: json.dumps(snapshot(self.world))))
        self.wanted = self.before & {identity.rpartition(":")[0] for identity in listed(self.world)}
        self._warm()

    def _undisturbed(self) -> int:
        self.scenario.act(self.world)
        return durable._steps

    def _warm(self) -> None:
        """Here too, so that no child imports or compiles what the first act does."""
        self.restore()
        self.scenario.act(self.world)
        gc.freeze()

    def run(self, step: int, number: int) -> dict[str, Any]:
        self.restore()
        kills, problems = list[int](), list[str]()
        releases: dict[str, str] = {}
        ended = self._act(step)
        if ended == KILLED:
            kills.append(step)
        elif ended:
            problems.append(f"did not end at step {step}: {ended}")
        problems += self._judged(releases)
        if number:
            again = random.Random(f"{self.name} {step} {number}").randint(1, max(self.steps, 2))
            if self._act(again) == KILLED:
                kills.append(again)
            problems += self._judged(releases)
        problems += self._mended(releases)
        return {"scenario": self.name, "step": step, "run": number, "kills": kills, "problems": problems}

    def _judged(self, releases: dict[str, str]) -> list[str]:
        return after_the_crash(self.world, self.wanted, releases, damaged=self.scenario.damaged)

    def _mended(self, releases: dict[str, str]) -> list[str]:
        """One pass, in a process of its own, and what it leaves."""
        ended = self._act(UNKILLED)
        if ended:
            return [f"acting again: {ended}"]
        problems = self._judged(releases) + at_rest(self.world)
        found = json.loads(json.dumps(snapshot(self.world)))
        for name in sorted(found.keys() | self.expected.keys()):
            if found.get(name) != self.expected.get(name):
                problems.append(f"{name}: {apart(found.get(name), self.expected.get(name))}")
        return problems

    def _act(self, step: int) -> str:
        """ "" for an act that ended well, KILLED, or what went wrong."""

        def act() -> str:
            result = self.scenario.act(self.world)
            good = not self.scenario.converges or getattr(result, "converged", True)
            return "" if good else f"not converged: {getattr(result, 'failed', '')} {getattr(result, 'remaining', '')}"

        return str(self._forked(act, step))

    def _must(self, what: str, act: Callable[[], Any]) -> Any:
        said = self._forked(act, UNKILLED)
        if isinstance(said, str) and said.startswith("Traceback"):
            raise RuntimeError(f"{self.name}: {what}: {said}")
        return said

    def _forked(self, act: Callable[[], Any], step: int) -> Any:
        """What `act` returns in a child that kills itself before its `step`-th step."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _in_the_child(act, step, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return KILLED if os.WTERMSIG(status) == signal.SIGKILL else f"signal {os.WTERMSIG(status)}"
        return json.loads(said or "null")

    def _save(self) -> None:
        for name in ("root", "cache"):
            _copy(self.world.folder / name, self.world.folder / f"saved-{name}")

    def restore(self) -> None:
        for name in ("root", "cache"):
            shutil.rmtree(self.world.folder / name, ignore_errors=True)
            _copy(self.world.folder / f"saved-{name}", self.world.folder / name)


def apart(found: object, expected: object) -> str:
    one, other = str(found), str(expected)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    start = max(same - 60, 0)
    return f"...{one[start : start + 200]}, undisturbed ...{other[start : start + 200]}"


def _in_the_child(act: Callable[[], Any], step: int, writing: int) -> None:
    """Never returns."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        durable._steps, durable._crash_at = 0, step
        said = act()
        durable._crash_at = 0
    except BaseException:  # noqa: BLE001 - told to the parent
        said = traceback.format_exc()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(said, default=lambda value: None).encode())
    os._exit(0)


def _copy(source: Path, target: Path) -> None:
    """With its links, symbolic and hard."""
    inodes: dict[int, str] = {}

    def copied(one: str, other: str) -> None:
        inode = os.stat(one).st_ino
        if inode in inodes:
            os.link(inodes[inode], other)
        else:
            shutil.copy2(one, other)
            inodes[inode] = other

    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=copied)


def _points(steps: int, runs: int) -> list[tuple[int, int]]:
    """All points, `runs` times each; for a negative number one of so many, with each kind of run in turn."""
    if runs > 0:
        return [(step, run) for run in range(runs) for step in range(1, steps + 1)]
    return [(step, step // -runs % RUNS) for step in range(1, steps + 1, -runs)]


def _work(folder: Path, names: list[str], runs: int, number: int) -> None:
    """This process's share of the scenarios, to standard output: to prepare one costs as much as many a point of it."""
    stand_ins.work_quickly()
    for name in names[number::PROCESSES]:
        bench = Bench(name, folder / str(number) / name)
        for step, run in _points(bench.steps, runs):
            line = json.dumps(bench.run(step, run)) + "\n"
            os.write(1, line.encode())
        shutil.rmtree(bench.world.folder, ignore_errors=True)


def main() -> None:
    folder, runs, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or list(SCENARIOS)
    children = []
    for number in range(PROCESSES):
        child = os.fork()
        if child == 0:
            try:
                _work(folder, names, runs, number)
            except BaseException:  # noqa: BLE001 - the parent fails with it
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(any(ends))


if __name__ == "__main__":
    main()
