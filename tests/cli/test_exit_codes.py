"""Every verb's exit codes, as a shell sees them, with what is said beside them. Nothing here converts anything."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.machine import REPOSITORY, TestMachine
from tests.waiting import PATIENCE, descendants, is_alive, until


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare()
    return one


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 0, ""),
        (["--help"], 0, ""),
        (["--version"], 0, ""),
        (["plam"], 64, "did you mean `reconciler plan`?"),
        (["plan", "--nope"], 64, "unrecognized arguments: --nope"),
        (["plan", "-o", "xml"], 64, "invalid choice: 'xml'"),
        (["plan", "--path", "nowhere"], 64, "there is no folder nowhere"),
        (["apply", "--conversion-timeout", "90"], 64, "a duration such as 90s, 45m or 2h30m, got '90': write 90s"),
        (["apply", "--jobs", "0"], 64, "expected a number of at least 1"),
        (["apply", "--root", "/proc/no"], 1, "cannot use"),
        (["apply", "--root", "model"], 64, "is no root of reconciler, and it is not empty"),
        (["validate"], 0, ""),
        (["plan"], 0, ""),
        (["plan", "--detailed-exitcode"], 2, ""),
        (["plan", "--detailed-exitcode", "--conversion-memory", "300MiB"], 2, ""),  # all of it is held back
        (["apply", "--dry-run"], 0, ""),
        (["status"], 0, ""),
        (["events"], 0, ""),
        (["schema"], 0, ""),
        (["explain", "capitals"], 0, ""),
        (["explain", "nobody"], 1, "no manifest declares nobody"),
        (["ask", "capitals-int4", "hello"], 1, "capitals-int4 is not served here"),
    ],
)
def test_exit_codes(machine: TestMachine, arguments: list[str], code: int, said: str) -> None:
    done = machine.run(*arguments)
    assert done.code == code, done.err
    assert said in done.err
    assert "Traceback" not in done.err


def test_problems_are_said_at_file_and_line(machine: TestMachine) -> None:
    machine.declare(precisions="int5")
    for verb in ("validate", "plan"):
        done = machine.run(verb)
        assert done.code == 1
        assert "error: manifests/capitals.yaml:7: spec.precisions" in done.err
    problems = machine.run("validate", "-o", "json").json()["problems"]
    assert [(p["file"], p["line"]) for p in problems] == [("manifests/capitals.yaml", 7)]
    assert machine.run("validate", "-o", "github").out.startswith("::error file=manifests/capitals.yaml,line=7")


def test_an_unsupported_combination_is_refused_with_its_reason(machine: TestMachine) -> None:
    config = machine.folder / "fleet" / "model" / "config.json"
    text = json.loads(config.read_text()) | {"architectures": ["OlmoForCausalLM"], "model_type": "olmo"}
    config.chmod(0o644)
    config.write_text(json.dumps(text))
    done = machine.run("validate")
    assert done.code == 1
    assert "int4 cannot be converted rightly" in done.err


def test_a_held_lock_is_11_and_names_its_holder(machine: TestMachine) -> None:
    machine.root.mkdir()
    with open(machine.root / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        holder = {"pid": 4711, "host": "kiosk", "command": "apply", "since": "2026-11-22T00:00:00Z"}
        (machine.root / "lock.holder").write_text(json.dumps(holder))
        done = machine.run("apply")
    assert done.code == 11
    assert "held by pid 4711 on kiosk since 2026-11-22T00:00:00Z (reconciler apply)" in done.err


def test_a_corrupt_index_stops_everything_and_is_left_as_it_is(machine: TestMachine) -> None:
    machine.cache.mkdir()
    index = machine.cache / "foundry.local.modelinfo.json"
    for content in ("", "{", '{"version": 3, "models": []}', "[]"):
        index.write_text(content)
        for verb in ("plan", "apply", "status"):
            done = machine.run(verb)
            assert done.code == 1
            assert "foundry.local.modelinfo.json" in done.err
        assert index.read_text() == content
    assert not list((machine.root / "served").rglob("*")) if (machine.root / "served").exists() else True


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_apply_ends_with_130_and_leaves_no_process(machine: TestMachine, sent: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "apply"],
        cwd=machine.folder / "fleet",
        env=os.environ | machine.environment() | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: descendants(process.pid))
    time.sleep(0.5)
    children = descendants(process.pid)
    assert children
    process.send_signal(sent)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "interrupted" in said
    until(lambda: not any(map(is_alive, children)))
    assert machine.index() == {}
    assert machine.run("plan").code == 0
