"""What is known of gates, wherever somebody looks: plan, status, the records of a pass. As a rehearsal left it."""

from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.measured import Measured, Speed
from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.resolve import resolve
from reconciler.gates.prompts import PromptsGate
from reconciler.sources.manifests import load
from tests.at_rest import opened, serve
from tests.machine import TestMachine
from tests.releases import measure, one_pass

V = "capitals-int4"
WHEN, FIDELITY_WHEN = "2026-02-03T04:05:06Z", "2026-01-02T03:04:05Z"
CASES = "[{prompt: France?, exact: Paris}, {prompt: Italy?, exact: Rome}]"
GATES = (
    "  gates:\n"
    f"    - prompts: {{cases: {CASES}, minPass: %d}}\n"
    "    - performance: {promptLengths: [64], minTokensPerSecond: 20, onFail: warn}\n"
    "    - load: {maxMemory: 1Gi}\n"
)
SLOW = "performance: tokens a second after 70 tokens: 10, at least 20 wanted"
SHORT = '1 of 2 answered rightly, at least 2 wanted; "Italy?": wanted exactly "Rome", got "Roma"'


def answer(machine: Machine, gates: GateSpec, measured: Measured) -> None:
    """One of the two golden prompts is answered rightly, slowly."""
    (gate,) = (one for one in gates.gates if isinstance(one, PromptsGate))
    answers = dict(zip(gate.questions, ("Paris", "Roma"), strict=True))
    speed = Speed(wanted_tokens=64, prompt_tokens=70, first_token_seconds=0.5, tokens_per_second=10.0)
    times = {"load": WHEN, "prompts": WHEN}
    machine.records.save_measured(
        replace(measured, answers=answers, speeds=(speed,), speed_memory_bytes=9, times=times)
    )


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> TestMachine:
    """Serves; gates came later, and were measured."""
    one = TestMachine(folder=tmp_path_factory.mktemp("gates"))
    one.give_model(capitals)
    one.declare()
    serve(one)
    one.declare(more=GATES % 2)
    with locked_machine(str(one.root), str(one.cache), command="test") as held:
        (wanted,) = resolve(load(str(one.manifests)), held.stamps).desired.wanted
        measure(held, wanted, runtime=metadata.version("foundry-local-sdk"))
        (fidelity,) = held.records.measured().fidelity.values()
        held.records.save_fidelity(replace(fidelity, when=FIDELITY_WHEN))
        answer(held, wanted.gates, held.records.measured().releases[wanted.release.digest])
    result = one_pass(one)
    assert [held.reason for held in result.remaining.held] == ["GateFailed"]
    return one


def status(machine: TestMachine) -> Any:
    (variant,) = machine.run("status", "-o", "json").json()["variants"]
    return variant


def told(gates: Any) -> list[tuple[str, str, float | None, float | None]]:
    """Beside fidelity, which `docs/fidelity.md` is about."""
    return [
        (f"{one['gate']}.{one['measure']}", one["status"], one["number"], one["bar"])
        for one in gates
        if one["gate"] != "fidelity"
    ]


KNOWN = [
    ("load.peakMemory", "Successful", float(1 << 20), float(1 << 30)),
    ("tokenizer.differing", "Successful", 0.0, 0.0),
    ("decoding.medianKL", "Successful", 0.0, 0.003),
    ("prompts.passed", "Failed", 1.0, 2.0),
    ("performance.tokensPerSecond@64", "Failed", 10.0, 20.0),
]


def test_plan_tells_them(machine: TestMachine) -> None:
    view = machine.run("plan", "-o", "json").json()
    assert told(view["gates"]) == KNOWN
    text = machine.run("plan").out
    assert f"gates of {V}: 7 of 9, 2 failed\n" in text
    assert "    load: peak memory in bytes 1,048,576, at most 1,073,741,824 wanted (ok)\n" in text
    assert f"    {SLOW} (a warning)\n" in text
    assert text.count(SHORT) == 1  # where it is held back, and not again below
    markdown = machine.run("plan", "-o", "markdown").out
    assert f"gates of {V}: 7 of 9, 2 failed</summary>" in markdown
    assert "| performance | tokensPerSecond@\u206064 | 10 | 20 | a warning |" in markdown
    assert "| prompts | passed | 1 | 2 | failed |" in markdown
    assert f"::warning::{V}: {SLOW}" in machine.run("plan", "-o", "github").out


