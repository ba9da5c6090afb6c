"""Records that are lost, cut and flipped, each with a whole pass after it: what is declared is as before, nothing that
serves has moved, and `verify` finds nothing.

    python -m tests.faults.records_matrix FOLDER COUNT    COUNT flips and as many cuts; one JSON object for each
"""

import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from reconciler.domain.errors import ReconcilerError
from tests.crash import scenarios, stand_ins
from tests.crash.judging import at_rest, snapshot
from tests.crash.matrix import Bench
from tests.crash.scenarios import SCENARIOS, Scenario, World, overwrite

# Nobody else knows what they said; references come again with another comparison, and what serves needs none.
LOST_FOR_GOOD = ("records/history/", "records/failures.json", "records/references/")


def _prepare(world: World) -> None:
    """Releases with predecessors, and a failure that is remembered."""
    scenarios._two_releases_to_change(world)
    world.applied()
    world.declare("three", precisions="int4, int8")
    fails = world.folder / "fleet" / scenarios.FAILS
    fails.touch()
    world.apply()
    world.apply()


def damages(count: int, files: dict[str, bytes]) -> Iterator[tuple[str, str, bytes | None]]:
    """File, what is done to it, and what it then holds (None: it is gone)."""
    rolled, names = random.Random(0), sorted(files)
    for name in names:
        yield name, "gone", None
    for number in range(count):
        name = names[number % len(names)]
        data = files[name]
        bit, end = rolled.randrange(len(data) * 8), rolled.randrange(len(data))
        flipped = data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
        yield name, f"bit {bit}", flipped
        yield name, f"cut at {end}", data[:end]


def judged(bench: Bench, name: str, data: bytes | None) -> list[str]:
    bench.restore()
    world = bench.world
    path = world.root / name
    path.unlink() if data is None else overwrite(path, data)
    said = str(bench._forked(lambda: _acted(world), 0))
    now = json.loads(json.dumps(snapshot(world)))
    differ = [one for one in now.keys() | bench.expected.keys() if now.get(one) != bench.expected.get(one)]
    lost = [one for one in differ if not one.startswith(LOST_FOR_GOOD)]
    return [*([said] if said else []), *at_rest(world), *(f"{one} differs" for one in sorted(lost))]


def _acted(world: World) -> str:
    try:
        result = world.apply()
    except ReconcilerError as error:
        return error.code
    wrong = [one.message for one in result.failed if one.change.variant.partition("-")[0] != "three"]
    return "; ".join(wrong) or result.unrecorded


def main() -> None:
    stand_ins.work_quickly()
    SCENARIOS["records"] = Scenario(prepare=_prepare, act=scenarios._apply, converges=False)
    bench = Bench("records", Path(sys.argv[1]) / "records")
    root = bench.world.root
    found = [*(root / "records").rglob("*.json"), root / "records" / "events.jsonl"]
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in found if path.stat().st_size}
    for name, done, data in damages(int(sys.argv[2]), files):
        line = {"file": name, "done": done, "problems": judged(bench, name, data)}
        os.write(1, (json.dumps(line) + "\n").encode())


if __name__ == "__main__":
    main()
