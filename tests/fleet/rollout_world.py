"""A simulated fleet under a Rollout: on each machine the real gate and the real planner decide; time, reports and what
a conversion brings are made up. Used small by a test and whole by bench/rollout.py.

A machine makes a pass when a commit reaches it and when its gate wants to look at reports, reports when something
changes and once a day, and has clocks of its own: one that can be set, and one that begins with each start.
"""

import heapq
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from reconciler.domain.changes import Register
from reconciler.domain.desired import Desired
from reconciler.domain.machine_report import (
    FORGED,
    REJECTED,
    VERIFIED,
    JudgedReport,
    MachineReport,
    RefusedRelease,
    VariantReport,
)
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.release import Release
from reconciler.domain.rollout import Rollout, RolloutMemory
from reconciler.engine.rollouts.gate import RolloutGate
from reconciler.host.clock import text_of
from reconciler.machine_reports.place import refusal_mark
from reconciler.manifests.parsed import Parsed
from reconciler.planner.plan import make_plan
from reconciler.planner.rollout import rings_by_name
from tests.manifests.test_confirmation import parsed
from tests.planner.world import World, desired, release

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
BEGINNING = 1_800_000_000.0  # seconds since 1970
VARIANT = "capitals-int4"
MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: capitals}
spec: {source: {path: ../m}, precisions: [int4]}
---
"""
ROLLOUT = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {name: edge}
spec:
  rings:
    - {name: canary, share: 0.01, soak: 24h}
    - {name: early, share: 0.1, soak: 24h}
    - {name: broad}
"""
OLD = desired(release())
SERVES_OLD = World().converge(OLD)


def candidate(number: int) -> Release:
    """Another template each: another release, and no conversion."""
    return release(template=f"{{{{ {number} }}}}")


class Kept:
    """Memory that outlives a process."""

    def __init__(self) -> None:
        self.value = RolloutMemory()
        self.writes = 0

    def read(self) -> RolloutMemory:
        return self.value

    def write(self, value: RolloutMemory) -> None:
        self.value, self.writes = value, self.writes + 1


@dataclass
class Reports:
    """Where all report. `forged`: machines in whose name somebody else does."""

    held: dict[str, JudgedReport] = field(default_factory=dict)
    forged: set[str] = field(default_factory=set)
    marks: set[str] = field(default_factory=set)
    listings: int = 0
    known: Collection[str] = ()
    looks: int = 0
    read_count: int = 0
    pushed: int = 0
    _rollout: Rollout | None = None
    _rings: Mapping[str, int] = field(default_factory=dict)

    def names(self) -> Collection[str]:
        return self.known

    def rings(self, rollout: Rollout) -> Mapping[str, int]:
        """Made once for all machines, which know the same."""
        if rollout is not self._rollout:
            self._rollout, self._rings = rollout, rings_by_name(rollout, self.known)
        return self._rings

    def refusing(self, releases: Collection[str], machines: Collection[str]) -> Collection[str]:
        self.listings += 1
        return {one for one in machines if any(refusal_mark(release, one) in self.marks for release in releases)}

    def read(self, machines: Iterable[str]) -> list[JudgedReport]:
        found = [self.held[name] for name in machines if name in self.held]
        self.looks, self.read_count = self.looks + 1, self.read_count + len(found)
        return [self._forged(one) if one.entry in self.forged else one for one in found]

    def push(self, report: MachineReport) -> None:
        self.pushed += 1
        refused = [one.refused_now for one in report.variants if one.refused_now]
        self.marks.update(refusal_mark(one, report.machine) for one in refused)
        self.held[report.machine] = JudgedReport(entry=report.machine, standing=VERIFIED, report=report)

    def _forged(self, one: JudgedReport) -> JudgedReport:
        """It says whatever would open a ring, and not with the machine's key."""
        return replace(one, standing=FORGED, why="it is signed by another key")


