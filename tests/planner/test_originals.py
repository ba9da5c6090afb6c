"""When the original of a ready ONNX model is fetched: where it is compared with it, and not measured yet."""

from dataclasses import replace

import pytest

from reconciler.domain.changes import FetchSource
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.machine.registries import LOCAL, PREFER_REGISTRY, REGISTRY_ONLY, ConvertMode
from reconciler.domain.machine.trust import Origin
from reconciler.domain.sources.locked import Fetch, LockedFile, LockedSource
from reconciler.gates.fidelity import FidelityGate
from tests.planner.world import World, desired, release, wanted

FILE = LockedFile(path="model.safetensors", size=100, sha256="0" * 64)
ORIGINAL = Fetch(source=LockedSource(repo="org/original", revision="1" * 40, files=(FILE,)), missing=100)
READY = replace(release(), recipe=replace(release().recipe, tools={}, options={"original": ORIGINAL.source.digest}))
WANTED = wanted(READY, original=ORIGINAL)
ARTIFACT = "sha256:of-" + READY.recipe.build_key


EMPTY = World().with_observed(disk_free=1 << 40)


def taken() -> World:
    """Not served, and not compared yet."""
    world = EMPTY.converge(desired(READY)).without_releases()
    return replace(world, recorded=replace(world.recorded, measured=World().recorded.measured))


@pytest.mark.parametrize(
    ("mode", "pulled", "comes"),
    [
        (LOCAL, False, True),
        (PREFER_REGISTRY, False, True),
        (PREFER_REGISTRY, True, False),  # its builder's numbers count
        (REGISTRY_ONLY, True, False),
    ],
)
def test_where_it_is_compared(mode: ConvertMode, pulled: bool, comes: bool) -> None:
    world = taken().with_observed(convert=mode)
    origins = (
        {
            ARTIFACT: Origin(
                artifact=ARTIFACT, build_key=READY.recipe.build_key, registry="oci://r", signed_by="", since=""
            )
        }
        if pulled
        else {}
    )
    world = replace(world, recorded=replace(world.recorded, origins=origins))
    changes = world.plan(desired(WANTED)).changes
    assert [one.cost.download_bytes for one in changes if isinstance(one, FetchSource)] == ([100] if comes else [])
    assert len(changes) == 1 or not comes


def test_before_anything_is_taken() -> None:
    assert [one.action for one in EMPTY.plan(desired(WANTED)).changes] == ["fetch"]


def test_not_where_it_cannot_be_compared() -> None:
    world = taken().with_observed(lacks_to_compare="torch must be installed")
    assert [one.action for one in world.plan(desired(WANTED)).changes] == ["measure", "verify", "register"]


def test_not_where_the_gate_is_skipped_or_was_measured() -> None:
    skipped = replace(WANTED, gates=GateSpec().with_gate(FidelityGate(skip="no torch")))
    assert [one.action for one in taken().plan(desired(skipped)).changes] == ["verify", "register"]
    measured = EMPTY.converge(desired(READY))
    assert measured.plan(desired(WANTED)).changes == ()
