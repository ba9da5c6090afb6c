"""`precisions: auto` on a machine: what its own facts, its policies and its being a builder make of it."""

from pathlib import Path

import pytest

from reconciler.domain.machine.backends import BackendSettings
from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.registries import REGISTRY_ONLY
from reconciler.engine.machine import machine_capacity, machine_facts, machine_labels, open_machine
from reconciler.engine.planning import Others, Snapshot, take_snapshot
from reconciler.engine.registries import RegistryLookup
from reconciler.fleet.inventory_facts import capacity_of
from reconciler.operations.inventory import take_inventory
from reconciler.sources.manifests import load
from tests.engine.test_policies import held, said, write
from tests.machine import TestMachine


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    path = one.declare()
    path.write_text(path.read_text().replace("[int4]", "auto"))
    return one


def looked(machine: TestMachine, *, for_all: bool = False) -> Snapshot:
    opened = open_machine(str(machine.root), str(machine.cache))
    others = Others(RegistryLookup(opened), for_all=for_all)
    return take_snapshot(opened, load(str(machine.manifests)), others=others)


def converted(found: Snapshot) -> list[str]:
    return [one.variant for one in found.plan.changes if one.action == "convert"]


def test_one_is_converted_here_and_all_by_a_builder(machine: TestMachine) -> None:
    found = looked(machine)
    (wanted,) = found.resolution.desired.wanted
    assert converted(found) == [wanted.variant]
    assert found.plan.chosen["capitals"].startswith(f"{wanted.release.precision}: ")
    assert converted(looked(machine, for_all=True)) == ["capitals-int4", "capitals-int8"]


def test_a_policy_bounds_the_choice(machine: TestMachine) -> None:
    write(machine, "precisions: [int4]")
    found = looked(machine)
    assert (converted(found), held(found), said(found)) == (["capitals-int4"], [], [])
    assert "int8 is not allowed by policy house" in found.plan.chosen["capitals"]
    assert converted(looked(machine, for_all=True)) == ["capitals-int4"]
    write(machine, "precisions: [int4]", "mode: warn")
    assert converted(looked(machine)) == ["capitals-int4"]
    write(machine, "precisions: [fp32]")
    found = looked(machine)
    assert converted(found) == []
    assert {one.split()[1] for one in held(found)} == {"PolicyDenied"}
    assert set(said(found)) == {"PolicyDenied capitals.yaml:7 spec.precisions"}


@pytest.mark.parametrize(
    "traits", [Traits(), Traits(convert=REGISTRY_ONLY), Traits(conversion_memory=1 << 30)], ids=str
)
def test_its_inventory_says_the_same(machine: TestMachine, traits: Traits) -> None:
    opened = open_machine(str(machine.root), str(machine.cache), traits)
    assert capacity_of(take_inventory(opened)) == machine_capacity(opened)


def test_a_provider_counts_where_its_library_is(machine: TestMachine) -> None:
    library = machine.folder / "library.so"
    libraries = {"CUDAExecutionProvider": str(library), "WebGpuExecutionProvider": str(machine.folder / "none.so")}
    traits = Traits(backends=(BackendSettings(provider_libraries=libraries),))
    opened = open_machine(str(machine.root), str(machine.cache), traits)
    before = machine_facts(opened).execution_providers
    library.write_bytes(b"")
    assert {*machine_facts(opened).execution_providers} == {*before, "CUDAExecutionProvider"}
    assert machine_labels(opened)["reconciler.foundry/provider-CUDAExecutionProvider"] == "true"
    assert capacity_of(take_inventory(opened)) == machine_capacity(opened)
