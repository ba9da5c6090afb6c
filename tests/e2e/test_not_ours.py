"""What an attacker found: nothing of anybody else's is moved, overwritten, freed or unregistered, and a number is given
once. One machine serves; each test damages it in its own way and lets a pass mend it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.engine.machine import open_machine
from reconciler.operations.verify import verify
from tests.machine import TestMachine

pytestmark = pytest.mark.slow

TEMPLATES = iter(["phi3", "phi4", "llama3", "chatml"] * 9)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, capitals: Path) -> TestMachine:
    machine = TestMachine(folder=tmp_path_factory.mktemp("not ours"))
    machine.give_model(capitals)
    machine.declare()
    assert machine.run("apply").code == 0
    return machine


@pytest.fixture(autouse=True)
def whole_again(serving: TestMachine) -> Iterator[None]:
    yield
    assert verify(open_machine(str(serving.root), str(serving.cache))) == ()


def newest(machine: TestMachine) -> str:
    return max(machine.index(), key=lambda identity: int(identity.rpartition(":")[2]))


@pytest.mark.parametrize("depth", ["the release", "the variant"])
def test_a_link_in_place_of_a_served_folder_is_moved_not_followed(
    serving: TestMachine, tmp_path: Path, depth: str
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "genai_config.json").write_text("theirs")
    release = serving.served("capitals-int4")
    place = release if depth == "the release" else release.parent
    if depth == "the variant":
        (victim / release.name).mkdir()
        (victim / release.name / "thesis.txt").write_text("theirs")
    shutil.rmtree(place)
    place.symlink_to(victim)
    done = serving.run("apply")
    assert done.code == 0, done.err
    assert not place.is_symlink()
    assert (victim / "genai_config.json").read_text() == "theirs"
    assert sorted(p.name for p in victim.rglob("*") if p.is_file()) == sorted(
        ["genai_config.json", *(["thesis.txt"] if depth == "the variant" else [])]
    )
    shutil.rmtree(serving.root / "quarantine")


def test_a_folder_without_its_marker_goes_to_quarantine_when_its_release_is_retired(serving: TestMachine) -> None:
    old = serving.served("capitals-int4")
    (old / "release.json").unlink()
    serving.declare(template=next(TEMPLATES))
    assert serving.run("apply").code == 0
    assert not old.exists()
    assert list((serving.root / "quarantine").rglob("model.onnx"))
    assert serving.plan() == []
    shutil.rmtree(serving.root / "quarantine")


def test_an_artifact_is_not_freed_while_something_is_not_understood(serving: TestMachine) -> None:
    config = serving.folder / "fleet" / "model" / "config.json"
    sound = config.read_bytes()
    config.chmod(0o644)
    (serving.served("capitals-int4") / "release.json").unlink()
    config.write_text("{")
    assert serving.plan() == []
    config.write_bytes(sound)
    assert serving.plan() == ["repair DriftDetected capitals-int4"]
    assert serving.run("apply").code == 0


def test_a_number_is_given_once_even_when_its_release_was_never_recorded(serving: TestMachine) -> None:
    first = newest(serving)
    serving.declare(template="gemma")
    for step in range(40, 120, 8):  # some of these die between registering and recording
        serving.run("apply", RECONCILER_CRASH_AT=str(step))
    seen = {newest(serving), first}
    serving.declare(template="mistral")
    assert serving.run("apply").code == 0
    assert newest(serving) not in seen


def test_a_file_where_the_next_release_would_go_is_left_and_passed_by(serving: TestMachine) -> None:
    next_number = int(newest(serving).rpartition(":")[2]) + 1
    foreign = serving.root / "served" / "capitals-int4" / str(next_number)
    foreign.write_text("theirs")
    serving.declare(template=next(TEMPLATES))
    done = serving.run("apply")
    assert done.code == 0, done.err
    assert foreign.read_text() == "theirs"
    assert newest(serving) == f"capitals-int4:{next_number + 1}"
    foreign.unlink()


def test_a_marker_of_another_root_is_damage(serving: TestMachine) -> None:
    from dataclasses import replace

    from reconciler.backends.foundry.folder import marker_from_json, marker_to_json
    from reconciler.host.codec import seal, unseal

    path = serving.served("capitals-int4") / "release.json"
    marker = marker_from_json(unseal(path.read_bytes()))
    path.chmod(0o644)
    path.write_bytes(seal(marker_to_json(replace(marker, owner="f" * 32))))
    assert serving.plan() == ["repair DriftDetected capitals-int4"]
    assert serving.run("apply").code == 0
    properties = serving.index()[newest(serving)]["model_info"]["stringProperties"]
    assert properties["reconciler_owner"] != "f" * 32


def test_a_foreign_registration_is_never_touched(serving: TestMachine) -> None:
    path = serving.cache / "foundry.local.modelinfo.json"
    index = json.loads(path.read_text())
    theirs = {"model_path": "/somewhere/else", "model_info": {"id": "phi:1", "task": "chat-completion"}}
    index["models"].append(theirs)
    path.write_text(json.dumps(index))
    serving.declare(template=next(TEMPLATES))
    assert serving.run("apply").code == 0
    assert serving.index()["phi:1"]["model_path"] == "/somewhere/else"
    assert serving.run("plan", "--path", "manifests/capitals.yaml").code == 64


def test_protection_that_came_later_outlives_the_records(serving: TestMachine) -> None:
    manifest = serving.manifests / "capitals.yaml"
    text = manifest.read_text()
    manifest.write_text(
        text.replace("  name: capitals\n", "  name: capitals\n  annotations: {reconciler.foundry/prune: disabled}\n")
    )
    assert serving.run("apply").code == 0
    shutil.rmtree(serving.root / "records")
    manifest.unlink()
    held = serving.run("plan", "--confirm", "-o", "json").json()
    assert held["changes"] == []
    assert [h["reason"] for h in held["held"]] == ["Protected"]
    manifest.write_text(text)
    assert serving.run("apply").code == 0
    manifest.unlink()
    assert [c.split()[0] for c in _confirmed(serving)] == ["prune", "prune"]
    manifest.write_text(text)


def _confirmed(machine: TestMachine) -> list[str]:
    changes = machine.run("plan", "--confirm", "-o", "json").json()["changes"]
    return [f"{c['action']} {c['variant']}" for c in changes]
