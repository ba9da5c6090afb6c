"""Every state that a power cut may leave of what a scenario of the crash matrix does: recorded once, then played to
each of its events, and at each of them whatever was not flushed is lost in many ways. What must hold in the very moment
is judged in memory, in each state; a share of the states is laid out as real files, and mended by acting again.

    python -m tests.plug.states FOLDER ROLLS MENDED OF_GIT OF_OURS [SCENARIO ...]      one JSON object for each scenario

OF_OURS: of so many events one. OF_GIT: the same where git writes: hundreds of its own files between two steps of ours.
"""

import json
import pickle
import random
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.backends.foundry.index import INDEX
from tests.crash import stand_ins
from tests.crash.judging import at_rest, snapshot
from tests.crash.matrix import Bench, apart
from tests.crash.scenarios import SCENARIOS
from tests.plug import more, promises
from tests.plug.disk import Choice, Disk, Signature, Tree, lay_out, signature
from tests.plug.judge import Judge, Played
from tests.plug.promises import Look
from tests.plug.recording import Recorder, Tape

ALL = -1  # instead of a number of states that are mended
SHOWN = 5  # problems of one scenario


class Recorded(Bench):
    """A scenario whose undisturbed run was recorded."""

    def __init__(self, name: str, folder: Path) -> None:
        SCENARIOS.setdefault(name, more.ALL[name])
        super().__init__(name, folder)
        self.tape: Tape = pickle.loads(self._tape.read_bytes())

    @property
    def _tape(self) -> Path:
        return self.world.folder / "tape"

    def _undisturbed(self) -> tuple[int, list[str]]:
        recorder = Recorder(str(self.world.folder), ("root", "cache"))
        recorder.start()
        said = super()._undisturbed()
        self._tape.write_bytes(pickle.dumps(recorder.stop()))
        return said

    def mended(self, tree: Tree) -> list[str]:
        """The state as real files, one pass over it, and what that leaves."""
        for name in ("root", "cache"):
            shutil.rmtree(self.world.folder / name, ignore_errors=True)
        lay_out(self.tape, tree, str(self.world.folder))
        ended = self._act(0)
        if Look(self.tape, tree, str(self.world.folder)).listed is None:  # only a person knows what else it listed
            kept = (self.world.cache / INDEX).read_bytes() == self.tape.contents[tree[promises.CATALOG][1]]
            return [] if "CatalogBroken" in ended and kept else [f"a torn catalog: {ended or 'was accepted'}"]
        if ended:
            return [f"acting again: {ended}"]
        found = json.loads(json.dumps(snapshot(self.world)))
        problems = at_rest(self.world)
        for name in sorted(found.keys() | self.expected.keys()):
            if found.get(name) != self.expected.get(name):
                problems.append(f"{name}: {apart(found.get(name), self.expected.get(name))}")
        if not self.scenario.damaged:
            problems += [f"moved aside: {path}" for path in (self.world.root / "quarantine").rglob("*")]
        return problems


@dataclass(frozen=True, slots=True)
class State:
    """What was left when the power went after `played` events."""

    name: Signature
    played: int
    choice: Choice
    tree: Tree
    problems: list[str]

    def where(self, tape: Tape) -> str:
        """For whoever looks for the reason."""
        disk = Disk(tape)
        for _ in range(self.played):
            event = disk.play()
        return f"after event {self.played} ({event}): {disk.told(self.choice)}"


def states(bench: Recorded, rolls: int, every: int = 1) -> Iterator[State]:
    """Each state once."""
    disk, rolled = Disk(bench.tape), random.Random(bench.name)
    judge = Judge(bench.tape, str(bench.world.folder), damaged=bench.scenario.damaged)
    point, known = Played(shown={}), set[tuple[Signature, bool, int]]()
    judge.step(disk, point)
    while disk.played < len(bench.tape.events):
        event = disk.play()
        point.after(event, disk)
        objects = judge.step(disk, point)
        if disk.played % every and disk.played < len(bench.tape.events):
            continue
        for choice in dict.fromkeys(disk.choices(rolled, rolls)):
            tree = disk.tree(choice)
            name = signature(tree)
            if (key := (name, point.open, len(point.shown))) not in known:
                known.add(key)
                problems = judge.problems(disk, choice, tree, point, objects)
                yield State(name=name, played=disk.played, choice=choice, tree=tree, problems=problems)


def judged(name: str, folder: Path, rolls: int, mended: int, of_git: int = 1, of_ours: int = 1) -> dict[str, Any]:
    began = time.process_time()
    bench = Recorded(name, folder)
    problems, found = list[str](), dict[Signature, State]()
    count = 0
    for state in states(bench, rolls, of_git if "git" in name else of_ours):
        count += 1
        found.setdefault(state.name, state)
        problems += [f"{state.where(bench.tape)}: {one}" for one in state.problems]
    chosen = [*found.values()]
    if mended != ALL:
        chosen = random.Random(name).sample(chosen, min(mended, len(chosen)))
    for state in chosen:
        problems += [f"{state.where(bench.tape)}: {one}" for one in bench.mended(state.tree)]
    shutil.rmtree(bench.world.folder, ignore_errors=True)
    return {
        "scenario": name,
        "events": len(bench.tape.events),
        "states": count,
        "mended": len(chosen),
        "seconds": round(time.process_time() - began, 1),
        "wrong": len(problems),
        "problems": problems[:SHOWN],
    }


def main() -> None:
    stand_ins.work_quickly()
    folder, sizes = Path(sys.argv[1]), [int(size) for size in sys.argv[2:6]]
    for name in sys.argv[6:] or more.ALL:
        print(json.dumps(judged(name, folder / name, *sizes)), flush=True)


if __name__ == "__main__":
    main()
