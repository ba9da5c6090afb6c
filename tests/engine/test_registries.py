"""What a pass asks registries: each once, without waiting long; and the numbers that come with an artifact."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconciler.domain.changes import MeasureCandidate
from reconciler.domain.digest import of_value
from reconciler.domain.errors import RegistryFailed
from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.registries import RegistrySettings, read_address
from reconciler.domain.measured import TEXTS_DIGEST, Fidelity, Numbers
from reconciler.domain.reasons import Reason
from reconciler.domain.reference import Comparison, Reference
from reconciler.domain.release import Artifact
from reconciler.domain.sources.locked import Fetch, LockedSource
from reconciler.engine import registries
from reconciler.engine.jobs import MeasurementJob
from reconciler.engine.machine import Machine, open_machine
from reconciler.engine.registries import RegistryLookup, Silences, builders_numbers, pull_folder, sweep_pulls
from reconciler.engine.timetable import Turns
from reconciler.gates.fidelity import FidelityGate
from reconciler.registry.client import INDEX_TYPE
from reconciler.registry.numbers import ANNOTATION, find_numbers, push_numbers
from reconciler.registry.transfer import push
from reconciler.registry.transport import Transport
from tests.planner.world import release, wanted
from tests.references import reference_of
from tests.registry.places import REPOSITORY, client_of
from tests.registry_server import FakeRegistry, Fault, _Handler

RECIPE: dict[str, object] = {"architecture": "LlamaForCausalLM", "precision": "int4", "source": "sha256:1"}
KEY = of_value(RECIPE)
NUMBERS = Fidelity(
    build_key=KEY,
    prompts=TEXTS_DIGEST,
    positions=100,
    top1_agreement=0.75,
    mean_kl=0.25,
    perplexity_ratio=1.5,
    wiring_kl=None,
    when="2026-01-01T00:00:00Z",
)


@pytest.fixture(params=[False, True], ids=["tag", "api"])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    with FakeRegistry(has_referrers=request.param).running() as one:
        yield one


def machine_at(folder: Path, origin: str, convert: str = "registry-only") -> Machine:
    address = read_address(f"{origin}/{REPOSITORY}")
    assert address is not None
    return open_machine(
        str(folder / "root"),
        str(folder / "cache"),
        Traits(convert=convert, registries=(RegistrySettings(address=address),)),
    )


def built(folder: Path, origin: str, *numbers: Fidelity, reference: Reference | None = None) -> Artifact:
    """Of a builder, and pushed."""
    builder = machine_at(folder / "builder", origin)
    tree = folder / "tree"
    tree.mkdir()
    (tree / "model.onnx").write_bytes(b"graph" * 100)
    artifact = builder.store.put(KEY, str(tree), RECIPE)
    client = client_of(origin)
    manifest = Path(builder.store.blob(artifact.digest))
    for one in numbers:
        push_numbers(client, manifest.read_bytes(), Comparison(fidelity=one, reference=reference), str(folder))
    push(client, str(manifest.parent), artifact.digest)
    client.session.close()
    return artifact


def test_a_registry_is_asked_once_a_pass(fake: FakeRegistry, tmp_path: Path) -> None:
    artifact = built(tmp_path, fake.origin)
    machine = machine_at(tmp_path / "edge", fake.origin)
    fake.requests.clear()
    lookup = RegistryLookup(machine)
    absent = "sha256:" + "0" * 64
    for _ in range(2):
        answers = lookup.answers([KEY, absent, KEY])
        assert answers.unreached == ""
        assert {key: (offer.digest, offer.missing) for key, offer in answers.offers.items()} == {
            KEY: (artifact.digest, 500)
        }
    assert len(fake.asked("HEAD")) == 2
    assert len(fake.requests) == 3
    running = RegistryLookup(machine, answers.offers)
    assert running.answers([KEY]).offers == answers.offers
    assert len(fake.requests) == 3
    folder = Path(pull_folder(machine, KEY))
    folder.mkdir(parents=True)
    (folder / f"{artifact.files[0].digest[7:]}.part").write_bytes(b"graph")
    assert RegistryLookup(machine).answers([KEY]).offers[KEY].missing == 495
    assert list(sweep_pulls(machine, [KEY])) == []
    assert list(sweep_pulls(machine, [])) == [str(folder)]


def test_one_that_does_not_answer_is_named_and_not_asked_again(tmp_path: Path) -> None:
    with FakeRegistry().running() as gone:
        origin = gone.origin
    lookup = RegistryLookup(machine_at(tmp_path, origin))
    for keys in ([KEY], [KEY, "sha256:" + "0" * 64]):
        answers = lookup.answers(keys)
        assert (answers.offers, answers.code) == ({}, "RegistryUnreachable")
        assert "caFile" in answers.hint
        assert "models/tiny" in answers.unreached
    with pytest.raises(RegistryFailed):
        builders_numbers(machine_at(tmp_path, origin), KEY, "sha256:" + "0" * 64)


def test_numbers_come_with_the_artifact(fake: FakeRegistry, tmp_path: Path) -> None:
    newer = replace(NUMBERS, when="2026-02-01T00:00:00Z", mean_kl=0.125)
    artifact = built(tmp_path, fake.origin, NUMBERS, newer)
    machine = machine_at(tmp_path / "edge", fake.origin)
    assert builders_numbers(machine, KEY, artifact.digest) == Comparison(fidelity=newer)


def test_reference_answers_come_with_them(fake: FakeRegistry, tmp_path: Path) -> None:
    reference = reference_of(KEY)
    artifact = built(tmp_path, fake.origin, NUMBERS, reference=reference)
    machine = machine_at(tmp_path / "edge", fake.origin)
    found = builders_numbers(machine, KEY, artifact.digest)
    assert found == Comparison(fidelity=NUMBERS, reference=reference)
    machine.records.save_comparison(found)
    assert machine.records.reference(KEY) == reference
    [layer] = [digest for digest, data in fake.held(REPOSITORY).blobs.items() if b"likeliest" in data]
    del fake.held(REPOSITORY).blobs[layer]
    assert builders_numbers(machine, KEY, artifact.digest) == Comparison(fidelity=NUMBERS)


@pytest.mark.parametrize(
    "wrong",
    [
        replace(NUMBERS, build_key="sha256:" + "0" * 64),
        replace(NUMBERS, prompts="sha256:other"),
        replace(NUMBERS, positions=0),
        replace(NUMBERS, unmeasured="why"),
    ],
)
def test_numbers_that_do_not_fit_do_not_count(wrong: Fidelity, tmp_path: Path) -> None:
    with FakeRegistry().running() as fake:
        artifact = built(tmp_path, fake.origin, wrong)
        assert builders_numbers(machine_at(tmp_path / "edge", fake.origin), KEY, artifact.digest) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"build_key": 1}', "NaN", "[" * 5000, "null"])
def test_numbers_of_another_form_do_not_count(text: str, tmp_path: Path) -> None:
    with FakeRegistry().running() as fake:
        artifact = built(tmp_path, fake.origin, NUMBERS)
        client, held = client_of(fake.origin), fake.held(REPOSITORY)
        [document] = [json.loads(data) for _, data in held.manifests.values() if b'"subject"' in data]
        document["annotations"][ANNOTATION] = text
        held.manifests = {key: one for key, one in held.manifests.items() if b"fidelity" not in one[1]}
        client.attach(json.dumps(document).encode())
        assert find_numbers(client, artifact.digest, KEY) is None
        client.session.close()


def test_numbers_of_another_artifact_do_not_count(tmp_path: Path) -> None:
    with FakeRegistry().running() as fake:
        artifact = built(tmp_path, fake.origin, NUMBERS)
        client, other = client_of(fake.origin), "sha256:" + "0" * 64
        [listed] = client.referrers(artifact.digest)
        index = {"schemaVersion": 2, "manifests": [listed]}
        client.put_manifest(json.dumps(index).encode(), other.replace(":", "-"), INDEX_TYPE)
        assert client.referrers(other) == [listed]
        assert find_numbers(client, other, KEY) is None
        client.session.close()


def verdicts(found: Fidelity) -> list[tuple[str, str]]:
    numbers = Numbers(precision="int4", fidelity=found)
    assert not FidelityGate().missing(numbers)
    return [(one.status, one.message) for one in FidelityGate().judge(numbers)]


def measured_on(machine: Machine, artifact: Artifact, **more: Any) -> Fidelity | None:
    """What a measurement takes in place of a comparison of its own."""
    change = MeasureCandidate(reason=Reason.RELEASE_MISSING, release=release(), number=1, measure_key="k")
    object.__setattr__(change.release.recipe, "build_key", KEY)
    reporter = SimpleNamespace(progressed=lambda *_: None)
    context, team = SimpleNamespace(machine=machine), SimpleNamespace(reporter=reporter)
    job = MeasurementJob(change, context, team)  # type: ignore[arg-type]
    job._wanted = wanted(**more)
    machine.store.put(KEY, str(tree_of(machine)), RECIPE)
    found = job._from_builder()
    return found.fidelity if found is not None else None


def tree_of(machine: Machine) -> Path:
    tree = Path(machine.layout.root) / "tree"
    tree.mkdir(parents=True)
    (tree / "model.onnx").write_bytes(b"graph" * 100)
    return tree


def test_without_the_builders_numbers_the_gate_is_open(tmp_path: Path) -> None:
    with FakeRegistry().running() as fake:
        artifact = built(tmp_path, fake.origin)
        found = measured_on(machine_at(tmp_path / "edge", fake.origin), artifact)
        assert found is not None
        [(status, message)] = verdicts(found)
        assert status == "Inconclusive"
        assert "no numbers came with it" in message
        prefers = machine_at(tmp_path / "other", fake.origin, "prefer-registry")
        assert measured_on(prefers, artifact) is None  # its source is here: it compares itself
        local = machine_at(tmp_path / "third", fake.origin, "local")
        fake.requests.clear()
        assert measured_on(local, artifact) is None
        assert fake.requests == []


def test_what_was_pulled_is_not_compared_with_an_original_that_was_not_fetched(tmp_path: Path) -> None:
    lacking = Fetch(source=LockedSource(repo="org/original", revision="1" * 40, files=()), missing=100)
    with FakeRegistry().running() as fake:
        artifact = built(tmp_path, fake.origin)
        prefers = machine_at(tmp_path / "edge", fake.origin, "prefer-registry")
        found = measured_on(prefers, artifact, original=lacking)
        assert found is not None
        assert "no numbers came with it" in found.unmeasured


def test_a_silent_registry_costs_one_pass_a_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passes that follow know what was wrong, until its back-off ends."""
    with FakeRegistry().running() as gone:
        origin = gone.origin
    machine, tried, clock = machine_at(tmp_path, origin), [], [0.0]
    opening = Transport.send
    monkeypatch.setattr(Transport, "send", lambda *given: tried.append(1) or opening(*given))
    silences = Silences(lambda: clock[0], lambda: 0.5)
    for clock[0], count in ((0.0, 1), (1.0, 1), (59.0, 1), (61.0, 2), (150.0, 2), (182.0, 3)):
        answers = RegistryLookup(machine, silences=silences).answers([KEY])
        assert (answers.code, len(tried)) == ("RegistryUnreachable", count)