@dataclass
class Machine:
    name: str
    fleet: "Fleet"
    ahead: float = 0.0  # seconds that its clock shows too much
    kept: Kept = field(default_factory=Kept)
    world: World = SERVES_OLD
    serves: str = ""
    since: str = ""
    refused: list[RefusedRelease] = field(default_factory=list)
    held: Held | None = None
    online: bool = True
    wanted: Desired = OLD
    counter: int = 0
    booted: float = 0.0
    served_at: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start()
        self.serves, self.since = release().digest, self.clock_text()

    def start(self) -> None:
        """Its system: the monotonic clock begins anew, the memory stays."""
        self.booted = self.fleet.now
        self.gate = RolloutGate(
            self.name, dict, self.kept, self.fleet.reports, ticks=self.ticks, clock=self.clock, why_not=""
        )

    def ticks(self) -> float:
        return self.fleet.now - self.booted

    def clock(self) -> float:
        return BEGINNING + self.fleet.now + self.ahead

    def clock_text(self) -> str:
        return text_of(self.clock())

    def step(self) -> None:
        """One pass: the gate, then the plan, then what the plan says."""
        want, fleet = self.wanted, self.fleet
        if not self.online:
            return
        is_timed = fleet.passes % 50 == 0  # asking the clock costs as much
        began = time.process_time() if is_timed else 0.0
        holds = self.gate.holds(fleet.declared, want, self.world.observed, self.world.recorded)
        if is_timed:
            fleet.gate_times.append(time.process_time() - began)
        fleet.passes += 1
        self.gate.save()
        self.held = holds.get(VARIANT)
        if fleet.would_register(want, self.world, holds):
            fleet.at(fleet.now + fleet.draw.uniform(MINUTE, 10 * MINUTE), self.ended)
        elif self.held is not None and self.held.reason is Reason.AWAITING_RING:
            due = self.gate.next_look or 0.0
            fleet.at(max(due + self.booted, fleet.now) + fleet.draw.uniform(0.0, MINUTE), self.step)

    def ended(self) -> None:
        """A conversion or a pull: the gates let it serve, or refuse it."""
        if not self.online:
            return
        digest = self.wanted.wanted[0].release.digest
        if digest in {one.release for one in self.refused} or digest == self.serves:
            return
        if self.fleet.is_bad(self.name, digest):
            why = RefusedRelease(release=digest, outcome=REJECTED, message="fidelity 0.31 beside 0.9")
            self.refused.append(why)
        else:
            self.world = self.fleet.converged(self.world, self.wanted)
            self.serves, self.since = digest, self.clock_text()
            self.served_at[digest] = self.fleet.now
        self.report()

    def report(self) -> None:
        if not self.online:
            return
        self.counter += 1
        wanted = self.wanted.wanted[0].release.digest
        one = VariantReport(
            variant=VARIANT,
            model="capitals",
            precision="int4",
            wanted=wanted,
            serves=self.serves,
            since=self.since,
            ready=str(wanted == self.serves),
            ready_since=self.since,
            refused=tuple(self.refused),
        )
        stated = MachineReport(machine=self.name, generated=self.clock_text(), counter=self.counter, variants=(one,))
        self.fleet.reports.push(stated)

    def daily(self) -> None:
        self.report()
        self.fleet.at(self.fleet.now + DAY, self.daily)


class Fleet:
    def __init__(self, count: int, text: str = ROLLOUT, *, seed: int = 1) -> None:
        self.now, self.draw = 0.0, random.Random(seed)
        self.reports = Reports()
        self.gate_times, self.passes = list[float](), 0
        self.bad: dict[str, Callable[[str], bool]] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers: Iterator[int] = iter(range(1 << 60))
        self._converged: dict[tuple[str, str], World] = {}
        self._planned: dict[tuple[int, int, Held | None], tuple[Desired, World, bool]] = {}
        self.write(text)
        names = [f"edge-{number:05}" for number in range(count)]
        self.reports.known = frozenset(names)
        self.machines = {name: Machine(name, self) for name in names}
        for machine in self.machines.values():
            machine.report()
            self.at(self.draw.uniform(0.0, DAY), machine.daily)

    def write(self, text: str) -> None:
        self.declared: Parsed = parsed(a=MODEL + text)
        assert not self.declared.problems, self.declared.problems

    def at(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (moment, next(self._numbers), what))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, what = heapq.heappop(self._queue)
            what()
        self.now = end

    def commit(self, one: Release, bad: Callable[[str], bool] = lambda _: False) -> str:
        """It reaches each machine within a minute."""
        self.bad[one.digest] = bad
        want = desired(one)
        for machine in self.machines.values():
            if machine.online:
                machine.step()  # its last pass before
            self.at(self.now + self.draw.uniform(0.0, MINUTE), lambda it=machine: self.reach(it, want))
        return one.digest

    def reach(self, machine: Machine, want: Desired) -> None:
        if machine.online:
            machine.wanted = want
            machine.step()

    def pull(self) -> None:
        """The Rollout was changed in git: every machine makes a pass."""
        for machine in self.machines.values():
            self.at(self.now + self.draw.uniform(0.0, MINUTE), machine.step)

    def back(self, machine: Machine, want: Desired) -> None:
        machine.online = True
        machine.start()
        self.reach(machine, want)
        self.at(self.now + MINUTE, machine.daily)

    def is_bad(self, machine: str, digest: str) -> bool:
        return self.bad[digest](machine)

    def converged(self, world: World, want: Desired) -> World:
        """The same for all that served the same: the planner's own world, made once."""
        before = str(sorted(world.serving().get(VARIANT, ())))
        key = before, want.wanted[0].release.digest
        if key not in self._converged:
            self._converged[key] = world.converge(want)
        return self._converged[key]

    def would_register(self, want: Desired, world: World, holds: Mapping[str, Held]) -> bool:
        """What the planner says, asked once for what is the same: it is pure."""
        key = id(want), id(world), holds.get(VARIANT)
        if key not in self._planned:
            plan = make_plan(want, replace(world.observed, rings=holds), world.recorded)
            # With what is planned for, so that no other object gets its id.
            self._planned[key] = want, world, any(isinstance(one, Register) for one in plan.changes)
        return self._planned[key][2]

    def ring(self, number: int) -> list[Machine]:
        (rollout,) = self.declared.rollouts
        return [self.machines[name] for name, at in rings_by_name(rollout, self.machines).items() if at == number]

    def serving(self, digest: str) -> set[str]:
        return {name for name, one in self.machines.items() if one.serves == digest}
