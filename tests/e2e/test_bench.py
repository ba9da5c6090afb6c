"""`bench` with the real runtime: what it measures, what it records, and what it leaves alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.layout import Layout
from reconciler.host.lock import hold
from reconciler.state.progress import last_benchmark
from tests.machine import REPOSITORY, TestMachine, tree

pytestmark = pytest.mark.slow

GATES = "  gates:\n    - prompts: {cases: [{prompt: What is the capital of France?, contains: Paris}], maxTokens: 16}\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> TestMachine:
    machine = TestMachine(folder=tmp_path_factory.mktemp("bench"))
    machine.give_model(capitals)
    machine.declare(precisions="int8, int4", more=GATES)
    done = machine.run("apply")
    assert done.code == 0, done.err
    return machine


def measurements(machine: TestMachine) -> list[dict[str, Any]]:
    document = json.loads((machine.root / "records" / "measurements.json").read_bytes())
    return sorted(document["body"]["measurements"], key=lambda one: str(one["release"]))


def test_everything_is_measured_and_nothing_that_serves_is_touched(machine: TestMachine) -> None:
    before, loads = (tree(machine.root / "served"), tree(machine.cache)), measurements(machine)
    page = machine.folder / "page.html"
    done = machine.run("bench", "--runs", "2", "--prompt-lengths", "16,64,100000", "--html", str(page), "-o", "json")
    assert done.code == 0, done.err
    assert done.err.count("\n") == 6  # one line a run, and one for the longest prompt
    view = done.json()
    assert (view["formatVersion"], view["complete"]) == (1, True)
    assert view["machine"]["runtime"].keys() == {"foundry-local-sdk", "onnxruntime", "onnxruntime-genai-core"}
    for one in view["variants"]:
        assert one["sizeBytes"] > 500_000
        assert one["runs"] == 2
        assert 0 < one["loadSeconds"]["low"] <= one["loadSeconds"]["median"] <= one["loadSeconds"]["high"]
        assert [speed["wantedTokens"] for speed in one["speeds"]] == [16, 64]
        assert all(speed["tokensPerSecond"]["low"] > 0 for speed in one["speeds"])
        assert one["tooLong"] == [100000]
        assert 64 < one["contextLength"] < 100000
        assert 0.9 * one["contextLength"] < one["longestPrompt"]["tokens"] < one["contextLength"]
        assert one["longestPrompt"] == {**one["longestPrompt"], "claimed": one["contextLength"], "limit": ""}
        assert one["peakMemoryBytes"]["median"] > 20e6
        assert one["fidelity"]["top1Agreement"] > 0.8
        assert [golden["passed"] for golden in one["golden"]] == [True]
        samples = one["memory"]["samples"]
        assert len(samples) > 5
        assert max(size for _, size in samples) <= 1.3 * one["peakMemoryBytes"]["high"]
    assert view["recommendations"][0]["variant"]
    assert page.read_text(encoding="utf-8").count("<svg") == 4
    assert (tree(machine.root / "served"), tree(machine.cache)) == before
    assert machine.run("verify").code == 0
    assert machine.plan() == []
    for old, new in zip(loads, measurements(machine), strict=True):
        assert new["measured"] == old["measured"]  # gates have judged by it
        assert new["answers"] == old["answers"]
        assert {speed["wanted_tokens"] for speed in new["speeds"]} == {16, 64, 100000}
    assert "capitals-int4: answers to" in machine.run("status").out
    assert "| context here | answers to" in machine.run("explain", "capitals", "-o", "markdown").out


def test_a_gate_that_comes_later_takes_the_numbers_of_bench(machine: TestMachine) -> None:
    """The release was never timed by a pass; then a gate asks for a length that bench has measured."""
    held = (machine.root / "records" / "measurements.json").read_bytes()
    machine.declare(
        precisions="int8, int4", more=GATES + "    - performance: {promptLengths: [64], minTokensPerSecond: 1}\n"
    )
    gates = machine.run("plan", "-o", "json").json()["gates"]
    timed = [one for one in gates if one["gate"] == "performance"]
    assert [one["status"] for one in timed] == ["Successful", "Successful"]
    assert (machine.root / "records" / "measurements.json").read_bytes() == held
    machine.declare(precisions="int8, int4", more=GATES)


def test_while_another_holds_the_lock_nothing_is_recorded(machine: TestMachine) -> None:
    before = kept(machine.root)
    with hold(str(machine.root / "lock"), command="run"):
        done = machine.run("bench", "capitals-int4", "--runs", "1", "--prompt-lengths", "24")
    assert done.code == 0, done.err
    assert "nothing is recorded" in done.err
    assert kept(machine.root) == before
    shown = last_benchmark(Layout(str(machine.root))).read()
    assert shown is not None
    assert [model["name"] for model in shown["models"]] == ["capitals"]


def kept(root: Path) -> dict[str, tuple[int, int, int]]:
    """Without the lock, which is ours, what readers of manifests remember of them, and what only the page shows."""
    apart = ("lock", "parsed", "records/benchmark")
    return {name: file for name, file in tree(root).items() if not any(one in name for one in apart)}


def test_what_is_held_and_not_served_is_measured_too(machine: TestMachine) -> None:
    """A changed template: the artifact is here, its new release is not served yet."""
    machine.declare(precisions="int8, int4", template="{ref: brief}", more=GATES)
    shutil.copy(REPOSITORY / "manifests" / "templates.yaml", machine.manifests)
    shutil.copytree(REPOSITORY / "manifests" / "templates", machine.manifests / "templates")
    before = tree(machine.root / "served")
    done = machine.run("bench", "capitals-int4", "--runs", "1", "--prompt-lengths", "16", "-o", "json")
    assert done.code == 0, done.err
    (one,) = done.json()["variants"]
    assert (one["served"], one["golden"][0]["answer"]) == (False, "Paris")
    assert tree(machine.root / "served") == before
    assert machine.run("verify").code == 0
    (machine.manifests / "templates.yaml").unlink()
    machine.declare(precisions="int8, int4", more=GATES)


def test_what_was_never_compared_is_compared_when_asked(machine: TestMachine) -> None:
    records = machine.root / "records" / "measurements.json"
    records.unlink()
    bare = machine.run("bench", "capitals-int4", "--runs", "1", "--prompt-lengths", "16")
    assert "never compared with its source" in bare.out
    done = machine.run("bench", "capitals-int4", "--runs", "1", "--prompt-lengths", "16", "--measure", "-o", "json")
    assert done.code == 0, done.err
    assert done.json()["variants"][0]["fidelity"]["top1Agreement"] > 0.8
    assert len(json.loads(records.read_bytes())["body"]["fidelity"]) == 1
    assert machine.run("verify").code == 0


def test_an_interrupted_one_shows_what_it_has(machine: TestMachine) -> None:
    command = [sys.executable, "-m", "reconciler", "bench", "capitals-int4", "--runs", "500", "--prompt-lengths", "16"]
    with subprocess.Popen(
        command,
        cwd=machine.folder / "fleet",
        env=os.environ | machine.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        told = [""]
        while "run 2 of" not in told[-1]:
            told.append(child.stderr.readline())
            assert told[-1], told
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "interrupted: this is what was measured until then" in out
    assert "peak memory" in out
    assert os.listdir(machine.root / "staging") == []
    assert machine.run("verify").code == 0
