"""What the system may refuse a whole pass: each durable step of every scenario of the crashes fails with each error,
once and for good, and so does each call that changes a file, also past host.durable. The pass must end with a stable
code, tell no lie, leave what served; and the next one must end where a pass ends that nothing disturbed. Half of the
next ones are made by the same process, as a daemon makes them.

    python -m tests.faults.engine_matrix FOLDER SHARE [SCENARIO ...]     one JSON object a run; SHARE 1 is everything
"""

import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.domain.errors import ReconcilerError, refused
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.planning import take_snapshot
from reconciler.engine.reconciler import run_pass
from reconciler.host import durable
from reconciler.sources.manifests import load
from tests.crash import scenarios, stand_ins
from tests.crash.judging import at_rest, snapshot
from tests.crash.matrix import PROCESSES, UNKILLED, Bench, apart
from tests.crash.scenarios import SCENARIOS

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CALL = "call "  # before the number of a call, rather than that of a step
ERRORS = {"ENOSPC": "DiskFull", "EIO": "DiskFailing", "EROFS": "DiskReadOnly", "EACCES": "AccessDenied"}
KINDS = [f"{error}{lasting}" for error in ERRORS for lasting in ("", "+")]
UNDISTURBED = "0:EIO"
PROMISED = 12  # of so many points one: the share of `make trust`
LEAST, FEWEST = 4, 2  # points of each scenario: as promised, and in a share that is smaller
PASSES = (scenarios._apply, scenarios._apply_confirmed)
# What a step may end with besides the refusal's own code: the child was refused, or a later look found half of it.
CODES = {*ERRORS.values(), "CatalogNotWritable", "NotRegistered", "ServedFolderDamaged", "ArtifactMissing"}
CODES |= {"ConversionFailed", "Cancelled"}  # as the scenario has it, and what a pass drops
# A list that was written once and is empty again is as good as none.
NO_FAILURES = 'records/failures.json: ...{"failures": [], "formatVersion": 1}, undisturbed ...None'


class Calls:
    """Refuses calls rather than steps: whatever opens a file for writing, makes, renames, links or removes one below
    `folder`, also past host.durable (logs, scratch folders, git's mirror, exports). Python asks it before each."""

    CHANGING = frozenset({"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod"})

    def __init__(self) -> None:
        self.count = 0
        self._folder, self._fault = "", durable.fault(UNDISTURBED)
        sys.addaudithook(self._heard)  # for the life of the process: only in a child

    def begin(self, folder: Path, fault: str) -> None:
        self.count, self._folder, self._fault = 0, str(folder), durable.fault(fault)

    def end(self) -> None:
        self._folder = ""

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._folder or not (event in self.CHANGING or (event == "open" and arguments[2] & WRITES)):
            return
        path = arguments[0]
        if not isinstance(path, str) or not path.startswith(self._folder):
            return
        self.count += 1
        number, code, lasting = self._fault
        if number and (self.count == number or (lasting and self.count > number)):
            raise OSError(code, os.strerror(code), path)


