"""Releases one after the other on a real root, with the real catalog: what is kept, remembered, and who is asked."""

import json
import mmap
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from reconciler.backends.foundry.index import INDEX
from reconciler.cli.exit_codes import PARTLY
from reconciler.engine.machine import locked_machine
from reconciler.engine.options import Options, Reporter
from reconciler.engine.reconciler import run_pass
from reconciler.engine.resolve import resolve
from reconciler.host.processes import mapped_folders
from reconciler.operations.rollback import ask_for, decide
from reconciler.operations.verify import verify
from reconciler.sources.manifests import load
from tests.at_rest import opened
from tests.machine import TestMachine, tree
from tests.releases import measure, one_pass, release
from tests.waiting import PATIENCE, Slower, until

V = "capitals-int4"
LINUX = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only /proc tells what is mapped")

# Started through a process that ends at once: our own children do not count.
HOLD = """
import mmap, os, sys, time
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    time.sleep(0.001)
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def machine(machine: TestMachine) -> TestMachine:
    assert not release(machine).outcomes
    return machine


@contextmanager
def held_by_another_process(path: Path) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.stdin.close()
        assert process.stdout.read() == b""  # it has ended


def ids(machine: TestMachine) -> set[str]:
    return set(machine.index())


def rows(machine: TestMachine) -> list[tuple[int, str]]:
    view = machine.run("history", V, "-o", "json").json()["variants"][0]
    return [(one["number"], one["state"]) for one in view["releases"]]


def ready(machine: TestMachine) -> tuple[str, str]:
    variant = machine.run("status", "-o", "json").json()["variants"][0]
    (said,) = (one for one in variant["conditions"] if one["type"] == "Ready")
    return said["status"], said["reason"]


@LINUX
def test_what_this_process_maps_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "model.onnx.data").write_bytes(b"w" * 100)
    with open(tmp_path / "model.onnx.data", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert mapped_folders([str(tmp_path)]) == frozenset()
    with held_by_another_process(tmp_path / "model.onnx.data"):
        assert mapped_folders([str(tmp_path), str(tmp_path) + "-2"]) == {str(tmp_path)}


def test_a_predecessor_stays_registered_as_long_as_the_manifest_says(machine: TestMachine) -> None:
    result = release(machine, template="llama3", more="  retainFor: 1h\n")
    assert result.converged
    assert ids(machine) == {f"{V}:1", f"{V}:2"}
    assert rows(machine) == [(2, "serves"), (1, "registered")]
    (held,) = result.remaining.later
    assert held.reason == "Retained"
    assert result.next_wake == held.until
    assert f". {V}:1 stays registered until {held.until}" in machine.run("plan").out

    assert not one_pass(machine).outcomes
    assert release(machine, template="llama3").converged  # the manifest no longer says so
    assert ids(machine) == {f"{V}:2"}
    assert rows(machine) == [(2, "serves"), (1, "retired")]


def test_after_a_clock_that_was_set_back_its_time_begins_again_once(machine: TestMachine) -> None:
    release(machine, template="llama3", more="  retainFor: 1h\n")
    opened(machine).records.change_history(
        V, lambda held: tuple(replace(one, superseded="2999-01-01T00:00:00Z") for one in held[:1]) + held[1:]
    )
    first = one_pass(machine).next_wake
    assert first is not None
    assert first < "2999"
    assert opened(machine).records.history(V)[0].superseded < first
    assert ids(machine) == {f"{V}:1", f"{V}:2"}


@LINUX
def test_a_release_that_another_process_has_in_memory_goes_when_that_ends(machine: TestMachine) -> None:
    with held_by_another_process(machine.served(V) / "model.onnx.data"):
        result = release(machine, template="llama3")
        assert result.converged
        assert [held.reason for held in result.remaining.later] == ["InUse"]
        assert ids(machine) == {f"{V}:1", f"{V}:2"}
    assert one_pass(machine).converged
    assert ids(machine) == {f"{V}:2"}


def test_the_artifact_of_one_predecessor_is_kept_and_no_more(machine: TestMachine) -> None:
    held = []
    for size in (64, 128, 16):
        release(machine, more=f"  quantization: {{blockSize: {size}}}\n")
        held.append(len(opened(machine).store.artifacts()))
    assert held == [2, 2, 2]
    release(machine, more="  quantization: {blockSize: 16}\n  revisionHistoryLimit: 0\n")
    assert len(opened(machine).store.artifacts()) == 1
    assert verify(opened(machine)) == ()


def test_history_says_what_changed_and_why(machine: TestMachine) -> None:
    release(machine, template="llama3")
    release(machine, template="llama3", more="  generation: {temperature: 0.5}\n")
    out = machine.run("history", "capitals").out.splitlines()
    assert out[1].startswith(f"*  {V}:3")
    assert "spec.generation.temperature" in out[1]
    assert "spec.promptTemplate" in out[2]
    assert out[3].split()[:2] == [f"{V}:1", "retired"]
    view = machine.run("history", V, "-o", "json").json()["variants"][0]["releases"]
    assert view[0]["changed"] == [{"field": "spec.generation.temperature", "before": None, "after": 0.5}]
    done = machine.run("history", "nothing")
    assert done.code == 1
    assert "known here: capitals-int4" in done.err


def test_history_needs_no_catalog(machine: TestMachine) -> None:
    release(machine, template="llama3")
    before = machine.run("history", V, "-o", "json")
    assert [one["state"] for one in before.json()["variants"][0]["releases"]] == ["serves", "retired"]
    (machine.cache / INDEX).write_text("{")
    after = machine.run("history", V, "-o", "json")
    assert (after.code, after.json()) == (0, before.json())
    assert "what serves is taken from the records" in after.err


def test_history_cuts_neither_the_reason_nor_the_revision(machine: TestMachine) -> None:
    release(machine, template="llama3")
    why = f"its answers {'got much longer ' * 12}since \x1b[31mTuesday"
    assert machine.run("rollback", V, "--reason", why).code == 0
    revisions = {1: "main@sha1:" + "ab" * 20, 2: "path:" + "x" * 60, 3: "folder@sha256:" + "cd" * 32}
    opened(machine).records.change_history(
        V, lambda held: tuple(replace(one, revision=revisions[one.number]) for one in held)
    )
    heading, third, second, reason, first = machine.run("history", V).out.splitlines()
    assert heading.split() == ["RELEASE", "STATE", "SINCE", "CHANGED", "REVISION"]
    assert third.startswith(f"*  {V}:3  serves")
    assert third.endswith("  folder@sha256:cdcdcdcdcdcd")
    assert f"   {V}:2  rolled back  " in second
    assert second.endswith("path:" + "x" * 60)
    assert reason.startswith(f"     rolled back to what {V}:1 was since ")
    assert why.replace("\x1b", "\\x1b") in reason
    assert "\x1b" not in reason
    assert first.endswith("  main@sha1:abababa")


def test_a_damaged_history_is_told_and_set_aside(machine: TestMachine) -> None:
    release(machine, template="llama3")
    path = machine.root / "records" / "history" / f"{V}.json"
    path.write_text(json.dumps({"variant": V}))
    assert [finding.code for finding in verify(opened(machine))] == ["RecordDamaged"]
    told = machine.run("history", V)
    assert told.code == 1
    assert told.out.startswith(f"{V}: the record of its releases is damaged")
    assert f"history/{V}.json" in machine.run("doctor").out
    assert one_pass(machine).converged
    assert f"history/{V}.json.damaged-1" not in machine.run("history", V).out
    assert f"{V}.json.damaged-1" in machine.run("doctor").out
    (event,) = [one for one in opened(machine).records.events() if one["type"] == "record.set-aside"]
    assert f"records/history/{V}.json" in event["message"]
    release(machine, template="phi3")
    assert rows(machine)[0] == (3, "serves")
    assert (path.parent / f"{V}.json.damaged-1").exists()


def test_a_rollback_serves_what_was_and_holds_until_git_says_otherwise(machine: TestMachine) -> None:
    release(machine, more="  quantization: {blockSize: 64}\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = machine.run("rollback", "capitals", "--reason", "it  got\nworse")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.code == 0, done.err
    assert f"{V}:3 serves" in done.out
    assert ": it got worse" in done.out
    # One thing is done after the other, so on a machine that does nothing else CPU seconds are those of the clock.
    assert took < 2 * Slower.now().cpu
    assert ids(machine) == {f"{V}:3"}
    assert rows(machine) == [(3, "serves"), (2, "rolled back"), (1, "retired")]

    assert ready(machine) == ("False", "RolledBack")  # no pass was needed to know
    result = one_pass(machine)
    assert result.converged  # somebody wants it so
    assert result.outcomes == ()
    (held,) = machine.run("plan", "-o", "json").json()["held"]
    assert held["reason"] == "RolledBack"
    assert f"reconciler rollback {V} --undo" in held["message"]
    assert ready(machine) == ("False", "RolledBack")

    undone = machine.run("rollback", V, "--undo").out
    assert undone.startswith(f"{V} follows git again")
    assert "run `reconciler apply`" in undone
    assert ready(machine) == ("False", "NotServed")
    assert one_pass(machine).converged
    assert rows(machine)[0] == (4, "serves")
    assert ready(machine) == ("True", "Served")
    events = [json.loads(line) for line in machine.run("events", "-o", "json").out.splitlines()]
    told = [(one["type"], one["reason"]) for one in events]
    begin = told.index(("rollback.asked", "RolledBack"))
    steps = ("verify.done", "register.done")
    assert told[begin:] == [
        ("rollback.asked", "RolledBack"),
        *((step, "RolledBack") for step in (*steps, "retire.done")),
        ("rollback.done", "RolledBack"),
        ("variant.not-ready", "RolledBack"),
        ("variant.stalled", "RolledBack"),
        ("rollback.undone", "RolledBack"),
        *((step, "RecipeChanged") for step in steps),
        ("retire.done", "Superseded"),
        ("variant.ready", "Served"),
    ]
    assert verify(opened(machine)) == ()


def test_a_change_of_its_manifest_or_its_end_ends_a_rollback_for_good(machine: TestMachine) -> None:
    """What was refused once and is declared again later is what git says now."""
    release(machine, template="phi3")
    for end in ("llama3", ""):
        assert machine.run("rollback", V).code == 0
        if end:
            release(machine, template=end)
        else:
            (machine.manifests / "capitals.yaml").unlink()
            machine.declare("other", more="  suspend: true\n")
            assert machine.run("apply", "--confirm").code == 0
            (machine.manifests / "other.yaml").unlink()
        assert opened(machine).records.rollbacks() == {}
        release(machine, template="phi3")
        assert ready(machine) == ("True", "Served")
    assert told_of_rollbacks(machine).count(f"rollback.undone {V}") == 2


def two_variants(machine: TestMachine) -> dict[str, str]:
    """What serves is the second of each; returned by id with its release."""
    release(machine, precisions="int4, fp32")
    release(machine, precisions="int4, fp32", template="llama3")
    return registered(machine)


def registered(machine: TestMachine) -> dict[str, str]:
    found = machine.index().items()
    return {name: one["model_info"]["stringProperties"]["reconciler_release"] for name, one in found}


def told_of_rollbacks(machine: TestMachine) -> list[str]:
    events = [json.loads(line) for line in machine.run("events", "-o", "json").out.splitlines()]
    return [f"{one['type']} {one['variant']}" for one in events if one["type"].startswith("rollback")]


@pytest.mark.parametrize(
    ("name", "back"),
    [("capitals-fp32", {"capitals-fp32"}), ("capitals", {"capitals-fp32", V})],
    ids=["one", "the model"],
)
def test_others_do_not_stand_in_the_way(machine: TestMachine, name: str, back: set[str]) -> None:
    before = two_variants(machine)
    (machine.manifests / "capitals.yaml").write_text("kind: [nobody can read this")
    done = machine.run("rollback", name)
    assert done.code == 0, done.err
    after = registered(machine)
    assert after.keys() - before.keys() == {f"{one}:3" for one in back}
    assert {name: one for name, one in before.items() if name[:-2] not in back}.items() <= after.items()
    assert told_of_rollbacks(machine) == [
        *(f"rollback.asked {one}" for one in sorted(back)),
        *(f"rollback.done {one}" for one in sorted(back)),
    ]
    machine.declare(precisions="int4, fp32", template="llama3")
    assert one_pass(machine).outcomes == ()  # nothing of it was left for later
    assert registered(machine) == after


def test_a_rollback_that_fails_is_taken_back(machine: TestMachine) -> None:
    """What was is rehearsed again once nobody knows how that went, and the stand-in does not load."""
    before = two_variants(machine)
    (machine.root / "records" / "measurements.json").unlink()
    done = machine.run("rollback", "capitals")
    assert done.code == PARTLY
    assert f"verify {V}:3 (RolledBack): failed" in done.err
    assert "verify capitals-fp32:3 (RolledBack): failed" in done.err  # one that fails never stops the others
    assert f"{V} is not rolled back" in done.out
    assert registered(machine) == before
    assert opened(machine).records.rollbacks() == {}
    assert sorted(told_of_rollbacks(machine)) == sorted(
        f"rollback.{kind} {one}" for one in (V, "capitals-fp32") for kind in ("asked", "failed")
    )
    again = machine.run("rollback", V)
    assert again.code == 1
    assert f"error: {V}: verify failed" in again.err
    assert opened(machine).records.rollbacks() == {}
    assert one_pass(machine).outcomes == ()
    assert registered(machine) == before


BARRED = "  gates:\n    - load: {maxMemory: 1Mi}\n"
TOO_MUCH = 2 << 20


@pytest.mark.parametrize("daemon", [False, True], ids=["alone", "by whoever holds the root"])
def test_while_the_gates_reject_what_git_declares_one_can_go_back_by_hand(machine: TestMachine, daemon: bool) -> None:
    release(machine, peak=TOO_MUCH)
    release(machine, peak=TOO_MUCH, template="llama3")
    release(machine, peak=TOO_MUCH, template="phi3", more=BARRED)
    first = opened(machine).records.history(V)[0].digest
    assert ids(machine) == {f"{V}:2"}
    assert ready(machine) == ("False", "GateFailed")
    if daemon:
        with locked_machine(str(machine.root), str(machine.cache), command="rollback", suspends=True) as held:
            ask_for(held, decide(held, V, 1, "worse"))
        assert one_pass(machine).converged
    else:
        assert machine.run("rollback", V, "--to", "1").code == 0
    assert registered(machine) == {f"{V}:3": first}
    result = one_pass(machine)
    assert result.converged
    assert result.outcomes == ()
    assert ready(machine) == ("False", "RolledBack")
    assert f"rollback {V} --undo" in machine.run("status").out

    assert machine.run("rollback", V, "--undo").code == 0
    assert not one_pass(machine).outcomes  # git decides again: what it declares is rejected, what serves goes on
    assert ready(machine) == ("False", "GateFailed")
    assert release(machine, template="phi3").converged
    assert rows(machine)[0] == (4, "serves")


def test_what_was_asked_for_before_holds_where_the_next_fails(machine: TestMachine) -> None:
    release(machine, template="llama3")
    release(machine, template="phi3")
    assert machine.run("rollback", V).code == 0
    held = opened(machine).records.rollbacks()
    (machine.root / "records" / "measurements.json").unlink()
    assert machine.run("rollback", V).code == PARTLY
    assert opened(machine).records.rollbacks() == held
    assert one_pass(machine).outcomes == ()


def test_no_variant_is_asked_for_where_one_of_them_cannot(machine: TestMachine) -> None:
    release(machine, template="llama3")
    release(machine, template="llama3", precisions="int4, fp32")
    done = machine.run("rollback", "capitals")
    assert done.code == 1
    assert "no earlier good release of capitals-fp32" in done.err
    assert opened(machine).records.rollbacks() == {}
    assert ids(machine) == {f"{V}:2", "capitals-fp32:1"}


def test_what_is_suspended_is_not_rolled_back(machine: TestMachine) -> None:
    release(machine, template="llama3")
    assert machine.run("suspend", "capitals", "--reason", "by hand").code == 0
    done = machine.run("rollback", V)
    assert done.code == 1
    assert f"{V} cannot be rolled back while capitals is suspended since" in done.err
    assert "`reconciler resume capitals` first" in done.err
    assert opened(machine).records.rollbacks() == {}
    assert machine.run("resume", "capitals").code == 0
    assert machine.run("rollback", V).code == 0


def test_conditions_of_others_stay_when_one_is_rolled_back(machine: TestMachine) -> None:
    release(machine, template="llama3")
    others = opened(machine).records.conditions()[V]
    opened(machine).records.save_conditions({V: others, "other-int4": others})
    assert machine.run("rollback", V).code == 0
    assert opened(machine).records.conditions()["other-int4"] == others


def test_while_somebody_holds_the_root_undo_leaves_the_rest_to_them(machine: TestMachine) -> None:
    release(machine, template="llama3")
    assert machine.run("rollback", V).code == 0
    with locked_machine(str(machine.root), str(machine.cache), command="test"):
        assert "reconciler apply" not in machine.run("rollback", V, "--undo").out


def test_a_rollback_ends_with_the_next_change(machine: TestMachine) -> None:
    release(machine, template="llama3")
    assert machine.run("rollback", V).code == 0
    assert ids(machine) == {f"{V}:3"}
    assert release(machine, template="phi3").converged
    assert ids(machine) == {f"{V}:4"}
    assert machine.run("plan", "-o", "json").json()["held"] == []


def test_twice_back_is_two_back_and_forward_again_by_number(machine: TestMachine) -> None:
    release(machine, template="llama3")
    release(machine, template="phi3")
    assert machine.run("rollback", V).code == 0
    assert machine.run("rollback", V).code == 0
    first, *_, last = (one.digest for one in opened(machine).records.history(V))
    assert first == last  # 5 is what 1 was
    done = machine.run("rollback", V, "--to", "3")
    assert done.code == 0, done.err
    assert one_pass(machine).converged
    assert machine.run("plan", "-o", "json").json()["held"] == []  # it is what git declares


BACKWARDS = [
    (["nothing"], "nothing is not served on this machine"),
    ([V], "no earlier good release"),
    ([V, "--to", "9"], f"no release {V}:9"),
]


@pytest.mark.parametrize(("arguments", "said"), BACKWARDS, ids=["no such name", "nothing before", "no such number"])
def test_what_cannot_be_gone_back_to_is_refused(machine: TestMachine, arguments: list[str], said: str) -> None:
    done = machine.run("rollback", *arguments)
    assert done.code == 1
    assert said in done.err
    assert not (machine.root / "records" / "suspended" / "rollbacks.json").exists()


def test_without_its_artifact_a_release_cannot_come_back(machine: TestMachine) -> None:
    release(machine, more="  quantization: {blockSize: 64}\n  revisionHistoryLimit: 0\n")
    done = machine.run("rollback", V)
    assert done.code == 1
    assert "its artifact is gone" in done.err
    assert ids(machine) == {f"{V}:2"}


def test_a_dry_run_changes_nothing(machine: TestMachine) -> None:
    release(machine, template="llama3")
    before = tree(machine.root)
    before.pop("records/suspended/lock", None)
    assert f"would be served as what {V}:1 was" in machine.run("rollback", V, "--dry-run").out
    after = tree(machine.root)
    after.pop("records/suspended/lock")
    assert after == before


def test_while_somebody_holds_the_root_it_is_said_and_they_do_it(machine: TestMachine) -> None:
    release(machine, template="llama3")
    with (
        locked_machine(str(machine.root), str(machine.cache), command="test") as held,
        subprocess.Popen(
            [sys.executable, "-m", "reconciler", "rollback", V],
            cwd=machine.folder / "fleet",
            env=os.environ | machine.environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as asked,
    ):
        until(held.records.rollbacks)
        run_pass(held, load(str(machine.manifests)), Reporter(), Options())
        assert asked.communicate(timeout=PATIENCE)[0].endswith(f"{V}:3 serves\n")
        assert asked.returncode == 0


def test_plan_says_what_another_runtime_would_touch(machine: TestMachine) -> None:
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
        (wanted,) = resolve(load(str(machine.manifests)), held.stamps).desired.wanted
        measure(held, wanted, runtime=metadata.version("foundry-local-sdk"))
    assert machine.plan() == []
    done = machine.run("plan", "--assume-runtime", "foundry-local-sdk=9.9.9")
    assert f"verify   {V}:1  (RuntimeChanged)" in done.out
    assert f"{metadata.version('foundry-local-sdk')} -> 9.9.9" in done.out
    assert machine.run("plan", "--assume-runtime", "onnxruntime=9.9.9").out.endswith("nothing to do.\n")
    assert machine.run("plan", "--assume-runtime", "onnxruntime").code == 64


def test_what_does_not_load_with_a_new_runtime_makes_room_for_the_last_good_one(machine: TestMachine) -> None:
    """These weights load nowhere, so the rehearsal that the other version asks for fails for real."""
    release(machine, more="  quantization: {blockSize: 64}\n")
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
        (wanted,) = resolve(load(str(machine.manifests)), held.stamps).desired.wanted
        measure(held, wanted, runtime="2.1.0")
    first = one_pass(machine)
    assert [(o.change.reason, o.status) for o in first.outcomes] == [("RuntimeChanged", "failed")]
    assert ids(machine) == {f"{V}:2"}  # it goes on until something better serves
    second = one_pass(machine)
    assert {o.change.reason for o in second.outcomes} == {"RolledBack"}
    assert ids(machine) == {f"{V}:3"}
    assert [held.reason for held in second.remaining.held] == ["GateFailed"]
    assert "an earlier release is served instead" in second.remaining.held[0].message
    for _ in range(3):
        assert not one_pass(machine).outcomes
    stalled = [
        event
        for event in map(json.loads, machine.run("events", "-o", "json").out.splitlines())
        if event["type"] in ("variant.not-ready", "variant.stalled")
    ]
    assert [event["reason"] for event in stalled].count("GateFailed") in (1, 2)
    assert rows(machine)[0] == (3, "serves")
