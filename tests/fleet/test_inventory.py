"""A machine's report: its plan can be made elsewhere, and a hostile one costs one clear error."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import reconciler
from reconciler.domain.desired import Desired
from reconciler.domain.digest import StoredFile
from reconciler.domain.failures import RememberedFailure
from reconciler.domain.machine.facts import Facts, StorageLimits
from reconciler.domain.observed import Registration
from reconciler.domain.recorded import Condition, Suspension, Timing
from reconciler.fleet.inventory import DiskSpace, Inventory
from reconciler.fleet.inventory_facts import (
    artifacts_of,
    build_keys_of,
    export_fidelity,
    export_measurements,
    newest_timings,
    to_observed,
    to_recorded,
    variants_of,
)
from reconciler.fleet.inventory_form import InventoryInvalid, inventory_view, read_inventory
from reconciler.gates.judgement import GateStatus
from reconciler.planner.plan import make_plan
from tests.planner.world import World, desired, release, wanted

BOTH = desired(release(), release(precision="int8"))
JUDGED: dict[str, GateStatus] = {}
CONDITION = Condition(
    type="Ready", status="True", reason="Served", message="", last_transition_time="2026-01-01T00:00:00Z"
)


def inventory(world: World, **more: Any) -> Inventory:
    return Inventory(
        machine="edge-7",
        generated="2026-11-22T00:00:00Z",
        reconciler="0.0.1",
        labels={"site": "lab"},
        facts=Facts(os="linux", arch="amd64"),
        disk=DiskSpace(free_bytes=world.observed.disk_free, total_bytes=10**9, used_bytes=5),
        limits=StorageLimits(disk_quota=10**9),
        variants=variants_of(world.observed, world.recorded, {"capitals-int4": {"Ready": CONDITION}}),
        artifacts=artifacts_of(world.observed),
        suspensions=world.recorded.suspensions,
        timings=newest_timings(world.recorded.timings),
        failures=world.recorded.failures,
        fidelity=export_fidelity(world.recorded.measured, build_keys_of(world.observed, world.recorded)),
        measured=export_measurements(
            world.recorded.measured, build_keys_of(world.observed, world.recorded), JUDGED.values()
        ),
        runtime=world.recorded.runtime,
        outdated=world.recorded.outdated,
        **more,
    )


def through_git(world: World) -> Inventory:
    """Written, and read by somebody else."""
    return read_inventory(json.dumps(inventory_view(inventory(world))).encode(), "inventory.json")


def _suspended(world: World) -> World:
    one = Suspension(name="capitals", reason="trade fair", since="2026-11-22T00:00:00Z")
    return replace(world, recorded=replace(world.recorded, suspensions=(one,)))


def _failed(world: World) -> World:
    (key,) = {one.recipe.build_key for one in (release(precision="fp16"),)}
    one = RememberedFailure(
        key=key,
        action="convert",
        variant="capitals-fp16",
        code="ConversionFailed",
        message="no",
        hint="",
        attempts=1,
        first="2026-11-22T00:00:00Z",
        last="2026-11-22T00:00:00Z",
        permanent=True,
        version=reconciler.__version__,
    )
    return replace(world, recorded=replace(world.recorded, failures=(one,)))


def _timed(world: World) -> World:
    timing = Timing(action="convert", precision="int4", source_bytes=500, seconds=2.5)
    return replace(world, recorded=replace(world.recorded, timings=(timing,)))


def _large(world: World) -> World:
    """Many files that each served folder copies, and one that it shares."""
    sizes = [15 << 20, 15 << 20, 15 << 20, 7, 16 << 20]
    files = tuple(StoredFile(path=str(at), digest="", size=size) for at, size in enumerate(sizes))
    held = {key: replace(one, files=files) for key, one in world.observed.artifacts.items()}
    return world.with_observed(artifacts=held)


def _elsewhere(world: World) -> World:
    moved = tuple(replace(one, path="/home/someone/x") for one in world.observed.registrations)
    return world.with_observed(registrations=moved)


def _unreadable(world: World) -> World:
    return world.with_observed(folders=tuple(replace(one, marker=None) for one in world.observed.folders))


def _same(world: World) -> World:
    return world


NEW = desired(release(), release(precision="fp16"))

CASES: dict[str, tuple[Callable[[World], World], Desired]] = {
    "nothing to do": (_same, BOTH),
    "a new template": (_same, desired(release(template="{{ x }}"), release(precision="int8"))),
    "a new template on a large artifact": (_large, desired(release(template="{{ x }}"))),
    "new generation defaults": (_same, desired(release(temperature=0.5), release(precision="int8"))),
    "another block size": (_timed, desired(release(block_size=64), release(precision="int8"))),
    "a new precision": (_timed, NEW),
    "one precision gone": (_same, desired(release())),
    "everything gone": (_same, desired()),
    "a protected one gone": (_same, desired(release())),
    "suspended here": (_suspended, desired(release(template="{{ x }}"))),
    "a file was edited": (lambda world: world.damaged("model.onnx changed"), BOTH),
    "the artifacts are lost": (lambda world: world.without_artifacts(), NEW),
    "an artifact is damaged": (
        lambda w: w.with_observed(artifacts={}, damaged_artifacts=dict.fromkeys(w.observed.artifacts, ("x",))),
        NEW,
    ),
    "unregistered": (lambda world: world.with_observed(registrations=()), BOTH),
    "registered elsewhere": (_elsewhere, BOTH),
    "the folders are gone": (lambda world: world.with_observed(folders=()), BOTH),
    "all is gone but the records": (lambda w: w.with_observed(folders=(), registrations=()), desired()),
    "markers unreadable": (_unreadable, desired(release(template="{{ x }}"))),
    "too little disk": (lambda world: world.with_observed(disk_free=7), NEW),
    "a conversion that failed before": (_failed, NEW),
    "never served": (lambda _: World(), BOTH),
    "a stray folder's number is not given again": (
        lambda _: World().with_observed(occupied={"capitals-int4": 7}),
        BOTH,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("confirm", [False, True])
def test_the_plan_made_elsewhere_is_the_machines_own(case: str, confirm: bool) -> None:
    change, want = CASES[case]
    protected = case == "a protected one gone"
    both = desired(release(), wanted(release(precision="int8"), protected=protected))
    world = change(World().converge(both))
    read = through_git(world)
    elsewhere = make_plan(want, to_observed(read), to_recorded(read), confirm=confirm)
    own = world.plan(want, confirm=confirm)
    assert elsewhere == own
    assert elsewhere.verdicts or not own.verdicts
    assert elsewhere.changes or elsewhere.held or case == "nothing to do"


def test_a_foreign_name_is_known_elsewhere_without_its_path() -> None:
    taken = Registration(id="capitals-int4:3", path="/home/someone/x", properties={})
    odd = Registration(id="a b\n:1", path="/y", properties={})
    read = through_git(World().with_observed(registrations=(taken, odd)))
    held = make_plan(BOTH, to_observed(read), to_recorded(read)).held
    assert [(one.variant, one.reason) for one in held] == [("capitals-int4", "NameTaken")]
    assert "someone" not in json.dumps(inventory_view(read))


@pytest.mark.parametrize("length", [200, 201, 300, 301])
def test_a_machine_name_of_any_length_is_written_so_that_it_can_be_read(length: int) -> None:
    view = inventory_view(replace(inventory(World()), machine="x" * length))
    assert 200 - 3 <= len(read_inventory(json.dumps(view).encode(), "inventory.json").machine) <= 200


def test_an_inventory_says_the_same_after_it_was_read() -> None:
    world = _timed(_suspended(World().converge(BOTH)))
    assert through_git(world) == inventory(world)


def test_a_few_models_fit_into_ten_kilobytes() -> None:
    names = ("capitals", "support", "search", "notes")
    world = World().converge(desired(*(release(name) for name in names)))
    assert len(json.dumps(inventory_view(inventory(world)), separators=(",", ":"))) < 10_000


def test_the_newest_timings_of_each_kind_are_told() -> None:
    many = [Timing(action="convert", precision="int4", source_bytes=1, seconds=n) for n in range(9)]
    other = Timing(action="verify", precision="int4", source_bytes=1, seconds=1)
    assert newest_timings([other, *many]) == (other, *many[-5:])


def test_a_removal_that_failed_is_in_the_report() -> None:
    world = _failed(World())
    failure = replace(world.recorded.failures[0], key="retire capitals-int4:1", action="retire")
    world = replace(world, recorded=replace(world.recorded, failures=(failure,)))
    assert through_git(world).failures == (failure,)


def _edited(**changes: Any) -> bytes:
    return json.dumps({**inventory_view(inventory(World().converge(BOTH))), **changes}).encode()


_FAILURE = json.loads(json.dumps(inventory_view(inventory(_failed(World())))))["failures"][0]


_CONDITION = {"status": "True", "reason": "", "message": "", "lastTransitionTime": ""}


def _deep(levels: int) -> Any:
    found: Any = 1
    for _ in range(levels):
        found = {"x": found}
    return found


def _with_recipe(recipe: object) -> bytes:
    view = inventory_view(inventory(World().converge(BOTH)))
    view["variants"][0]["releases"][0]["content"]["recipe"] = recipe
    return json.dumps(view).encode()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "expected JSON in UTF-8"),
    "a list": (b"[]", "expected a mapping"),
    "no UTF-8": (b'{"machine": "\xff"}', "expected JSON in UTF-8"),
    "too long": (b" " * (5 << 20), "expected at most 4194304 bytes"),
    "ten thousand levels": (b"[" * 100_000, "expected JSON of a few levels"),
    "a key twice": (b'{"a": 1, "a": 2}', "a: expected each key once"),
    "NaN": (_edited().replace(b'"cpus": 1', b'"cpus": NaN'), "expected finite numbers"),
    "another version": (_edited(formatVersion=2), "formatVersion: expected 1, which this reconciler knows"),
    "no version": (b"{}", "formatVersion: expected 1"),
    "an unknown field": (_edited(evil=1), "evil: expected no field of this name"),
    "a number for a name": (_edited(machine=7), "machine: expected text, got 7"),
    "a terminal's escape": (
        _edited(machine="\x1b[2J"),
        r"machine: expected one line of at most 200 characters, got \x1b[2J",
    ),
    "true for a number": (_edited(disk={"freeBytes": True, "totalBytes": 1}), "disk.freeBytes: expected a whole"),
    "fewer than none": (
        _edited(disk={"freeBytes": -1, "totalBytes": 1}),
        "disk.freeBytes: expected a number of at least 0",
    ),
    "more than any disk": (_edited(disk={"freeBytes": 1 << 61, "totalBytes": 1}), "disk.freeBytes: expected"),
    "a field is missing": (_edited(disk={"freeBytes": 1}), "disk: expected every field"),
    "a line of a megabyte": (_edited(attemptedRevision="x" * 1_000_000), "attemptedRevision: expected one"),
    "too many": (_edited(sourceRoots=["/"] * 101), "sourceRoots: expected at most 100 entries"),
    "a mapping for a list": (_edited(variants={}), "variants: expected a list"),
    "deep inside": (_edited(variants=[{"variant": "x", "highestNumber": "1"}]), "variants[0].highestNumber:"),
    "a recipe of many levels": (_with_recipe(_deep(5)), "at most 3 levels of 64"),
    "a recipe of fifty levels": (_with_recipe(_deep(50)), "expected JSON of fewer levels"),
    "a recipe with a list": (_with_recipe({"x": [1]}), "expected plain values"),
    "a failure at no time": (_edited(failures=[_FAILURE | {"last": "x"}]), "failures[0].last: expected a time"),
    "a failure after all time": (_edited(failures=[_FAILURE | {"last": "9999-12-31T23:59:59Z"}]), "failures[0].last:"),
    "a failure for ever": (_edited(failures=[_FAILURE | {"delay": 1e15}]), "failures[0].delay: expected a number"),
    "no name at all": (_edited(machine=""), "machine: expected a name"),
    "a digest of two words": (_edited(hubSources={"a b": 1}), "expected a digest, got a b"),
    "a name too long": (_edited(machine="x" * 201), "machine: expected one line of at most 200 characters, got xxx"),
    "a digest too long": (_edited(hubSources={"x" * 101: 1}), "expected a digest, got xxx"),
    "a time too long": (_edited(generated="2" * 41), "generated: expected one line of at most 40 characters"),
    "a package without a name": (_edited(versions={"": "1"}), "expected a name"),
    "a machine without a system": (_edited(facts={"os": "", "arch": "arm64"}), "facts.os: expected a name"),
    "a provider that begins with a space": (
        _edited(facts={"os": "linux", "arch": "arm64", "executionProviders": ["cpu", " x"]}),
        "facts.executionProviders[1]: expected a name",
    ),
    "a failure without a key": (_edited(failures=[_FAILURE | {"key": ""}]), "failures[0].key: expected a name"),
    "a failure of nothing": (_edited(failures=[_FAILURE | {"action": ""}]), "failures[0].action: expected a name"),
    "a suspension of nothing": (
        _edited(suspensions=[{"name": "", "reason": "", "since": ""}]),
        "suspensions[0].name: expected a name",
    ),
    "a suspension since too long": (
        _edited(suspensions=[{"name": "x", "reason": "", "since": "2" * 41}]),
        "suspensions[0].since: expected one line of at most 40 characters",
    ),
    "a condition without a type": (
        _edited(variants=[{"variant": "x", "highestNumber": 1, "conditions": [_CONDITION | {"type": ""}]}]),
        "variants[0].conditions[0].type: expected a name",
    ),
    "a measurement of two words": (
        _edited(measured=[{"release": "x", "buildKey": "x", "right": {"a b": 1}}]),
        "measured[0].right (key): expected a digest",
    ),
    "a question refused without a code": (
        _edited(measured=[{"release": "x", "buildKey": "x", "refused": {"q": ""}}]),
        "measured[0].refused.q: expected a name",
    ),
    "too many of anything": (_edited(artifacts=[1] * 1001), "artifacts: expected a list of at most 1000"),
    "a key of many lines": (_edited(labels={"a\nb": ""}), "labels (key): expected one line"),
    "an endless number": (_edited().replace(b'"cpus": 1', b'"cpus": 1e999'), "facts.cpus: expected"),
    "a recipe that is a list": (_with_recipe([1]), "variants[0].releases[0].content.recipe: expected a map"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_inventory_is_one_clear_error(case: str) -> None:
    data, said = HOSTILE[case]
    with pytest.raises(InventoryInvalid) as caught:
        read_inventory(data, "machines/edge-7.json")
    message = str(caught.value)
    assert message.startswith("machines/edge-7.json: ")
    assert said in message
    assert len(message) < 700
    assert message.isprintable()


def test_a_machine_that_only_pulls_waits_in_a_comparison_too() -> None:
    """Which asks no registry, and says so."""
    told = inventory_view(inventory(World(), convert="registry-only"))
    held = read_inventory(json.dumps(told).encode(), "edge.json")
    plan = make_plan(desired(release()), to_observed(held), to_recorded(held))
    assert [(one.reason, "NotAsked" in one.message) for one in plan.held] == [("AwaitingBuild", True)]
    assert not plan
    plain = inventory_view(inventory(World()))
    assert "convert" not in plain  # earlier versions read it
    prefers = replace(held, convert="prefer-registry")
    assert make_plan(desired(release()), to_observed(prefers), to_recorded(prefers)).changes[0].action == "convert"