@pytest.mark.parametrize("patient", [False, True])
def test_a_busy_registry_is_waited_for_by_who_asks_once(
    fake: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    """One that answers late, and cuts a connection."""
    monkeypatch.setattr(registries, "SILENCE", 0.05)

    def late(handler: _Handler) -> bool:
        time.sleep(0.3)
        return False

    def cut(handler: _Handler) -> bool:
        handler.cut()
        return True

    built(tmp_path, fake.origin)
    fake.faults += [Fault(method="HEAD", path="/manifests/", act=one) for one in (cut, late)]
    found = RegistryLookup(machine_at(tmp_path, fake.origin), patient=patient).answers([KEY])
    assert (set(found.offers), found.code) == (({KEY}, "") if patient else (set(), "RegistryUnreachable"))


def test_what_a_person_mends_is_asked_again_at_once(tmp_path: Path) -> None:
    with FakeRegistry("basic").running() as fake:
        machine, silences = machine_at(tmp_path, fake.origin), Silences()
        assert RegistryLookup(machine, silences=silences).answers([KEY]).code == "RegistryDenied"
        fake.auth = ""
        assert RegistryLookup(machine, silences=silences).answers([KEY]).unreached == ""


def test_before_its_turn_a_machine_asks_nothing(fake: FakeRegistry, tmp_path: Path) -> None:
    artifact = built(tmp_path, fake.origin)
    machine, clock = machine_at(tmp_path / "edge", fake.origin), [0.0]
    fake.requests.clear()
    turns = Turns("edge-7", interval=60.0, ticks=lambda: clock[0])
    answers = RegistryLookup(machine, turns=turns).answers([KEY])
    assert answers.turn is not None
    assert (answers.offers, fake.requests, answers.turn.may) == ({}, [], False)
    assert "until" in answers.turn.message
    clock[0] = 60.0
    answers = RegistryLookup(machine, turns=turns).answers([KEY])
    assert answers.turn is None
    assert answers.offers[KEY].digest == artifact.digest
