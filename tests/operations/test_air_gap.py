"""An archive for a machine without a network: what goes into it, and what comes out on the other side."""

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import main
from reconciler.domain.errors import PermanentError
from reconciler.domain.machine.maintenance_windows import Windows
from reconciler.domain.measured import Fidelity
from reconciler.domain.reference import Comparison
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.pass_result import PassResult
from reconciler.engine.resolve import resolve
from reconciler.fleet.inventory_form import read_inventory
from reconciler.host.stamps import StampBook
from reconciler.manifests import lock_file
from reconciler.registry import bundle, provenance
from reconciler.registry.numbers import push_numbers
from reconciler.registry.oci_tar import part_of
from reconciler.registry.signatures import push_signature
from reconciler.registry.signing_keys import SigningKey, VerificationKey
from reconciler.registry.transfer import push
from reconciler.sources.facts import model_facts
from reconciler.sources.folder.model import inspect_source
from reconciler.sources.manifests import load
from tests.at_rest import FAITHFUL, convert, opened
from tests.lfs_server import keep_by_lfs
from tests.machine import TestMachine
from tests.registry.keys import key_pair
from tests.registry.places import REPOSITORY, client_of
from tests.registry.test_signatures import BUILD
from tests.registry_server import FakeRegistry
from tests.tiny_models import write_safetensors

CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
name: {name}
labels: {{site: lab}}
registries: [{{url: "{origin}/{repository}"}}]
"""


@pytest.fixture
def builder(tmp_path: Path, capitals: Path) -> TestMachine:
    """Holds what its manifests declare, and serves nothing."""
    one = TestMachine(folder=tmp_path / "builder")
    one.folder.mkdir()
    one.give_model(capitals)
    one.declare(precisions="int4, int8")
    build(one)
    return one


@pytest.fixture
def edge(tmp_path: Path) -> TestMachine:
    """Has neither manifests nor weights."""
    one = TestMachine(folder=tmp_path / "edge-7")
    one.manifests.mkdir(parents=True)
    return one


def build(machine: TestMachine) -> None:
    with locked_machine(str(machine.root), str(machine.cache), command="test") as held:
        for wanted in resolve(load(str(machine.manifests)), held.stamps, cache=held.sources).desired.wanted:
            recipe = wanted.release.recipe
            if recipe.build_key not in held.store.artifacts():
                convert(held, recipe)
                held.records.save_fidelity(numbers(recipe.build_key))
        held.stamps.save()


def numbers(build_key: str) -> Fidelity:
    return Fidelity(**{**vars(FAITHFUL), "build_key": build_key, "when": "2026-01-01T00:00:00Z"})


def export(builder: TestMachine, edge: TestMachine, *more: str, code: int = 0, **environment: str) -> dict[str, Any]:
    inventory = edge.folder / "edge-7.json"
    inventory.write_text(edge.run("inventory").out)
    path = str(edge.folder / "edge-7.tar")
    done = builder.run("export", path, "--for", str(inventory), "-o", "json", *more, **environment)
    assert done.code == code, done.out + done.err
    return done.json() if code in (0, 3) else {}


def take_in(edge: TestMachine, *more: str, code: int = 0) -> dict[str, Any]:
    done = edge.run("import", str(edge.folder / "edge-7.tar"), "--no-apply", "-o", "json", *more)
    assert done.code == code, done.out + done.err
    return done.json() if code == 0 else {}


def archive(edge: TestMachine) -> Path:
    return edge.folder / "edge-7.tar"


def plan_of_import(edge: TestMachine) -> list[str]:
    done = edge.run("plan", "--path", str(edge.root / "imported" / "manifests"), "-o", "json")
    assert done.code == 0, done.err
    view = done.json()
    return [one["action"] for one in view["changes"]] + [one["reason"] for one in view["held"]]


def test_what_comes_needs_neither_a_conversion_nor_a_download(builder: TestMachine, edge: TestMachine) -> None:
    told = export(builder, edge)
    assert sorted(one["variants"] for one in told["artifacts"]) == [["capitals-int4"], ["capitals-int8"]]
    assert told["leftOut"] == []
    assert archive(edge).stat().st_size == told["sizeBytes"]
    assert not Path(part_of(str(archive(edge)))).exists()
    taken = take_in(edge)
    assert sorted(taken["imported"]["taken"]) == sorted(one["buildKey"] for one in told["artifacts"])
    assert plan_of_import(edge) == ["verify", "register"] * 2
    assert set(opened(edge).store.artifacts()) == set(opened(builder).store.artifacts())
    receipt = read_inventory(archive(edge).with_suffix(".tar.receipt.json").read_bytes(), "receipt")
    assert receipt.imported is not None
    assert receipt.imported.revision == told["revision"]
    assert {one.digest for one in receipt.artifacts} == {one["artifact"] for one in told["artifacts"]}
    assert edge.run("verify").code == 0


@pytest.mark.parametrize(("command", "says_how"), [("run", True), ("apply", False)])
def test_a_daemon_is_in_the_way_and_import_says_how(edge: TestMachine, command: str, says_how: bool) -> None:
    with locked_machine(str(edge.root), str(edge.cache), command=command):
        done = edge.run("import", str(archive(edge)))
    assert done.code == 11
    assert ("start it again; what serves goes on serving" in done.err) == says_how


@pytest.mark.parametrize("more", [(), ("--at-any-time",)])
def test_an_import_waits_for_windows_as_apply_does(
    builder: TestMachine, edge: TestMachine, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    export(builder, edge)
    config = edge.folder / "machine.yaml"
    window = 'windows: {activate: [{start: "03:00", end: "05:00"}]}'
    config.write_text(f"apiVersion: reconciler.foundry/v1alpha1\nkind: MachineConfig\n{window}\n")
    config.chmod(0o600)
    seen: list[Windows] = []

    def run_pass(machine: Machine, *_: object) -> PassResult:
        seen.append(machine.traits.windows)
        raise PermanentError("seen", code="Seen")

    monkeypatch.setattr("reconciler.cli.verbs.import.run_pass", run_pass)
    where = ["--root", str(edge.root), "--cache", str(edge.cache), "--config", str(config)]
    assert main(["import", str(archive(edge)), *where, *more]) == 1
    assert [bool(one.activate) for one in seen] == [not more]


def test_the_same_file_twice_and_the_same_bytes_twice(builder: TestMachine, edge: TestMachine) -> None:
    first = export(builder, edge)
    data = archive(edge).read_bytes()
    archive(edge).unlink()
    export(builder, edge)
    assert archive(edge).read_bytes() == data
    take_in(edge)
    before = {path: path.stat().st_mtime_ns for path in sorted(edge.root.rglob("*")) if path.is_file()}
    receipt = archive(edge).with_suffix(".tar.receipt.json")
    written = receipt.stat().st_mtime_ns
    again = take_in(edge)
    assert again["imported"]["taken"] == []
    assert sorted(again["imported"]["held"]) == sorted(one["buildKey"] for one in first["artifacts"])
    assert not again["imported"]["changed"]
    assert {path: path.stat().st_mtime_ns for path in sorted(edge.root.rglob("*")) if path.is_file()} == before
    assert receipt.stat().st_mtime_ns == written
    assert export(builder, edge)["artifacts"] == []  # its inventory says that it holds them


def test_a_change_by_hand_is_put_back(builder: TestMachine, edge: TestMachine) -> None:
    export(builder, edge)
    take_in(edge)
    manifest = edge.root / "imported" / "manifests" / "capitals.yaml"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace("int4, ", ""))
    assert plan_of_import(edge)[:2] == ["verify", "register"]
    assert take_in(edge)["imported"]["changed"]
    assert "int4, " in manifest.read_text()


def test_only_what_that_machine_lacks_and_can_serve(builder: TestMachine, edge: TestMachine) -> None:
    builder.declare("other", more="  nodeSelector: {matchLabels: {site: office}}\n")
    builder.declare("more", precisions="fp16")
    told = export(builder, edge, code=3)
    assert len(told["artifacts"]) == 2  # `other` shares its build with capitals-int4
    [left] = told["leftOut"]
    assert (left["variant"], left["reason"]) == ("more-fp16", "AwaitingBuild")
    assert "neither in the store" in left["message"]
    take_in(edge)
    held = edge.run("plan", "--path", str(edge.root / "imported" / "manifests"), "-o", "json").json()["held"]
    assert [(one["variant"], one["reason"]) for one in held] == [("more-fp16", "AwaitingBuild")]
    assert "its source is not on this machine" in held[0]["message"]


def test_a_dry_run_writes_nothing(builder: TestMachine, edge: TestMachine) -> None:
    told = export(builder, edge, "--dry-run")
    assert told["sizeBytes"] > 0
    assert not told["written"]
    assert not archive(edge).exists()


def test_it_is_an_oci_archive(builder: TestMachine, edge: TestMachine) -> None:
    export(builder, edge)
    with tarfile.open(archive(edge)) as tar:
        safely: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from 3.11.4 on
        tar.extractall(edge.folder / "layout", **safely)
    layout = edge.folder / "layout"
    assert json.loads((layout / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    for blob in (layout / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    kinds = [one.get("artifactType", "") for one in json.loads((layout / "index.json").read_text())["manifests"]]
    assert sorted(kind.rpartition("/")[2] for kind in kinds) == [
        *("vnd.cncf.model.manifest.v1+json",) * 2,
        *("vnd.foundry-reconciler.fidelity.v1+json",) * 2,
        "vnd.foundry-reconciler.manifests.v1",
    ]


def test_what_a_conversion_is_known_by_comes_for_the_hub_and_for_adapters(
    builder: TestMachine, edge: TestMachine
) -> None:
    fleet = builder.manifests.parent
    files = sorted((fleet / "model").iterdir())
    locked = tuple(
        LockedFile(path=one.name, size=one.stat().st_size, sha256=hashlib.sha256(one.read_bytes()).hexdigest())
        for one in files
    )
    source = LockedSource(repo="org/tiny", revision="a" * 40, files=locked)
    builder.declare("hub", precisions="fp32").write_text(
        MODEL.format(name="hub", source="{huggingface: {repo: org/tiny, revision: " + "a" * 40 + "}}", precision="fp32")
    )
    (builder.manifests / "reconciler.lock.json").write_bytes(lock_file.render([source]))
    known = builder.root / "sources" / "hub" / "facts" / f"{source.digest[7:]}.json"
    known.parent.mkdir(parents=True)
    known.write_bytes(model_facts(inspect_source(str(fleet / "model"), StampBook.empty())))
    write_lora(fleet / "lora", fleet / "model")
    (builder.manifests / "tuned.yaml").write_text(
        MODEL.format(name="tuned", source="{path: ../model, adapter: ../lora}", precision="int8")
    )
    build(builder)
    told = export(builder, edge)
    names = sorted(name for one in told["artifacts"] for name in one["variants"])
    assert names == ["capitals-int4", "capitals-int8", "hub-fp32", "tuned-int8"]
    assert take_in(edge)["imported"]["changed"]
    assert plan_of_import(edge) == ["verify", "register"] * 4


MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec: {{source: {source}, precisions: [{precision}], promptTemplate: chatml}}
"""


