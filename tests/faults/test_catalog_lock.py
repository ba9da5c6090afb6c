"""Another application holds the lock of Foundry Local's catalog, for minutes: who it is, is said; everything that needs
no catalog goes on; nobody waits for it twice in a pass; and the pass after its end converges."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.backends.foundry.foundry import TimeLimits
from reconciler.backends.foundry.index import LOCK, LOCKS, lock_holder, wait_until_free
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.sources.manifests import load
from tests.crash.scenarios import World, overwrite
from tests.crash.stand_ins import StandInFoundry, options

pytestmark = pytest.mark.skipif(not Path(LOCKS).exists(), reason="the system lists no locks")

PATIENCE = 1.0  # seconds
MODELS = ("a", "b", "c", "d")

_HOLDER = """
import fcntl, sys
lock = open(sys.argv[1], "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another(cache: Path) -> Iterator[int]:
    command = [sys.executable, "-c", _HOLDER, str(cache / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.communicate()


@pytest.fixture
def world(tmp_path: Path) -> World:
    one = World(folder=tmp_path)
    one.has_source()
    for name in (*MODELS, "e"):
        one.declare(name)
    one.applied()
    for name in MODELS:
        one.declare(name, template="phi3")
    overwrite(one.folder_of("e-int4") / "genai_config.json", b"edited")
    return one


def runtime(cache: str, scratch: str, log: str) -> StandInFoundry:
    return StandInFoundry(cache, scratch=scratch, log=log, limits=TimeLimits(catalog=PATIENCE))


def applied(world: World) -> PassResult:
    chosen = replace(options(), make_runtime=runtime)
    with locked_machine(str(world.root), str(world.cache), command="apply") as machine:
        return run_pass(machine, load(str(world.manifests)), Reporter(), chosen)


def test_a_lock_held_for_minutes_is_waited_for_once_and_its_holder_is_named(world: World) -> None:
    with held_by_another(world.cache) as pid:
        result = applied(world)
    failed = {one.change.variant: one for one in result.failed}
    assert failed.keys() == {f"{name}-int4" for name in MODELS}
    for one in failed.values():
        assert (one.change.action, one.code, one.permanent) == ("register", "CatalogLocked", False)
        assert f" by pid {pid} (" in one.message
    waited = [one for one in failed.values() if f"held for more than {PATIENCE:g} s" in one.message]
    assert len(waited) == 1
    done = {(one.change.action, one.change.variant) for one in result.outcomes if one.status == "done"}
    assert ("repair", "e-int4") in done
    assert {one for one in world.index() if one.endswith(":1")} == {f"{n}-int4:1" for n in (*MODELS, "e")}

    assert applied(world).converged
    served = {one.rpartition(":")[0] for one in world.index() if not one.endswith(":1")}
    assert served == {f"{name}-int4" for name in MODELS}


def test_who_holds_it_is_told_without_taking_it(world: World) -> None:
    cache = str(world.cache)
    assert lock_holder(cache) == ""
    with held_by_another(world.cache) as pid:
        assert lock_holder(cache).startswith(f"pid {pid} (")
    assert wait_until_free(cache, 30.0) == ""
    assert lock_holder(str(world.folder)) == ""
