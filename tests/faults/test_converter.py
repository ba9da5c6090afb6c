"""Whole passes around a converter that lies in every way that we could think of, in real worker processes: each lie is
refused under a stable code and remembered as what it is; what served before it serves on, and its neighbours
converge."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.failures import RememberedFailure
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.sources.manifests import load
from tests.crash.judging import at_rest
from tests.crash.scenarios import CAPITALS, World
from tests.crash.stand_ins import options
from tests.e2e.conftest import olive_is_imported
from tests.machine import tree
from tests.trust import record

__all__ = ["olive_is_imported"]  # here too

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="jobs are forked")]

LIAR = "tests.faults.lying_olive"
TIMEOUT, SHORT = 600.0, 5.0  # seconds
MEMORY = 1 << 30  # a child that was forked and runs nothing yet counts its parent's once more
LOGS = 6 << 20  # bytes, of all attempts together: one floods
FAILED, LOST = "ConversionFailed", "ConverterLost"
PERMANENT, TEMPORARY = True, False

# What it does, the code, and whether another try may help.
LIES: dict[str, tuple[str, bool]] = {
    "no model": (FAILED, PERMANENT),
    "no weights": (FAILED, PERMANENT),
    "empty weights": (FAILED, PERMANENT),
    "cut weights": (FAILED, PERMANENT),
    "NaN": (FAILED, PERMANENT),
    "infinity": (FAILED, PERMANENT),
    "another shape": (FAILED, PERMANENT),
    "garbage": (FAILED, PERMANENT),
    "broken settings": (FAILED, PERMANENT),
    "a link": (FAILED, PERMANENT),
    "killed": (LOST, TEMPORARY),
    "crash": (FAILED, PERMANENT),
    "memory": ("MemoryLimit", TEMPORARY),
    "forks": ("ProcessLimit", PERMANENT),
    "a daemon": (FAILED, PERMANENT),
    "flood": (FAILED, PERMANENT),
    "EIO": ("DiskFailing", TEMPORARY),
    "EROFS": ("DiskReadOnly", TEMPORARY),
    "ENOSPC": ("DiskFull", TEMPORARY),
    "EACCES": ("AccessDenied", TEMPORARY),
}
SKIPS = "  gates: [{fidelity: {skip: nobody loads it}}]\n"
NAMES = {lie: f"m{number:02}" for number, lie in enumerate(("none", "hang", *LIES))}


def tell(world: World, name: str, **more: str) -> None:
    """Another source, and so another recipe."""
    path = world.folder / "fleet" / name / "generation_config.json"
    path.write_text(json.dumps(json.loads((CAPITALS / path.name).read_text()) | more))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Everything serves."""
    one = World(folder=tmp_path)
    for name in NAMES.values():
        one.give_model(CAPITALS, name)
        for path in (one.folder / "fleet" / name).iterdir():
            path.chmod(0o644)
        one.declare(name, precisions="fp32", source=f"../{name}", more=SKIPS)
    one.applied()
    return one


def converted(world: World, timeout: float = TIMEOUT) -> PassResult:
    chosen = replace(
        options(),
        make_converter=None,
        converter_module=LIAR,
        jobs=4,
        conversion_timeout=timeout,
        conversion_memory=MEMORY,
    )
    with locked_machine(str(world.root), str(world.cache), command="apply") as machine:
        return run_pass(machine, load(str(world.manifests)), Reporter(), chosen)


def remembered(world: World) -> dict[str, RememberedFailure]:
    return {one.variant: one for one in world.opened().records.failures()}


def rests(world: World) -> list[str]:
    """What is found wrong, once the last job's thread has put its folder away."""
    until = time.monotonic() + 60
    while (found := _wrong(world)) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _wrong(world: World) -> list[str]:
    ours = "the weights are not those of its recipe"
    return [one for one in at_rest(world) if ours not in one]


def test_every_lie_is_refused_and_what_served_serves_on(world: World) -> None:
    for lie in ("none", *LIES):
        tell(world, NAMES[lie], lie=lie)
    good = f"{NAMES['none']}-fp32"
    served = {n: s for n, s in tree(world.root / "served").items() if not n.startswith(good)}
    listed = {name for name in world.index() if not name.startswith(good)}
    result = converted(world)

    said = {one.change.variant: (one.code, one.permanent) for one in result.failed}
    assert said == {f"{NAMES[lie]}-fp32": expected for lie, expected in LIES.items()}, [
        (one.change.variant, one.code, one.message) for one in result.failed
    ]
    assert all("\n" not in one.message and len(one.message) < 600 for one in result.failed)
    assert {variant: (one.code, one.permanent) for variant, one in remembered(world).items()} == said
    assert {n: s for n, s in tree(world.root / "served").items() if not n.startswith(good)} == served
    assert listed <= world.index().keys()
    assert [name for name in world.index() if name.startswith(good)] != [f"{good}:1"]
    logs = list((world.root / "logs").iterdir())
    assert sum(path.stat().st_size for path in logs) < LOGS
    assert rests(world) == []

    tell(world, NAMES["hang"], lie="hang")
    hung = {one.change.variant: one for one in converted(world, SHORT).failed}[f"{NAMES['hang']}-fp32"]
    assert (hung.code, hung.permanent) == ("ConversionTimedOut", True)
    assert listed <= world.index().keys()

    for lie in ("hang", *LIES):
        tell(world, NAMES[lie], honest="yes")
    again = converted(world)
    assert again.converged, [(one.change.variant, one.code, one.message) for one in again.failed]
    assert remembered(world) == {}
    assert rests(world) == []
    record(
        "damage",
        f"{len(LIES) + 1} lies of a converter: 0 served, each under its code",
        ", ".join((*LIES, "hang")),
        part="liar",
    )