def write_lora(folder: Path, source: Path) -> None:
    size = json.loads((source / "config.json").read_text())["hidden_size"]
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    shapes = {name.format(at, side): shape for at in (0, 1) for side, shape in (("A", (4, size)), ("B", (size, 4)))}
    write_safetensors(folder / "adapter_model.safetensors", shapes)


def test_numbers_come_along(builder: TestMachine, edge: TestMachine) -> None:
    export(builder, edge)
    take_in(edge)
    known = opened(edge).records.measured().fidelity
    assert known == opened(builder).records.measured().fidelity
    assert len(known) == 2


def test_a_commit_of_a_repository(builder: TestMachine, edge: TestMachine) -> None:
    checkout = builder.folder / "fleet"
    shutil.copytree(checkout / "model", checkout / "kept")
    builder.declare("kept", source="../kept")
    keep_by_lfs(checkout / "kept", "model.safetensors")
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", *command], cwd=checkout, check=True, capture_output=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=checkout, check=True, capture_output=True, text=True)
    told = export(builder, edge, "--repo", str(checkout), "--allow-file")
    assert told["revision"] == f"main@sha1:{commit.stdout.strip()}"
    assert len(told["artifacts"]) == 2
    assert take_in(edge)["imported"]["revision"] == told["revision"]
    assert plan_of_import(edge) == ["verify", "register"] * 3