class FaultBench(Bench):
    """One scenario under refusals."""

    def calls(self) -> int:
        """How many an undisturbed act makes."""

        def act() -> int:
            calls = Calls()
            calls.begin(self.world.root, UNDISTURBED)
            self.scenario.act(self.world)
            return calls.count

        self.restore()
        return int(self._must("count", act))

    def refuse(self, step: int, kind: str, *, same: bool) -> dict[str, Any]:
        """`same`: the process that was refused makes the next pass, too."""
        self.restore()
        same = same and self.scenario.act in PASSES
        kind, call = kind.removeprefix(CALL), CALL if kind.startswith(CALL) else ""
        said = self._forked(lambda: self._told(f"{call}{step}:{kind}", same), UNKILLED)
        if not isinstance(said, dict):
            said = {"code": "", "problems": [str(said)[-1500:]]}
        problems = [*said["problems"], *self._judged({})] if not same else [*said["problems"]]
        problems += self._steady() if same else self._mended({})
        return {"scenario": self.name, "step": step, "kind": call + kind, "code": said["code"], "problems": problems}

    def _mended(self, releases: dict[str, str]) -> list[str]:
        return [one for one in super()._mended(releases) if not one.startswith(NO_FAILURES)]

    def _steady(self) -> list[str]:
        found, problems = json.loads(json.dumps(snapshot(self.world))), at_rest(self.world)
        for name in sorted(found.keys() | self.expected.keys()):
            if found.get(name) != self.expected.get(name):
                problems.append(f"{name}: {apart(found.get(name), self.expected.get(name))}")
        return [one for one in problems if not one.startswith(NO_FAILURES)]

    def _told(self, fault: str, same: bool) -> dict[str, Any]:
        """In the child: what came of it, as the command line would tell."""
        log = self.world.folder / "said"
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 2)
        code, problems = self._kept(fault) if same else self._refused(fault)
        if "Traceback" in log.read_text():
            problems.append(f"a traceback in the log: {log.read_text()[-1500:]}")
        return {"code": code, "problems": problems}

    def _refused(self, fault: str) -> tuple[str, list[str]]:
        try:
            with self._refusing(fault):
                result = self.scenario.act(self.world)
        except Exception as error:  # noqa: BLE001 - judged
            return _code_of(error)
        return self._judge(result) if isinstance(result, PassResult) else ("", [])

    def _kept(self, fault: str) -> tuple[str, list[str]]:
        """Two passes of one machine, the second one undisturbed; what served goes on between them."""
        world, more = self.world, {"confirm": self.scenario.act is scenarios._apply_confirmed}
        chosen = world.options(**more)
        with locked_machine(str(world.root), str(world.cache), command="run", traits=world.traits) as machine:
            parsed = load(str(world.manifests))
            try:
                with self._refusing(fault):
                    first = run_pass(machine, parsed, Reporter(), chosen)
                code, problems = self._judge(first)
            except Exception as error:  # noqa: BLE001 - judged
                code, problems = _code_of(error)
            problems += self._judged({})
            result = run_pass(machine, parsed, Reporter(), chosen)
            if self.scenario.converges and not result.converged:
                problems.append(f"the next pass of this process: {_failed(result)}")
        return code, problems

    @contextmanager
    def _refusing(self, fault: str) -> Iterator[None]:
        if fault.startswith(CALL):
            calls = Calls()
            calls.begin(self.world.root, fault.removeprefix(CALL))
            try:
                yield
            finally:
                calls.end()
            return
        durable._steps, durable._fail_at = 0, durable.fault(fault)
        try:
            yield
        finally:
            durable._fail_at = durable.fault(UNDISTURBED)

    def _judge(self, result: PassResult) -> tuple[str, list[str]]:
        """Stable codes, and no lie: what says that it converged leaves nothing to do."""
        codes = [one.code for one in result.outcomes if one.status != "done"]
        problems = [f"ended with {code}: {_failed(result)}" for code in codes if code not in CODES]
        if result.converged and (left := self._left()):
            problems.append(f"said that it converged, and leaves {left}")
        return next(iter(codes), "Unrecorded" if result.unrecorded else ""), problems

    def _left(self) -> str:
        if not self.world.manifests.is_dir():
            return ""
        plan = take_snapshot(self.world.opened(), load(str(self.world.manifests))).plan
        return ", ".join(f"{one.action} {one.variant}" for one in plan.changes)


def _code_of(error: Exception) -> tuple[str, list[str]]:
    known = error if isinstance(error, ReconcilerError) else None
    if isinstance(error, OSError):
        known = refused(error)
    if known is None:
        return "Bug", ["".join(traceback.format_exception(error))[-1500:]]
    return known.code, [] if known.code in CODES else [f"ended with {known.code}: {known}"]


def _failed(result: PassResult) -> str:
    said = [(one.change.action, one.change.variant, one.code, one.message) for one in result.outcomes]
    return f"{said} {result.remaining} {result.resolution.problems}"[:1500]


def points(steps: int, share: int, first: int = 0) -> Iterator[tuple[int, str, bool]]:
    """Everything, or every `share`-th point with the kinds in turn, beginning with the `first`."""
    if share == 1:
        for step in range(1, steps + 1):
            yield from ((step, kind, bool((step + number) % 2)) for number, kind in enumerate(KINDS))
        return
    for turn, step in enumerate(range(share, steps + 1, share), first):
        yield step, KINDS[turn % len(KINDS)], bool((turn + turn // len(KINDS)) % 2)


def _work(folder: Path, names: list[str], share: int, number: int) -> None:
    stand_ins.work_quickly()
    for name in names[number::PROCESSES]:
        bench = FaultBench(name, folder / str(number) / name)
        dear = 4 if share > 1 and "git" in name else 1  # it waits for git, some twenty times a pass
        first = sum(map(ord, name))
        some = [min(share * dear, max(bench.steps // least, 2)) for least in (LEAST, FEWEST)] if share > 1 else [1, 1]
        calls = points(bench.calls(), 2 * some[0] if share > 1 else 1, first)
        chosen = [
            *points(bench.steps, some[share > PROMISED], first),
            *((step, CALL + kind, same) for step, kind, same in calls),
        ]
        for step, kind, same in chosen:
            line = json.dumps(bench.refuse(step, kind, same=same)) + "\n"
            os.write(1, line.encode())
        shutil.rmtree(bench.world.folder, ignore_errors=True)


def main() -> None:
    folder, share, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or list(SCENARIOS)
    children = []
    for number in range(PROCESSES):
        child = os.fork()
        if child == 0:
            try:
                _work(folder, names, share, number)
            except BaseException:  # noqa: BLE001 - the parent fails with it
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(any(ends))


if __name__ == "__main__":
    main()
