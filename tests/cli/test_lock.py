"""`reconciler lock`, and what `validate` and `plan` say of a model from the hub, as a user meets them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.host.stamps import StampBook
from reconciler.sources.folder.model import inspect_source
from reconciler.sources.manifests import load
from reconciler.sources.protocol import described
from tests.extras import needs
from tests.git_server import Repository
from tests.hub_server import COMMIT, HubServer
from tests.machine import TestMachine

needs("huggingface_hub", "hub")

MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec:
  source:
    huggingface:
      repo: org/tiny
      revision: {revision}
  precisions: [{precisions}]
  promptTemplate: chatml
"""
NEWER = "d" * 40


@pytest.fixture
def server(capitals: Path) -> Iterator[HubServer]:
    with HubServer().running() as running:
        running.give("org/tiny", capitals)
        yield running


@pytest.fixture
def machine(tmp_path: Path) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    declare(one)
    return one


def declare(machine: TestMachine, name: str = "capitals", revision: str = COMMIT, precisions: str = "int4") -> Path:
    machine.manifests.mkdir(parents=True, exist_ok=True)
    path = machine.manifests / f"{name}.yaml"
    path.write_text(MODEL.format(name=name, revision=revision, precisions=precisions))
    return path


def lock_file(machine: TestMachine) -> Path:
    return machine.manifests / "reconciler.lock.json"


def test_an_unlocked_model_is_a_problem_with_its_line(machine: TestMachine) -> None:
    done = machine.run("validate", "-o", "json")
    assert done.code == 1
    (problem,) = done.json()["problems"]
    assert (problem["code"], problem["file"], problem["line"]) == ("HubNotLocked", "manifests/capitals.yaml", 6)
    assert problem["hint"] == "run `reconciler lock` and commit the file"
    assert machine.plan() == []


def test_lock_pins_and_then_leaves_alone(machine: TestMachine, server: HubServer) -> None:
    assert machine.run("lock", "--check").code == 1
    first = machine.run("lock", HF_ENDPOINT=server.url)
    assert first.code == 0, first.err
    assert "+ org/tiny@c0ffee" in first.out
    written = lock_file(machine).read_bytes()
    names = {file["path"] for file in json.loads(written)["sources"][0]["files"]}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    server.requests.clear()
    again = machine.run("lock", HF_ENDPOINT=server.url)
    assert "unchanged" in again.out
    assert lock_file(machine).read_bytes() == written
    assert [one.path for one in server.requests] == ["/api/models/org/tiny"]
    assert machine.run("lock", "--check").code == 0
    assert machine.run("validate").code == 0