@pytest.fixture
def registry(builder: TestMachine, tmp_path: Path) -> Iterator[tuple[FakeRegistry, dict[str, str]]]:
    """Holds what the builder holds, with numbers, and something else that is attached."""
    with FakeRegistry(has_referrers=True).running() as fake:
        client, store = client_of(fake.origin), opened(builder).store
        for artifact in store.artifacts().values():
            manifest = Path(store.blob(artifact.digest))
            lost = {"mediaType": "x", "digest": f"sha256:{'0' * 64}", "size": 2}
            for junk in ({"layers": [lost]}, {"layers": 7}):  # what anybody attaches keeps back no other
                data = json.dumps(junk | {"artifactType": "x", "subject": {"digest": artifact.digest}}).encode()
                fake.held(REPOSITORY).manifests[f"sha256:{hashlib.sha256(data).hexdigest()}"] = ("x", data)
            push_numbers(client, manifest.read_bytes(), Comparison(fidelity=numbers(artifact.build_key)), str(tmp_path))
            push(client, str(manifest.parent), artifact.digest)
            empty = hashlib.sha256(b"{}").hexdigest()
            part = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": f"sha256:{empty}", "size": 2}
            subject = {"mediaType": "x", "digest": artifact.digest, "size": manifest.stat().st_size}
            kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
            document = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
            document |= {"artifactType": kind, "config": part, "layers": [part], "subject": subject}
            client.attach(json.dumps(document).encode())
        client.session.close()
        config = tmp_path / "machine.yaml"
        config.write_text(CONFIG.format(name="hub", origin=fake.origin, repository=REPOSITORY))
        config.chmod(0o600)
        yield fake, {"RECONCILER_CONFIG": str(config)}


def test_what_the_store_lacks_a_registry_gives(
    builder: TestMachine, edge: TestMachine, registry: tuple[FakeRegistry, dict[str, str]], tmp_path: Path
) -> None:
    fake, configured = registry
    office = TestMachine(folder=tmp_path / "office")
    office.manifests.parent.parent.mkdir()
    (tmp_path / "builder" / "fleet").rename(tmp_path / "office" / "fleet")
    told = export(office, edge, **configured)
    assert {one["from"] for one in told["artifacts"]} == {f"{fake.origin.partition('://')[2]}/{REPOSITORY}"}
    assert {one["attached"] for one in told["artifacts"]} == {2}
    asked = Counter(one.path[-64:] for one in fake.requests if "/blobs/sha256:" in one.path and one.method == "GET")
    assert asked.pop(hashlib.sha256(b"{}").hexdigest()) == 4  # of each thing attached
    assert set(asked.values()) == {1}
    assert not list((office.root / "sources" / "export" / "staging").iterdir())
    assert len(take_in(edge)["imported"]["taken"]) == 2
    assert plan_of_import(edge) == ["verify", "register"] * 2


def test_a_registry_that_does_not_answer_is_named(
    builder: TestMachine, edge: TestMachine, registry: tuple[FakeRegistry, dict[str, str]]
) -> None:
    fake, configured = registry
    fake.auth = "basic"
    told = export(builder, edge, **configured)
    assert len(told["artifacts"]) == 2
    assert any("could not be read" in one for one in told["warnings"])


