"""drift, as a shell sees it: exit codes 0, 2, 4, 6 and 1, on real folders and a real catalog file."""

from pathlib import Path

import pytest

from tests.at_rest import edit_catalog, entry, serve
from tests.machine import TestMachine, tree


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare(precisions="int4, int8")
    serve(one)
    return one


def test_every_exit_code(machine: TestMachine) -> None:
    none = machine.run("drift")
    assert (none.code, none.out) == (0, "Drift: none.\n")

    damaged = machine.served("capitals-int4") / "tokenizer.json"
    sound = damaged.read_bytes()
    damaged.unlink()
    drifted = machine.run("drift")
    assert drifted.code == 4
    assert drifted.out == (
        "capitals-int4: drifted (DriftDetected): tokenizer.json missing\nDrift: 1 drifted, 0 pending, 0 not checked.\n"
    )

    machine.declare(precisions="int4, int8", template="llama3")
    both = machine.run("drift", "-o", "json")
    assert both.code == 6
    assert [(one["variant"], one["state"]) for one in both.json()["variants"]] == [
        ("capitals-int4", "drifted"),
        ("capitals-int4", "pending"),
        ("capitals-int8", "pending"),
    ]

    damaged.write_bytes(sound)
    assert machine.run("drift").code == 2

    machine.declare(precisions="int5")
    broken = machine.run("drift")
    assert broken.code == 1
    assert "capitals.yaml:7" in broken.err
    assert "capitals-int4: not checked since 20" in broken.out


def test_a_broken_source_is_not_checked_and_never_praised(machine: TestMachine) -> None:
    (machine.folder / "fleet" / "model" / "config.json").unlink()
    edit_catalog(machine, lambda entries: {})
    done = machine.run("drift", "-o", "json")
    assert done.code == 1
    assert done.json()["counts"] == {"drifted": 2, "pending": 0, "unchecked": 2}
    assert done.json()["problems"]


def test_it_writes_nothing_and_needs_no_lock(machine: TestMachine) -> None:
    import fcntl

    machine.run("drift")  # what the manifests hold is remembered, as `plan` does, where that can be written
    before = tree(machine.folder)
    with open(machine.root / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machine.run("drift").code == 0
    assert tree(machine.folder) == before


def test_a_plan_for_a_root_without_an_owner_mark_takes_nothing_for_its_own(tmp_path: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.manifests.mkdir(parents=True)
    edit_catalog(machine, lambda _: {"mine:1": entry("mine:1", "/somewhere", {})})
    done = machine.run("plan", "--confirm", "-o", "json").json()
    assert (done["changes"], done["held"]) == ([], [])