def test_a_hub_that_is_away_leaves_what_is_locked(machine: TestMachine, server: HubServer) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    written = lock_file(machine).read_bytes()
    done = machine.run("lock", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.code == 0
    assert "the connection failed" in done.err
    assert lock_file(machine).read_bytes() == written
    declare(machine, revision=NEWER)
    assert machine.run("lock", HF_ENDPOINT="http://127.0.0.1:9").code == 1
    assert lock_file(machine).read_bytes() == written


def test_what_nothing_declares_leaves_the_lock(machine: TestMachine, server: HubServer) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    declare(machine).unlink()
    machine.declare("other", source="../nowhere").unlink()
    checked = machine.run("lock", "--check")
    assert checked.code == 1
    assert "is locked and not declared" in checked.out
    done = machine.run("lock", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.code == 0, done.err
    assert json.loads(lock_file(machine).read_bytes())["sources"] == []


def test_a_broken_manifest_drops_nothing(machine: TestMachine, server: HubServer) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    before = lock_file(machine).read_bytes()
    declare(machine).write_text("kind: [")
    assert machine.run("lock", HF_ENDPOINT=server.url).code == 1
    assert lock_file(machine).read_bytes() == before


def test_a_broken_lock_is_a_problem_and_is_written_anew(machine: TestMachine, server: HubServer) -> None:
    lock_file(machine).write_text("{\n<<<<<<< HEAD\n")
    done = machine.run("plan", "-o", "json")
    codes = {(one["code"], one["file"], one["line"]) for one in done.json()["problems"]}
    assert ("LockInvalid", "manifests/reconciler.lock.json", 2) in codes
    assert machine.run("lock", "--check").code == 1
    assert "written" in machine.run("lock", HF_ENDPOINT=server.url).out
    assert machine.run("validate").code == 0


@pytest.mark.parametrize("kind", ["link", "fifo", "large"])
def test_a_lock_is_a_plain_file(machine: TestMachine, kind: str) -> None:
    path = lock_file(machine)
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "fifo":
        import os

        os.mkfifo(path)
    else:
        path.write_bytes(b" " * (5 << 20))
    done = machine.run("validate", "-o", "json", timeout=20)
    assert "LockInvalid" in {one["code"] for one in done.json()["problems"]}
    assert "root" not in done.out


def test_a_hub_that_refuses_leaves_the_lock_as_it_was(machine: TestMachine, server: HubServer) -> None:
    server.repos["org/tiny"].gated = True
    done = machine.run("lock", HF_ENDPOINT=server.url)
    assert done.code == 1
    assert "terms" in done.err
    assert "HF_TOKEN" in done.err
    assert not lock_file(machine).exists()


def test_the_plan_names_the_download_and_asks_nobody(machine: TestMachine, server: HubServer) -> None:
    declare(machine, "again", precisions="int4, int8")
    machine.run("lock", HF_ENDPOINT=server.url)
    size = sum(file["size"] for file in json.loads(lock_file(machine).read_bytes())["sources"][0]["files"])
    server.requests.clear()
    done = machine.run("plan", "-o", "json", HF_ENDPOINT=server.url, HF_TOKEN="hf_x")
    (change,) = done.json()["changes"]
    assert (change["action"], change["reason"], change["variant"]) == ("fetch", "SourceMissing", "again-int4")
    assert change["cost"]["downloadBytes"] == size
    assert change["after"]["repo"] == "org/tiny"
    assert change["after"]["revision"] == COMMIT
    text = machine.run("plan").out
    assert "fetch    again-int4 from org/tiny@c0ffeec0ffee" in text
    assert "download 1" in text or "download 2" in text
    assert server.requests == []


def test_a_moved_branch_is_known_after_lock_and_told_by_plan(machine: TestMachine, server: HubServer) -> None:
    server.repos["org/tiny"].main = NEWER
    done = machine.run("lock", HF_ENDPOINT=server.url)
    assert f"capitals: upstream is at {NEWER}" in done.out
    (warning,) = machine.run("plan", "-o", "json").json()["warnings"]
    assert (warning["code"], warning["line"]) == ("UpstreamMoved", 8)
    assert NEWER in warning["message"]
    assert machine.run("lock", "--commit-of", "org/tiny@main", HF_ENDPOINT=server.url).out == f"{NEWER}\n"


def test_the_lock_is_part_of_what_is_declared(machine: TestMachine, server: HubServer) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    before = machine.run("plan", "-o", "json").json()["revision"]
    text = lock_file(machine).read_text()
    lock_file(machine).write_text(text.replace('"sha256": "', '"sha256": "0', 1).replace('0"}', '"}', 1))
    again = machine.run("plan", "-o", "json")
    assert again.json()["revision"] != before


def test_a_branch_is_no_revision(machine: TestMachine) -> None:
    declare(machine, revision="main")
    done = machine.run("validate")
    assert done.code == 1
    assert "manifests/capitals.yaml:8: spec.source.huggingface.revision: expected a commit" in done.err
    assert "reconciler lock --commit-of" in done.err


def test_a_pull_request_shows_the_download(tmp_path: Path, server: HubServer) -> None:
    """From the lock alone, as it is in the two commits."""
    repository = Repository(tmp_path / "fleet")
    machine = TestMachine(folder=tmp_path)
    declare(machine)
    machine.run("lock", HF_ENDPOINT=server.url)
    base = repository.commit("one")
    server.repos["org/tiny"].commit = NEWER
    server.repos["org/tiny"].files["tokenizer_config.json"] += b" "
    declare(machine, revision=NEWER)
    machine.run("lock", HF_ENDPOINT=server.url)
    head = repository.commit("two")
    size = sum(file["size"] for file in json.loads(lock_file(machine).read_bytes())["sources"][0]["files"])
    server.requests.clear()
    done = machine.run("diff", base, head, "-o", "json", HF_ENDPOINT=server.url)
    assert done.code == 1, done.err
    assert not done.json()["problems"]
    assert f'"downloadBytes": {size}' in done.out
    assert NEWER in done.out
    assert '"fetch"' in done.out
    assert server.requests == []
    assert machine.run("diff", head, head).code == 0


def test_a_lock_is_read_from_a_branch(tmp_path: Path, server: HubServer) -> None:
    repository = Repository(tmp_path / "fleet")
    machine = TestMachine(folder=tmp_path)
    declare(machine)
    repository.commit("without a lock")
    follow = ("plan", "-o", "json", "--repo", str(repository.folder), "--allow-file")
    assert [one["code"] for one in machine.run(*follow).json()["problems"]] == ["HubNotLocked"]
    machine.run("lock", HF_ENDPOINT=server.url)
    repository.commit("locked")
    for _ in range(2):  # parsed, then remembered
        done = machine.run(*follow).json()
        assert not done["problems"]
        assert [one["action"] for one in done["changes"]] == ["fetch"]
    lock_file(machine).unlink()
    lock_file(machine).symlink_to("/etc/passwd")
    repository.commit("a link")
    codes = [one["code"] for one in machine.run(*follow).json()["problems"]]
    assert {"LockInvalid", "HubNotLocked"} <= set(codes)


def test_a_hub_that_says_nonsense_is_not_written_down(machine: TestMachine, server: HubServer) -> None:
    server.repos["org/tiny"].sha256 = "\x1b[2J" + "z" * 60
    done = machine.run("lock", HF_ENDPOINT=server.url)
    assert done.code == 1
    assert "makes no lock" in done.err
    assert "\x1b" not in done.err
    assert "Traceback" not in done.err
    assert not lock_file(machine).exists()


def facts_file(machine: TestMachine) -> Path:
    return machine.manifests / "reconciler.facts.json"


def test_the_facts_say_what_a_look_at_the_source_would(machine: TestMachine, server: HubServer, capitals: Path) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    assert b"facts" not in lock_file(machine).read_bytes()  # as the version before reads it
    assert len(facts_file(machine).read_bytes()) < 10_000
    (model,) = load(str(machine.manifests)).models
    assert model.remote is not None
    found, expected = described(model.remote), inspect_source(str(capitals), StampBook.empty())
    assert found is not None
    unknown = {"path": "", "shapes": {}, "tokens": (), "ends": (), "reading": {}, "warnings": ()}
    assert found == replace(expected, **unknown)


def test_an_old_lock_gets_facts(machine: TestMachine, server: HubServer) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    facts = facts_file(machine).read_bytes()
    facts_file(machine).unlink()
    away = machine.run("lock", HF_ENDPOINT="http://127.0.0.1:9")
    assert away.code == 0
    assert "warning" in away.err
    assert machine.run("lock", "--check").code == 0
    assert machine.run("validate").code == 0
    assert "written" in machine.run("lock", HF_ENDPOINT=server.url).out
    assert facts_file(machine).read_bytes() == facts


def test_facts_are_of_the_locked_bytes(machine: TestMachine, server: HubServer) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    locked = lock_file(machine).read_bytes()
    facts_file(machine).unlink()
    files = server.repos["org/tiny"].files
    files["config.json"] = files["config.json"].replace(b"hidden_size", b"hidden_sixe")
    done = machine.run("lock", HF_ENDPOINT=server.url)
    assert "config.json has other bytes than are locked" in done.err
    assert lock_file(machine).read_bytes() == locked
    assert json.loads(facts_file(machine).read_bytes())["sources"] == []


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"formatVersion": 2, "sources": []}', "a config of no model", "other weights", "a link"]
)
def test_without_facts_that_can_be_read_a_source_is_fetched_first(
    machine: TestMachine, server: HubServer, damage: str
) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    path = facts_file(machine)
    if damage == "a link":
        path.unlink()
        path.symlink_to("/etc/passwd")
    elif damage.startswith(("{", "[")):
        path.write_text(damage)
    else:
        document = json.loads(path.read_text())
        entry = document["sources"][0]
        entry |= {"config": {"architectures": ["x"]}} if "config" in damage else {"weights": ["other.safetensors"]}
        path.write_text(json.dumps(document))
    done = machine.run("plan", "-o", "json").json()
    assert not done["problems"]
    codes = [(one["code"], one["file"]) for one in done["warnings"]]
    assert codes == [("FactsInvalid", "manifests/reconciler.facts.json")]
    assert [one["action"] for one in done["changes"]] == ["fetch"]
    assert "root" not in str(done["warnings"])
    if damage != "a link":
        assert "written" in machine.run("lock", HF_ENDPOINT=server.url).out
        assert machine.run("plan", "-o", "json").json()["warnings"] == []


