"""A source that cannot be read here is what the machine recorded, as long as the model is declared as it was. And what
an export to a machine leaves out."""

from dataclasses import replace

import pytest

from reconciler.domain.machine.registries import Offer
from reconciler.domain.manifest import Model, Template
from reconciler.domain.sources.locked import LockedSource
from reconciler.fleet.comparison import Side
from reconciler.fleet.forecast import desired_for
from reconciler.fleet.shipment import plan_shipment
from tests.fleet.test_inventory import inventory
from tests.planner.world import World, desired, release

TEMPLATE = Template(origin="inline", jinja="{{ messages }}")
MODEL = Model(name="capitals", file="a.yaml", line=1, source_path="/srv/model", precisions=("int4",), template=TEMPLATE)
HUB = LockedSource(repo="org/model", revision="1" * 40)
THERE, HERE = release(source="sha256:there"), release(source="sha256:unknown")


def side(model: Model) -> Side:
    return Side(revision="", commit="", models=(model,), desired=desired(HERE), unknown=frozenset({"capitals"}))


@pytest.mark.parametrize(
    ("head", "source"),
    [
        (MODEL, "sha256:there"),
        (replace(MODEL, line=7), "sha256:there"),
        (replace(MODEL, source_path="/srv/other"), "sha256:unknown"),
        (replace(MODEL, adapter_path="/srv/adapter"), "sha256:unknown"),
        (replace(MODEL, remote=HUB), "sha256:unknown"),
        (replace(MODEL, original_path="/srv/original"), "sha256:unknown"),
        (replace(MODEL, original=HUB), "sha256:unknown"),
    ],
)
def test_what_is_declared_as_it_was_is_what_the_machine_recorded(head: Model, source: str) -> None:
    world = World().converge(desired(THERE))
    (meant,) = desired_for(inventory(world), world.recorded, side(MODEL), side(head)).wanted
    assert meant.release.recipe.source == source


def test_a_precision_that_serves_until_the_shipped_one_does_is_nothing_that_is_left_out() -> None:
    offer = Offer(registry="registry.example.com/models", digest="sha256:" + "a" * 64, missing=700)
    there = World().converge(desired(release())).with_observed(disk_free=1 << 40)
    served = inventory(there, source_roots=("/srv",))
    want = desired(release(precision="int8"))
    key = want.wanted[0].release.recipe.build_key
    model = replace(MODEL, precisions=("int8",))
    found = plan_shipment(served, want, [model], {key: offer}, "2027-01-01T00:00:00Z")
    assert (found.build_keys, found.left_out) == ({key: ("capitals-int8",)}, ())
