"""suspend and resume, as a shell sees them, on a machine that is really served and planned for."""

import fcntl
import json
from pathlib import Path

import pytest

from reconciler.domain.recorded import Suspension, lasts_too_long, still_on, suspension_of
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.reconciler import run_pass
from reconciler.operations.verify import verify
from reconciler.sources.manifests import load
from reconciler.state.records import Records
from tests.at_rest import opened, serve
from tests.machine import TestMachine

OLD = Suspension(name="capitals", reason="demo", since="2020-01-01T00:00:00Z")
OVER = Suspension(name="capitals", reason="demo", since="2020-01-01T00:00:00Z", until="2020-01-02T00:00:00Z")


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare(precisions="int4, int8")
    serve(one)
    return one


def held(machine: TestMachine) -> dict[str, str]:
    return {h["variant"]: f"{h['reason']}: {h['message']}" for h in machine.run("plan", "-o", "json").json()["held"]}


def run_a_pass(machine: TestMachine) -> None:
    with locked_machine(str(machine.root), str(machine.cache), command="test") as one:
        run_pass(one, load(str(machine.manifests)), Reporter(), Options())


def test_a_suspended_variant_is_planned_for_and_held_back(machine: TestMachine) -> None:
    machine.declare(precisions="int4, int8", template="llama3")
    assert len(machine.plan()) == 6
    done = machine.run("suspend", "capitals-int4", "--reason", "the  talk\n on Friday")
    assert done.code == 0, done.err
    assert done.out.startswith("capitals-int4 is suspended since 20")
    assert done.out.endswith(": the talk on Friday\n")
    assert {change.split()[2] for change in machine.plan()} == {"capitals-int8"}
    (message,) = held(machine).values()
    assert message.startswith("Suspended: would verify, register, retire; suspended since ")
    assert machine.run("resume", "capitals-int4").out.startswith("capitals-int4 is resumed; it was suspended")
    assert len(machine.plan()) == 6


def test_a_suspended_model_is_all_its_variants_and_is_neither_repaired_nor_pruned(machine: TestMachine) -> None:
    assert machine.run("suspend", "capitals", "--reason", "demo").code == 0
    (machine.served("capitals-int4") / "tokenizer.json").unlink()
    assert held(machine).keys() == {"capitals-int4"}
    (machine.manifests / "capitals.yaml").unlink()
    done = machine.run("plan", "--confirm", "-o", "json").json()
    assert done["changes"] == []
    assert {h["variant"]: h["reason"] for h in done["held"]} == {
        "capitals-int4": "Suspended",
        "capitals-int8": "Suspended",
    }


def test_status_shows_it_and_events_remember_it(machine: TestMachine) -> None:
    machine.run("suspend", "capitals-int4", "--reason", "demo", "--until", "2999-01-01T00:00:00+01:00")
    status = machine.run("status", "-o", "json").json()["variants"]
    assert status[0]["suspension"]["until"] == "2998-12-31T23:00:00Z"
    assert status[0]["suspension"]["reason"] == "demo"
    assert status[1]["suspension"] is None
    assert "capitals-int4: suspended since" in machine.run("status").out
    machine.run("resume", "capitals-int4")
    events = [json.loads(line) for line in machine.run("events", "-o", "json").out.splitlines()]
    assert [event["type"] for event in events] == [*["variant.ready"] * 2, "suspend.done", "resume.done"]
    assert "demo" in machine.run("events", "capitals").out


def test_it_ends_by_itself(machine: TestMachine) -> None:
    machine.declare(precisions="int4, int8", template="llama3")
    opened(machine).records.save_suspensions([OVER])
    assert held(machine) == {}
    assert machine.run("status", "-o", "json").json()["variants"][0]["suspension"] is None
    assert machine.run("resume", "capitals").out == "capitals is not suspended\n"


