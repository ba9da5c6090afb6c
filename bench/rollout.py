"""Rollouts, measured: `python -m bench.rollout --machines 1000` simulates a fleet in which each machine decides with
the real gate and planner (tests/fleet/rollout_world.py); `--daemons 24` runs so many real daemons through three rings,
with only Olive and Foundry Local stood in for (bench/fleet_agent.py).
"""

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench import fleet_agent
from bench.fleet_pull import CAPITALS, ROOT, Machine
from reconciler.backends.foundry.foundry import Foundry
from reconciler.domain.errors import RehearsalFailed
from tests.crash.stand_ins import StandInFoundry
from tests.fleet.rollout_world import DAY, HOUR, Fleet, candidate
from tests.git_server import Repository
from tests.planner.world import desired
from tests.registry.keys import key_pair


def simulate(count: int, *, short: bool, part: float) -> None:
    """Three rings of 1 %, 10 % and the rest, each soaked for a day. `short`: a good candidate, a bad one, and a machine
    that comes back. Only a `part` of the last ring decides: nobody reads its reports, so the others change nothing."""
    world = Fleet(count)
    last = world.ring(3)
    for one in last[int(len(last) * part) :]:
        one.online = False
    world.run(2 * DAY)
    print(f"{count:,} machines; rings of {', '.join(str(len(world.ring(number))) for number in (1, 2, 3))}", flush=True)
    away = world.ring(3)[0]
    away.online = False
    for one in world.ring(3)[1 : 1 + int(count * part) // 50]:
        one.online = False
    world.ring(1)[0].ahead = world.ring(2)[0].ahead = DAY
    good = candidate(1)
    latest = good
    _measured("a good candidate; one clock of two rings a day ahead, 2 % silent", world, world.commit(good), 3 * DAY)
    bad_on = world.ring(1)[-1].name
    if not short:
        late = world.ring(2)[-1].name
        partly = world.commit(candidate(3), bad=lambda name: name == late)
        _measured(f"a bad one that only {late} of the second ring refuses", world, partly, 4 * DAY)
        world.reports.forged = {one.name for one in world.ring(1)[: len(world.ring(1)) // 5]}
        forged = world.commit(candidate(4))
        _measured("a fifth of the first ring's reports is forged", world, forged, 3 * DAY)
        assert world.serving(forged) == {one.name for one in world.ring(1)}
        world.reports.forged = set()
        latest = candidate(5)
        new = world.commit(latest)
        world.run(84 * DAY)
        print(f"\nthe next good one: {len(world.serving(new)):,} serve it")
    began = world.now
    world.back(away, desired(latest))
    while away.serves != latest.digest:
        world.run(60.0)
        assert world.now - began < DAY, away.held
    print(f"\na machine that was away for {(began - 2 * DAY) / DAY:.0f} days serves it after {world.now - began:.0f} s")
    bad = world.commit(candidate(2), bad=lambda name: name == bad_on)
    _measured(f"a bad one: {bad_on} of the first ring refuses it", world, bad, 1.25 * DAY)
    assert world.serving(bad) == {one.name for one in world.ring(1)} - {bad_on}


LARGE = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {name: edge}
spec:
  rings:
    - {name: canary, share: 0.1, soak: 24h}
    - {name: early, share: 0.3, soak: 24h}
    - {name: broad}
"""


def large_first_ring(count: int) -> None:
    """A tenth of all machines goes first, and one of them refuses. Each machine of the second ring decides; nobody
    reads what the last one reports, so only some of it are there."""
    world = Fleet(count, LARGE)
    last = world.ring(3)
    for one in last[count // 100 :]:
        one.online = False
    world.run(2 * DAY)
    first, second = world.ring(1), world.ring(2)
    print(f"{count:,} machines; rings of {len(first):,}, {len(second):,} and {len(last):,}", flush=True)
    refusing = first[-1].name
    bad = world.commit(candidate(1), bad=lambda name: name == refusing)
    _measured(f"a bad one: {refusing} refuses it", world, bad, 1.25 * DAY)
    reached = len(world.serving(bad) - {one.name for one in first})
    print(f"  of the first ring {len(world.serving(bad)):,} serve it; of the second {reached}")
    assert reached == 0


def _measured(what: str, world: Fleet, digest: str, seconds: float) -> None:
    reports, began = world.reports, world.now
    pushed, looks, read, listings = reports.pushed, reports.looks, reports.read_count, reports.listings
    cpu = time.process_time()
    world.gate_times.clear()
    world.run(seconds)
    times = sorted(one.served_at[digest] - began for one in world.machines.values() if digest in one.served_at)
    online = sum(one.online for one in world.machines.values())
    looks, read, days = reports.looks - looks, reports.read_count - read, seconds / DAY
    last = f"half after {times[len(times) // 2] / HOUR:.1f} h, the last after {times[-1] / HOUR:.1f} h"
    held = Counter(str(one.held.reason) for one in world.machines.values() if one.held is not None and one.online)
    print(f"\n{what}\n  {len(times):,} of {online:,} serve it, {last}; held: {dict(held)}")
    print(
        f"  sent: {(reports.pushed - pushed) / days / online:.2f} reports a machine and day; "
        f"read: {looks / online:.1f} looks and {read / online:.0f} reports a machine; a pass with its look: "
        f"{sum(world.gate_times) / max(len(world.gate_times), 1) * 1e3:.1f} ms of CPU; "
        f"listings: {(reports.listings - listings) / online:.1f} a machine; {time.process_time() - cpu:.0f} s of CPU",
        flush=True,
    )


RINGS = {"canary": 3, "early": 8}
ROLLOUT = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Rollout
metadata: {name: edge}
spec:
  rings:
    - {name: canary, nodeSelector: {matchLabels: {ring: canary}}, soak: %(soak)s}
    - {name: early, nodeSelector: {matchLabels: {ring: early}}, soak: %(soak)s}
    - {name: broad}
"""
MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {name: capitals}
spec: {source: {path: ../model}, precisions: [int4], promptTemplate: %s}
"""
CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
name: %(name)s
labels: {ring: %(ring)s}
reports: {to: %(folder)s/reports, keys: %(folder)s/keys}
"""


def daemon(bad: str, *order: Any) -> None:
    """A daemon that refuses releases with this template, as if their first answer were garbage."""
    load = StandInFoundry._load

    def refusing(self: Foundry, parameters: dict[str, Any]) -> dict[str, Any]:
        path = self._entries()[parameters["id"]]["model_path"]  # type: ignore[attr-defined]
        origin = json.loads((Path(path) / "release.json").read_text())["body"]["template_origin"]
        if bad and origin == f"preset {bad}":
            raise RehearsalFailed("the answer is no text")
        return load(self, parameters)  # type: ignore[arg-type]

    StandInFoundry._load = refusing  # type: ignore[assignment,method-assign]
    fleet_agent.run(*order)


class Daemons:
    def __init__(self, folder: Path, count: int, soak: str) -> None:
        self.folder, self.soak = folder, soak
        names = [f"edge-{number:02}" for number in range(count)]
        rings = [ring for ring, size in RINGS.items() for _ in range(size)]
        self.rings = {name: rings[at] if at < len(rings) else "broad" for at, name in enumerate(names)}
        self.machines = {name: Machine(folder / name) for name in names}
        self.repository = Repository(folder / "fleet")
        shutil.copytree(CAPITALS, self.repository.folder / "model")
        (folder / "keys").mkdir()
        self.processes: list[Any] = []

    def begin(self, bad: str) -> None:
        self.declare("chatml")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["bench.rollout"])
        for name, machine in self.machines.items():
            machine.folder.mkdir()
            key, public = key_pair(machine.folder, name)
            shutil.copy(public, self.folder / "keys")
            config = machine.folder / "machine.yaml"
            config.write_text(CONFIG % {"name": name, "ring": self.rings[name], "folder": self.folder})
            config.chmod(0o600)
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "HOME": str(machine.folder),
                "GIT_CONFIG_GLOBAL": os.devnull,
                "RECONCILER_ROOT": str(machine.root),
                "RECONCILER_CACHE": str(machine.folder / "cache"),
                "RECONCILER_CONFIG": str(config),
            }
            follow = ["--repo", str(self.repository.folder), "--branch", "main", "--allow-file", "--interval", "10s"]
            arguments = ["run", *follow, "--listen", "off", "--scrub-period", "off", "--signing-key", key]
            order = [arguments, environment, str(machine.folder), str(machine.folder / "log")]
            refused = bad if name == "edge-00" else ""
            process = context.Process(target=daemon, args=(refused, *order))
            process.start()
            self.processes.append(process)

    def end(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()

    def declare(self, template: str, *, rollout: bool = False) -> None:
        self.repository.write("manifests/capitals.yaml", MODEL % template)
        if rollout:
            self.repository.write("manifests/rollout.yaml", ROLLOUT % {"soak": self.soak})
        self.repository.commit()

    def serving(self, template: str) -> Counter[str]:
        """How many of each ring."""
        found: Counter[str] = Counter()
        for name, machine in self.machines.items():
            if any(origin == f"preset {template}" for origin in self._origins(machine)):
                found[self.rings[name]] += 1
        return found

    def _origins(self, machine: Machine) -> list[str]:
        try:
            markers = [Path(one) / "release.json" for one in machine.index.values()]
            return [json.loads(one.read_text())["body"]["template_origin"] for one in markers]
        except (OSError, ValueError):  # it is being replaced
            return []

    def is_whole(self, ring: str, template: str) -> bool:
        return self.serving(template)[ring] == Counter(self.rings.values())[ring]

    def wait(self, what: str, until: Callable[[], bool], seconds: float) -> float:
        began = time.monotonic()
        while not until():
            assert time.monotonic() - began < seconds, f"{what}: {self.message('edge-05')}"
            time.sleep(5)
        took = time.monotonic() - began
        print(f"{what:<70} {took:6.0f} s", flush=True)
        return took

    def message(self, name: str) -> str:
        path = self.machines[name].root / "records" / "conditions.json"
        held = json.loads(path.read_text())["body"]["conditions"]["capitals-int4"]["Ready"]
        return f"{held['reason']}: {held['message']}"


def run_daemons(count: int, soak: str, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fleet = Daemons(Path(folder), count, soak)
        sizes = Counter(fleet.rings.values())
        fleet.begin(bad="phi4")
        try:
            fleet.wait(
                f"{count} daemons serve the first release, without a Rollout",
                lambda: fleet.serving("chatml") == sizes,
                900,
            )
            fleet.declare("phi3", rollout=True)
            for ring in ("canary", "early", "broad"):
                fleet.wait(f"a good candidate serves in ring {ring}", partial(fleet.is_whole, ring, "phi3"), 900)
                if ring == "canary":
                    print(f"    edge-05: {fleet.message('edge-05')}")
            fleet.declare("phi4")
            healthy = Counter({"canary": sizes["canary"] - 1})
            fleet.wait(
                "a bad one serves on all canaries but the one that refuses it",
                lambda: fleet.serving("phi4") == healthy,
                900,
            )
            time.sleep(seconds)
            assert fleet.serving("phi4") == healthy, fleet.serving("phi4")
            print(f"    after {seconds:.0f} s more on no other; edge-05: {fleet.message('edge-05')}")
            fleet.declare("llama3")
            fleet.wait("the next one serves everywhere", lambda: fleet.serving("llama3") == sizes, 1200)
            report = Path(folder) / "reports" / "edge-05.json"
            signed = sum(path.stat().st_size for path in report.parent.glob("edge-05.json*"))
            print(f"a report has {report.stat().st_size:,} bytes, {signed:,} with its signature")
        finally:
            fleet.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=0, help="simulate so many")
    parser.add_argument("--short", action="store_true", help="simulate only a good and a bad candidate")
    parser.add_argument(
        "--part", type=float, default=1.0, help="of the last ring's machines that decide (default: all)"
    )
    parser.add_argument("--large", type=int, default=0, help="simulate so many, a tenth of which is the first ring")
    parser.add_argument("--daemons", type=int, default=0, help="run so many (at least 12)")
    parser.add_argument("--soak", default="40s", help="of each ring of the daemons")
    parser.add_argument("--stay", type=float, default=180.0, help="seconds to see that a bad candidate goes no further")
    arguments = parser.parse_args()
    if arguments.machines:
        simulate(arguments.machines, short=arguments.short, part=arguments.part)
    if arguments.large:
        large_first_ring(arguments.large)
    if arguments.daemons:
        run_daemons(arguments.daemons, arguments.soak, arguments.stay)


if __name__ == "__main__":
    main()