def test_an_export_that_was_cut_off_goes_on(builder: TestMachine, edge: TestMachine) -> None:
    export(builder, edge)
    whole = archive(edge).read_bytes()
    archive(edge).unlink()
    Path(part_of(str(archive(edge)))).write_bytes(whole[: len(whole) // 2])
    export(builder, edge)
    assert archive(edge).read_bytes() == whole


def test_an_import_that_was_cut_off_goes_on(builder: TestMachine, edge: TestMachine) -> None:
    export(builder, edge)
    for step in (9, 40, 70):
        edge.run("import", str(archive(edge)), "--no-apply", RECONCILER_CRASH_AT=str(step))
    take_in(edge)
    assert plan_of_import(edge) == ["verify", "register"] * 2


def test_no_other_file_is_replaced(builder: TestMachine, edge: TestMachine) -> None:
    archive(edge).write_text("my thesis")
    export(builder, edge, code=64)
    assert archive(edge).read_text() == "my thesis"


TRUST = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
name: edge-7
trust: [{{repository: "registry.example.com/*", mode: {mode}, keys: [{{file: "{key}"}}]}}]
"""


@pytest.mark.parametrize("signs_numbers", [True, False])
def test_what_nobody_trusted_signed_is_left_out(
    builder: TestMachine,
    edge: TestMachine,
    registry: tuple[FakeRegistry, dict[str, str]],
    tmp_path: Path,
    signs_numbers: bool,
) -> None:
    fake, configured = registry
    private, public = key_pair(tmp_path, "builder")
    store = opened(builder).store
    [signed, other] = sorted(store.artifacts().values(), key=lambda one: one.digest)
    honest = replace(numbers(signed.build_key), mean_kl=0.5) if signs_numbers else None
    manifest = Path(store.blob(signed.digest)).read_bytes()
    recipe = json.loads(json.loads(manifest)["annotations"]["reconciler.foundry/recipe"])
    build = replace(BUILD, artifact=signed.digest, build_key=signed.build_key, recipe=recipe, fidelity=honest)
    client = client_of(fake.origin)
    data = bundle.sign(provenance.written(build), SigningKey(private))
    push_signature(client, manifest, data, "2026-01-01T00:00:00Z", str(tmp_path))
    client.session.close()
    export(builder, edge, **configured)
    config = tmp_path / "edge.yaml"

    def take_in(mode: str) -> tuple[int, dict[str, Any], str]:
        config.write_text(TRUST.format(mode=mode, key=public))
        config.chmod(0o600)
        name = str(archive(edge))
        done = edge.run("import", name, "--no-apply", "-o", "json", RECONCILER_CONFIG=str(config))
        return done.code, done.json()["imported"], done.err

    code, imported, errors = take_in("enforce")
    assert (code, imported["taken"]) == (3, [signed.build_key])
    [refusal] = imported["refused"]
    assert f"an archive: {other.digest}: " in refusal
    assert public in refusal
    assert refusal in errors.replace("\n", " ")
    assert set(opened(edge).store.artifacts()) == {signed.build_key}
    assert opened(edge).records.measured().fidelity == ({signed.build_key: honest} if honest else {})
    if not signs_numbers:
        return
    [origin] = opened(edge).records.origins().values()
    assert (origin.registry, origin.signed_by) == ("an archive", SigningKey(private).id)

    code, imported, errors = take_in("warn")
    assert (code, imported["taken"], len(imported["doubted"])) == (0, [other.build_key], 1)
    assert "warning: " in errors
    code, imported, _ = take_in("enforce")
    assert (code, imported["held"], len(imported["refused"])) == (3, [signed.build_key], 1)  # judged again


def test_a_receipt_is_signed_by_the_machine(builder: TestMachine, edge: TestMachine, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "edge-7")
    receipt = archive(edge).with_suffix(".tar.receipt.json")
    signature = receipt.with_name(receipt.name + ".sigstore.json")
    export(builder, edge)
    take_in(edge)
    assert not signature.exists()
    quiet = edge.run("import", str(archive(edge)), "--no-apply", "--signing-key", private)
    Path(private).chmod(0o644)
    warned = edge.run("import", str(archive(edge)), "--no-apply", "--signing-key", private)
    said = ["can be read by everybody" in one.err for one in (quiet, warned)]
    assert (quiet.code, warned.code, said) == (0, 0, [False, True])
    envelope = bundle.read(signature.read_bytes())
    assert envelope.signed_by(VerificationKey(public))
    statement, told = json.loads(envelope.payload), json.loads(receipt.read_text())
    digest = hashlib.sha256(receipt.read_bytes()).hexdigest()
    assert statement["subject"] == [{"name": receipt.name, "digest": {"sha256": digest}}]
    said = statement["predicate"]
    assert (said["machine"], said["imported"]) == (told["machine"], told["imported"])
    written = signature.read_bytes()
    take_in(edge, "--signing-key", private)
    assert signature.read_bytes() == written