POLICY = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Policy
metadata: {name: house}
spec:
  licenses: {allow: [MIT]}
"""
CARD = b"---\nlicense: llama3.2\n---\n# Tiny\n"


def cards_file(machine: TestMachine) -> Path:
    return machine.manifests / "reconciler.cards.json"


def policies(machine: TestMachine) -> list[tuple[str, str]]:
    return [(one["result"], one["message"]) for one in machine.run("plan", "-o", "json").json()["policies"]]


def test_the_licence_is_known_before_the_source_is_here(machine: TestMachine, server: HubServer) -> None:
    """Of the locked revision, though `include` does not take its README.md."""
    (machine.manifests / "policy.yaml").write_text(POLICY)
    assert policies(machine) == [("fail", "expected a licence, but no model card is here")]
    server.repos["org/tiny"].files["README.md"] = CARD
    machine.run("lock", HF_ENDPOINT=server.url)
    entry = {"source": f"huggingface/org/tiny@{COMMIT}", "licenses": ["llama3.2"]}
    assert json.loads(cards_file(machine).read_bytes()) == {"formatVersion": 1, "sources": [entry]}
    assert b"README" not in lock_file(machine).read_bytes()
    assert policies(machine) == [("fail", "expected MIT, got LicenseRef-llama3.2")]
    # It is asked for once.
    server.repos["org/tiny"].files["README.md"] = CARD.replace(b"llama3.2", b"mit")
    assert "unchanged" in machine.run("lock", HF_ENDPOINT=server.url).out
    cards_file(machine).unlink()
    assert "written" in machine.run("lock", HF_ENDPOINT=server.url).out
    assert policies(machine) == []


def test_a_repository_without_a_card_has_no_licence(machine: TestMachine, server: HubServer) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    assert json.loads(cards_file(machine).read_bytes())["sources"] == [{"source": f"huggingface/org/tiny@{COMMIT}"}]
    (machine.manifests / "policy.yaml").write_text(POLICY)
    assert policies(machine) == [("fail", "expected a licence that SPDX or its own name tells, got none")]


@pytest.mark.parametrize(
    "damage", ["{", '{"formatVersion": 2, "sources": []}', '{"formatVersion": 1, "sources": [{}]}']
)
def test_cards_that_cannot_be_read_open_nothing(machine: TestMachine, server: HubServer, damage: str) -> None:
    machine.run("lock", HF_ENDPOINT=server.url)
    (machine.manifests / "policy.yaml").write_text(POLICY)
    cards_file(machine).write_text(damage)
    view = machine.run("plan", "-o", "json").json()
    assert [one["code"] for one in view["warnings"]] == ["CardsInvalid"]
    assert [one["reason"] for one in view["held"]] == ["PolicyDenied"]
    assert view["changes"] == []
    assert "written" in machine.run("lock", HF_ENDPOINT=server.url).out
