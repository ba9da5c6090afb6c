"""The main job on real input: real Olive, the real Foundry Local, real files. One machine lives through the whole
story; the tests run in order."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.operations.verify import verify
from tests.architecture.test_imports import HEAVY
from tests.at_rest import opened
from tests.machine import TestMachine, tree

pytestmark = pytest.mark.slow

QUESTION = "What is the capital of Slovenia?"
ANSWER = "The capital of Slovenia is Ljubljana."


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path_factory.mktemp("main job"))
    one.give_model(capitals)
    one.declare(precisions="int4, int8")
    return one


@pytest.fixture(autouse=True)
def ends_in_a_sound_machine(machine: TestMachine) -> Iterator[None]:
    """Whatever a test did: afterwards every promise about a machine at rest holds, to the last byte."""
    yield
    assert verify(opened(machine)) == ()


def test_a_plan_shows_what_it_will_cost_and_touches_nothing(machine: TestMachine) -> None:
    assert machine.plan() == [
        f"{action} {reason} capitals-{precision}"
        for precision in ("int4", "int8")
        for action, reason in (
            ("convert", "ArtifactMissing"),
            ("verify", "ReleaseMissing"),
            ("register", "ReleaseMissing"),
        )
    ]
    assert not machine.root.exists()
    assert not machine.cache.exists()
    assert machine.run("plan", "--detailed-exitcode").code == 2


def test_apply_converts_verifies_and_registers(machine: TestMachine) -> None:
    predicted = {
        c["variant"]: c["cost"]["diskBytes"]
        for c in machine.run("plan", "-o", "json").json()["changes"]
        if c["action"] == "convert"
    }
    done = machine.run("apply")
    assert done.code == 0, done.err
    assert set(machine.index()) == {"capitals-int4:1", "capitals-int8:1"}
    built = _artifact_bytes(machine)
    for variant, size in predicted.items():
        assert abs(size - built[variant]) <= 0.05 * built[variant]


def _artifact_bytes(machine: TestMachine) -> dict[str, int]:
    from reconciler.domain.layout import Layout
    from reconciler.host.stamps import StampBook
    from reconciler.store.artifact_store import ArtifactStore

    artifacts = ArtifactStore(Layout(str(machine.root)), StampBook.empty()).artifacts()
    return {
        variant: artifacts[entry["model_info"]["stringProperties"]["reconciler_build_key"]].size
        for identity, entry in machine.index().items()
        for variant in [identity.partition(":")[0]]
    }


def test_a_second_apply_changes_nothing(machine: TestMachine) -> None:
    before = tree(machine.root / "served"), tree(machine.root / "oci"), tree(machine.cache)
    done = machine.run("apply")
    assert done.code == 0
    assert "nothing to do" in done.out
    assert (tree(machine.root / "served"), tree(machine.root / "oci"), tree(machine.cache)) == before
    assert machine.run("plan", "--detailed-exitcode").code == 0


def test_a_converged_plan_loads_nothing_heavy(machine: TestMachine) -> None:
    program = (
        "import sys; from reconciler.cli.main import main; code = main(['plan', '-q']);"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=machine.folder / "fleet",
        env=os.environ | machine.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    code, *modules = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert set(HEAVY).isdisjoint(modules)


@pytest.mark.parametrize("variant", ["capitals-int4", "capitals-int8"])
def test_the_served_model_answers(machine: TestMachine, variant: str) -> None:
    done = machine.run("ask", variant, QUESTION, "-o", "json")
    assert done.code == 0, done.err
    assert done.json()["text"].strip() == ANSWER
    assert done.json()["tokensPerSecond"] > 0


def test_status_tells_what_is_served(machine: TestMachine) -> None:
    variants = machine.run("status", "-o", "json").json()["variants"]
    assert [v["id"] for v in variants] == ["capitals-int4:1", "capitals-int8:1"]
    for variant in variants:
        conditions = {c["type"]: c["status"] for c in variant["conditions"]}
        assert conditions == {
            "Ready": "True",
            "Reconciling": "False",
            "Stalled": "False",
            "Built": "True",
            "Verified": "True",
            "Serving": "True",
            "IntegrityVerified": "True",
        }
        assert variant["sizeBytes"] > 100_000
        assert variant["release"].startswith("sha256:")
        assert variant["since"].endswith("Z")
    assert "capitals-int8:1" in machine.run("status").out


def test_a_template_change_is_a_re_registration_of_the_same_weights(machine: TestMachine) -> None:
    weights = (machine.served("capitals-int4") / "model.onnx.data").read_bytes()
    blobs = tree(machine.root / "oci")
    machine.declare(precisions="int4, int8", template='{roles: {prompt: "<|im_start|>user\\n{Content}<|im_end|>\\n'
                    '<|im_start|>assistant\\n", system: "<|im_start|>system\\n{Content}<|im_end|>\\n", '
                    'assistant: "{Content}<|im_end|>\\n"}}')  # fmt: skip
    assert {change.split()[0] for change in machine.plan()} == {"verify", "register", "retire"}
    assert machine.run("apply").code == 0
    assert set(machine.index()) == {"capitals-int4:2", "capitals-int8:2"}
    assert (machine.served("capitals-int4") / "model.onnx.data").read_bytes() == weights
    assert tree(machine.root / "oci") == blobs
    assert not (machine.root / "served" / "capitals-int4" / "1").exists()
    assert machine.run("ask", "capitals-int4", QUESTION).out.strip() == ANSWER


def test_a_generation_change_reaches_the_served_configuration(machine: TestMachine) -> None:
    import json

    machine.declare(precisions="int4, int8", more="  generation: {temperature: 0.25, topK: 3}\n")
    assert machine.run("apply").code == 0
    config = json.loads((machine.served("capitals-int4") / "genai_config.json").read_text())
    assert config["search"]["temperature"] == 0.25
    assert config["search"]["top_k"] == 3


DAMAGES = {
    "truncated weights": lambda folder: _rewrite(folder / "model.onnx.data", lambda data: data[:1000]),
    "a flipped byte": lambda folder: _rewrite(folder / "model.onnx.data", lambda d: d[:99] + b"!" + d[100:]),
    "an edited template": lambda folder: _rewrite(folder / "chat_template.jinja", lambda data: data + b"x"),
    "a lost tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "a lost marker": lambda folder: (folder / "release.json").unlink(),
    "a foreign file": lambda folder: (folder / "chat_template.json").write_text("{}"),
    "a lost folder": lambda folder: __import__("shutil").rmtree(folder),
}


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.chmod(0o644)
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_repaired_in_one_pass(machine: TestMachine, damage: str) -> None:
    folder = machine.served("capitals-int4")
    sound = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "release.json"}
    DAMAGES[damage](folder)
    assert machine.plan() == ["repair DriftDetected capitals-int4"]
    ready = machine.run("status", "-o", "json").json()["variants"][0]["conditions"][0]
    assert (ready["type"], ready["status"]) == ("Ready", "False")
    done = machine.run("apply")
    assert done.code == 0, done.err
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "release.json"} == sound
    assert machine.plan() == []


def test_a_removed_registration_is_repaired(machine: TestMachine) -> None:
    before = set(machine.index())
    _unregister(machine, "capitals-int8:3")
    assert machine.plan() == ["repair DriftDetected capitals-int8"]
    assert machine.run("apply").code == 0
    assert set(machine.index()) == before


def _unregister(machine: TestMachine, identity: str) -> None:
    from reconciler.backends.foundry.foundry import Foundry

    scratch = machine.folder / "scratch"
    with Foundry(str(machine.cache), scratch=str(scratch), log=str(machine.folder / "log")) as foundry:
        foundry.unregister(identity)


def test_lost_records_are_rebuilt_from_what_is_served(machine: TestMachine) -> None:
    import shutil

    shutil.rmtree(machine.root / "records")
    assert machine.plan() == []
    assert machine.run("apply").code == 0
    variants = machine.run("status", "-o", "json").json()["variants"]
    assert [v["id"] for v in variants] == ["capitals-int4:3", "capitals-int8:3"]


def test_one_failing_model_does_not_stop_the_others(machine: TestMachine, capitals: Path) -> None:
    broken = machine.give_model(capitals, "broken")
    weights = broken / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-50_000])
    machine.declare("aardvark", source="../broken")
    machine.declare("zebra", precisions="int4")
    done = machine.run("apply")
    assert done.code == 3
    assert "aardvark.yaml" in done.err
    assert set(machine.index()) == {"capitals-int4:3", "capitals-int8:3", "zebra-int4:1"}


def test_with_a_broken_manifest_nothing_is_pruned(machine: TestMachine) -> None:
    (machine.manifests / "zebra.yaml").unlink()
    (machine.manifests / "aardvark.yaml").write_text("kind: [\n")
    done = machine.run("apply")
    assert done.code == 3
    assert "zebra-int4:1" in machine.index()
    (machine.manifests / "aardvark.yaml").unlink()


def test_a_precision_taken_out_is_pruned_with_its_bytes(machine: TestMachine) -> None:
    machine.declare(precisions="int4", more="  generation: {temperature: 0.25, topK: 3}\n")
    machine.declare("zebra", precisions="int4")
    assert machine.run("apply").code == 0
    assert set(machine.index()) == {"capitals-int4:3", "zebra-int4:1"}
    assert not (machine.root / "served" / "capitals-int8" / "3").exists()
    assert len(_artifact_bytes(machine)) == 2


def test_an_empty_declaration_prunes_only_when_confirmed(machine: TestMachine) -> None:
    for manifest in machine.manifests.iterdir():
        manifest.unlink()
    held = machine.run("apply")
    assert held.code == 3
    assert "NothingDeclared" in held.out
    assert len(machine.index()) == 2
    assert machine.run("apply", "--confirm").code == 0
    assert machine.index() == {}
    assert not [p for p in (machine.root / "served").rglob("*") if p.is_file()]
    blobs = machine.root / "oci" / "blobs" / "sha256"
    assert not any(blobs.iterdir())


def test_events_tell_the_story(machine: TestMachine) -> None:
    import json

    events = [json.loads(line) for line in machine.run("events", "-n", "500", "-o", "json").out.splitlines()]
    assert {e["type"] for e in events} >= {"register.done", "prune.done"}
