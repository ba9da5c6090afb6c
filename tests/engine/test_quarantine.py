"""What was moved aside lives for its time, is told of, and then goes: with real folders."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.domain.machine.facts import Traits
from reconciler.domain.quarantine import Ages
from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.quarantine import age_quarantine, quarantine_folder, quarantined
from tests.at_rest import opened
from tests.machine import TestMachine

OLD = 30 * 86_400.0
YEARS_AGO = "1600000000000000000"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    one = TestMachine(folder=tmp_path)
    with locked_machine(str(one.root), str(one.cache), command="test"):
        pass
    return opened(one)


def put(machine: Machine, name: str) -> Path:
    folder = Path(machine.layout.at("quarantine", name))
    folder.mkdir(parents=True)
    (folder / "theirs.txt").write_text("foreign")
    return folder


def kinds(machine: Machine) -> list[str]:
    return [str(one["type"]) for one in machine.records.events()]


def let_time_pass(machine: Machine) -> None:
    ages = machine.records.quarantine_ages()
    machine.records.save_quarantine_ages(replace(ages, seconds=dict.fromkeys(ages.seconds, OLD)))


def test_it_stays_for_its_time_and_then_goes(machine: Machine) -> None:
    old, new = put(machine, YEARS_AGO), Path(quarantine_folder(machine.layout))
    put(machine, new.name)
    age_quarantine(machine)
    assert old.exists()  # nobody has seen it grow old
    let_time_pass(machine)
    age_quarantine(machine)
    assert not old.exists()
    assert new.exists()  # its name says that it has just come, whatever was added up
    assert kinds(machine) == ["quarantine.kept", "quarantine.kept", "quarantine.freed"]
    assert "theirs" not in str(machine.records.events())


def test_off_keeps_it_for_ever(machine: Machine) -> None:
    machine = replace(machine, traits=Traits(quarantine_for=None))
    old = put(machine, YEARS_AGO)
    for _ in range(2):
        age_quarantine(machine)
        let_time_pass(machine)
    assert old.exists()
    assert quarantined(machine) == {YEARS_AGO: float("inf")}


def test_what_we_did_not_put_there_stays(machine: Machine) -> None:
    mine = put(machine, "mine")
    (mine.parent / "note.txt").write_text("mine")
    put(machine, YEARS_AGO)
    age_quarantine(machine)
    let_time_pass(machine)
    age_quarantine(machine)
    assert sorted(os.listdir(mine.parent)) == ["mine", "note.txt"]


def test_a_link_in_it_is_not_followed_and_a_link_in_its_place_not_entered(machine: Machine, tmp_path: Path) -> None:
    outside = tmp_path / "outside" / YEARS_AGO
    outside.mkdir(parents=True)
    (outside / "mine.txt").write_text("mine")
    folder = put(machine, YEARS_AGO)
    (folder / "link").symlink_to(outside)
    age_quarantine(machine)
    let_time_pass(machine)
    age_quarantine(machine)
    assert not folder.exists()
    folder.parent.rmdir()
    folder.parent.symlink_to(outside.parent)
    machine.records.save_quarantine_ages(Ages(looked=1.0, seconds={YEARS_AGO: OLD}))
    age_quarantine(machine)
    assert (outside / "mine.txt").read_text() == "mine"


def test_ages_that_cannot_be_trusted_begin_anew(machine: Machine) -> None:
    old = put(machine, YEARS_AGO)
    age_quarantine(machine)
    let_time_pass(machine)
    path = Path(machine.layout.at("records", "quarantine.json"))
    path.write_bytes(path.read_bytes().replace(b"2592000", b"9592000"))
    age_quarantine(machine)
    assert old.exists()


def test_a_second_look_writes_nothing(machine: Machine) -> None:
    put(machine, YEARS_AGO)
    age_quarantine(machine)
    before = {path: path.stat().st_mtime_ns for path in Path(machine.layout.records).rglob("*")}
    age_quarantine(machine)
    assert {path: path.stat().st_mtime_ns for path in Path(machine.layout.records).rglob("*")} == before
