"""Two roots, and so two owners, on one Foundry cache: neither takes, changes or prunes what is the other's, whatever
its manifests are called; and one that goes leaves the other alone."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.sources.manifests import load
from tests.crash.judging import at_rest
from tests.crash.scenarios import World
from tests.crash.stand_ins import StandInFoundry, options
from tests.machine import tree


class Second(World):
    """Beside the first, on its cache."""

    @property
    def cache(self) -> Path:
        return self.folder.parent / "first" / "cache"


@pytest.fixture
def worlds(tmp_path: Path) -> tuple[World, Second]:
    one, other = World(folder=tmp_path / "first"), Second(folder=tmp_path / "second")
    for world in (one, other):
        world.has_source()
        world.declare("shared")
    one.declare("mine")
    other.declare("theirs")
    return one, other


def of(world: World) -> dict[str, str]:
    """Its own entries."""
    owner = world.opened().owner
    return {
        name: json.dumps(entry, sort_keys=True)
        for name, entry in world.index().items()
        if entry["model_info"]["stringProperties"].get("reconciler_owner") == owner
    }


def held(result: PassResult) -> set[tuple[str, str]]:
    return {(one.variant, one.reason) for one in result.remaining.held}


def test_neither_takes_what_is_the_others(worlds: tuple[World, Second]) -> None:
    one, other = worlds
    assert one.apply().converged
    mine, files = of(one), tree(one.root / "served")

    result = other.apply()
    assert held(result) == {("shared-int4", "NameTaken")}
    assert not result.failed
    assert of(other).keys() == {"theirs-int4:1"}

    for _ in range(2):  # they do not fight: from now on nobody changes anything
        assert not one.apply().outcomes
        assert not other.apply().outcomes
    assert of(one) == mine
    assert tree(one.root / "served") == files
    assert at_rest(one) == []
    assert at_rest(other) == []


def test_what_one_prunes_the_other_may_have(worlds: tuple[World, Second]) -> None:
    one, other = worlds
    one.applied()
    other.apply()
    theirs, files = of(other), tree(other.root / "served")
    for path in one.manifests.iterdir():
        path.unlink()
    assert one.apply(confirm=True).converged
    assert of(one) == {}
    assert of(other) == theirs
    assert tree(other.root / "served") == files
    other.applied()
    assert "shared-int4" in {name.partition(":")[0] for name in of(other)}
    assert at_rest(one) == []
    assert at_rest(other) == []


def test_who_is_quicker_gets_the_name(worlds: tuple[World, Second]) -> None:
    """Both planned to register it, and the other one was there first."""
    one, other = worlds
    beaten: list[PassResult] = []

    class Slow(StandInFoundry):
        def _register(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
            if parameters["id"] == "shared-int4:1" and not beaten:
                beaten.append(one.apply())
            return super()._register(parameters)

    def make(cache: str, scratch: str, log: str) -> Slow:
        return Slow(cache, scratch=scratch, log=log)

    chosen = replace(options(), make_runtime=make)
    with locked_machine(str(other.root), str(other.cache), command="apply") as machine:
        result = run_pass(machine, load(str(other.manifests)), Reporter(), chosen)
    assert beaten[0].converged
    assert [(o.change.variant, o.code, o.permanent) for o in result.failed] == [
        ("shared-int4", "AlreadyRegistered", False)
    ]
    assert of(one).keys() == {"shared-int4:1", "mine-int4:1"}
    assert of(other).keys() == {"theirs-int4:1"}

    assert held(other.apply()) == {("shared-int4", "NameTaken")}
    assert not one.apply().outcomes
    assert at_rest(one) == []
    assert at_rest(other) == []