def test_status_tells_what_the_last_pass_judged(machine: TestMachine) -> None:
    variant = status(machine)
    assert told(variant["gates"]) == KNOWN
    assert variant["gatesOf"] == variant["release"]
    assert all("Roma" not in one["measure"] for one in variant["gates"])
    text = machine.run("status").out
    assert "  7 of 9, 2 failed  " in text
    assert f"{V}: {SLOW} (a warning)\n" in text
    assert SHORT in text


def test_explain_tells_when_and_with_what(machine: TestMachine) -> None:
    (variant,) = machine.run("explain", V, "-o", "json").json()["variants"]
    verdicts = variant["gates"]["verdicts"]
    assert told(verdicts) == KNOWN
    assert {one["gate"]: one["measured"] for one in verdicts} == {
        "fidelity": FIDELITY_WHEN,
        "load": WHEN,
        "tokenizer": None,
        "decoding": None,
        "prompts": WHEN,
        "performance": None,  # no time was recorded
    }
    runtime = {"foundry-local-sdk": metadata.version("foundry-local-sdk")}
    assert {one["gate"]: one["runtime"] for one in verdicts if one["gate"] != "fidelity"} == dict.fromkeys(
        ("load", "tokenizer", "decoding", "prompts", "performance"), runtime
    )
    assert all("olive-ai" in one["runtime"] for one in verdicts if one["gate"] == "fidelity")
    text = machine.run("explain", V).out
    assert "gates      7 of 9, 2 failed\n" in text
    assert f"a warning  {SLOW}; measured at a time that was not recorded, foundry-local-sdk" in text
    assert f"ok         load: peak memory in bytes 1,048,576, at most 1,073,741,824 wanted; measured {WHEN}" in text
    assert SHORT in text


def test_explain_says_when_another_runtime_measured_it(machine: TestMachine) -> None:
    records = opened(machine).records
    kept = list(records.measured().releases.values())[-1]
    assert kept.load is not None
    old = replace(kept, load=replace(kept.load, runtime={"foundry-local-sdk": "0.0.1"}))
    records.save_measured(old)
    text = machine.run("explain", V).out
    assert "open       prompts: not measured yet\n" in text
    assert "measured with foundry-local-sdk 0.0.1, which is not what is installed" in text
    records.save_measured(kept)


def test_a_bar_that_is_relaxed_in_the_manifest_is_judged_by_the_same_numbers(machine: TestMachine) -> None:
    before = opened(machine).records.measured()
    machine.declare(more=GATES % 1)
    assert ("prompts.passed", "Successful", 1.0, 1.0) in told(machine.run("plan", "-o", "json").json()["gates"])
    assert "2 failed" in machine.run("status").out  # no pass has judged it yet
    assert one_pass(machine).converged
    assert ("prompts.passed", "Successful", 1.0, 1.0) in told(status(machine)["gates"])
    assert opened(machine).records.measured() == before


def test_where_a_candidate_does_not_serve_its_gates_are_marked_as_its_own(machine: TestMachine) -> None:
    machine.declare(template="llama3", more=GATES % 1)
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
        (wanted,) = resolve(load(str(machine.manifests)), held.stamps).desired.wanted
        measure(held, wanted, peak=1 << 31)
    result = one_pass(machine)
    assert [held.reason for held in result.remaining.held] == ["GateFailed"]
    variant = status(machine)
    assert variant["gatesOf"] != variant["release"]
    assert ("load.peakMemory", "Failed", float(1 << 31), float(1 << 30)) in told(variant["gates"])
    assert "1 failed, 2 open (declared)" in machine.run("status").out


def test_records_of_an_earlier_version_have_no_gates(machine: TestMachine) -> None:
    records = opened(machine).records
    conditions = records.conditions()
    records.save_conditions(conditions, gates={})
    assert status(machine)["gates"] == []
    assert records.conditions() == conditions
