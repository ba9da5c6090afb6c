"""Releases one after the other on a real root, with the real catalog: what is kept, remembered, and who is asked."""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.core.value import replace
from reconciler.engine.verify import verify
from reconciler.host.mapped import mapped_folders
from tests.at_rest import opened, serve
from tests.machine import TestMachine
from tests.releases import one_pass, release

V = "capitals-int4"
LINUX = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only /proc tells what is mapped")

# Started through a process that ends at once: our own children do not count.
HOLD = """
import mmap, os, sys
if os.fork():
    os._exit(0)
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare()
    serve(one)
    return one


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


@LINUX
def test_what_this_process_maps_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "model.onnx.data").write_bytes(b"w" * 100)
    with (
        open(tmp_path / "model.onnx.data", "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ),
    ):
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
        V,
        lambda held: tuple(replace(one, superseded="2999-01-01T00:00:00Z") for one in held[:1]) + held[1:],
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


def test_a_damaged_history_is_told_and_set_aside(machine: TestMachine) -> None:
    release(machine, template="llama3")
    path = machine.root / "records" / "history" / f"{V}.json"
    path.write_text(json.dumps({"variant": V}))
    assert [finding.code for finding in verify(opened(machine))] == ["RecordDamaged"]
    assert one_pass(machine).converged
    release(machine, template="phi3")
    assert rows(machine)[0] == (3, "serves")
    assert (path.parent / f"{V}.json.damaged-1").exists()