def test_more_than_thirty_days_are_a_condition_that_a_person_has_to_look_at(machine: TestMachine) -> None:
    opened(machine).records.save_suspensions([OLD])
    run_a_pass(machine)
    stalled = {c["type"]: c for c in machine.run("status", "-o", "json").json()["variants"][0]["conditions"]}["Stalled"]
    assert (stalled["status"], stalled["reason"]) == ("True", "SuspendedTooLong")
    assert "more than 30 days" in machine.run("status").out
    machine.run("resume", "capitals")
    run_a_pass(machine)
    assert "30 days" not in machine.run("status").out


def test_a_pass_beside_a_suspension_writes_nothing_new(machine: TestMachine) -> None:
    opened(machine).records.save_suspensions([OLD])
    run_a_pass(machine)
    path = machine.root / "records" / "conditions.json"
    before = path.stat().st_mtime_ns, path.stat().st_ino
    run_a_pass(machine)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["suspend", "capitals"], 64, "the following arguments are required: --reason"),
        (["suspend", "capitals", "--reason", " "], 64, "--reason is empty"),
        (["suspend", "captials", "--reason", "x"], 1, "known here: capitals, capitals-int4, capitals-int8"),
        (["suspend", "capitals", "--reason", "x", "--until", "tomorrow"], 64, "expected a duration such as"),
        (["suspend", "capitals", "--reason", "x", "--until", "2999-01-01T00:00:00"], 64, "expected an offset from UTC"),
        (["suspend", "capitals", "--reason", "x", "--until", "2020-01-01T00:00:00Z"], 64, "is over"),
        (["suspend", "capitals", "--reason", "x", "--until", "9999999999h"], 64, "expected a duration"),
        (["suspend", "capitals", "--reason", "x", "--dry-run"], 0, ""),
        (["resume", "capitals"], 0, ""),
    ],
)
def test_what_is_refused_changes_nothing(machine: TestMachine, arguments: list[str], code: int, said: str) -> None:
    done = machine.run(*arguments)
    assert done.code == code, done.err
    assert said in done.err
    assert not (machine.root / "records" / "suspended" / "suspensions.json").exists()


def test_the_brake_works_while_a_daemon_or_an_apply_holds_the_lock(machine: TestMachine) -> None:
    with open(machine.root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machine.run("suspend", "capitals", "--reason", "x").code == 0
        assert held_names(machine) == ["capitals"]
        assert machine.run("resume", "capitals").code == 0
        assert held_names(machine) == []


def held_names(machine: TestMachine) -> list[str]:
    return [one.name for one in opened(machine).records.load().suspensions]


def test_two_people_do_not_overwrite_each_other(machine: TestMachine) -> None:
    folder = machine.root / "records" / "suspended"
    folder.mkdir()
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machine.run("suspend", "capitals", "--reason", "x").code == 11
        assert machine.run("resume", "capitals").code == 11


def test_a_damaged_record_of_suspensions_is_found_and_set_aside(machine: TestMachine) -> None:
    path = machine.root / "records" / "suspended" / "suspensions.json"
    path.parent.mkdir()
    path.write_text("{")
    assert [one.code for one in verify(opened(machine))] == ["RecordDamaged"]
    assert machine.run("suspend", "capitals", "--reason", "x").code == 0
    assert Records(opened(machine).layout).load().suspensions[0].name == "capitals"
    assert path.with_name("suspensions.json.damaged-1").exists()


def test_the_variants_own_suspension_comes_first() -> None:
    own = Suspension(name="capitals-int4", reason="own", since="2020-01-01T00:00:00Z")
    both = (OLD, own)
    assert suspension_of(both, variant="capitals-int4", model="capitals") == own
    assert suspension_of(both, variant="capitals-int8", model="capitals") == OLD
    assert suspension_of(both, variant="rivers-int8", model="rivers") is None


@pytest.mark.parametrize(
    ("now", "on", "too_long"),
    [
        ("2020-01-01T23:59:59Z", True, False),
        ("2020-01-02T00:00:00Z", False, False),
        ("2020-01-31T00:00:00Z", False, False),
        ("2020-01-31T00:00:01Z", False, True),
        ("2010-01-01T00:00:00Z", True, False),
    ],
)
def test_times(now: str, on: bool, too_long: bool) -> None:
    assert bool(still_on([OVER], now)) == on
    assert lasts_too_long(OVER, now) == too_long
