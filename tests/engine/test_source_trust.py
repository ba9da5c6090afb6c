"""Models that carry an OpenSSF signature: one that model-signing made is taken, and whatever is wrong with one is named
at the manifest's line, before weights come and before anything is converted."""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.errors import TemporaryError
from reconciler.domain.machine.facts import Traits
from reconciler.domain.machine.trust import TrustedKey, TrustMode, TrustPolicy, TrustRule
from reconciler.domain.sources.locked import GIT, LockedFile, LockedSource
from reconciler.engine.machine import Machine, open_machine
from reconciler.engine.resolve import Resolution, resolve
from reconciler.engine.source_trust import SourceTrust
from reconciler.registry import bundle
from reconciler.registry.signing_keys import SigningKey
from reconciler.sources.download import Download
from reconciler.sources.manifests import load
from tests.at_rest import serve
from tests.hub_server import COMMIT, HubServer
from tests.machine import TestMachine
from tests.registry.keys import key_pair

SIGNED = Path(__file__).parent / "from_model_signing"
ENFORCE: TrustMode = "enforce"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "stranger"):
        key_pair(folder, name)
    shutil.copy(SIGNED / "signer.pub", folder)
    (folder / "signer.pub").chmod(0o644)
    return folder


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    """With what model-signing signed, and what it leaves out."""
    one = TestMachine(folder=tmp_path)
    model = one.give_model(capitals)
    shutil.copy(SIGNED / "model.sig", model)
    (model / "README.md").write_text("# Capitals\n")
    (model / "notes").mkdir()
    (model / "notes" / "a.txt").write_text("a\n")
    (model / ".git").mkdir()
    for name in ("local.log", ".gitattributes", ".git/config"):
        (model / name).write_text("whatever")
    one.declare()
    return one


def policy_of(keys: Path, mode: TrustMode = ENFORCE, *names: str, source: str = "*", until: str = "") -> TrustPolicy:
    listed = tuple(TrustedKey(file=str(keys / f"{name}.pub"), until=until) for name in names or ("signer",))
    return TrustPolicy(sources=(TrustRule(pattern=source, mode=mode, keys=listed),))


def machine_with(machine: TestMachine, policy: TrustPolicy, **traits: Any) -> Machine:
    return open_machine(str(machine.root), str(machine.cache), Traits(trust=policy, **traits))


def judged(machine: TestMachine, policy: TrustPolicy, **traits: Any) -> Resolution:
    opened = machine_with(machine, policy, **traits)
    parsed = load(str(machine.manifests))
    assert not parsed.problems
    return resolve(parsed, opened.stamps, cache=opened.sources, trust=SourceTrust.of(opened))


def refused(machine: TestMachine, policy: TrustPolicy) -> str:
    """The message of the one problem, at its line of the manifest."""
    found = judged(machine, policy)
    [problem] = found.problems
    assert (problem.code, problem.field) == ("SourceUntrusted", "spec.source")
    assert problem.file.endswith("capitals.yaml")
    assert problem.line == 6
    assert found.desired.wanted == ()
    assert found.desired.declared == {"capitals-int4"}
    assert found.desired.complete
    return problem.message


def test_what_model_signing_signed_is_taken(machine: TestMachine, keys: Path) -> None:
    found = judged(machine, policy_of(keys))
    assert (found.problems, len(found.desired.wanted)) == ((), 1)
    assert not [one for one in found.warnings if one.code == "SourceUntrusted"]
    assert judged(machine, policy_of(keys, ENFORCE, "stranger", "signer")).problems == ()


def _without(name: str) -> Callable[[Path], None]:
    return lambda model: (model / name).unlink()


def _with(name: str, text: str = "{}") -> Callable[[Path], None]:
    return lambda model: (model / name).write_text(text) and None


def _longer(name: str) -> Callable[[Path], None]:
    return lambda model: (model / name).write_bytes((model / name).read_bytes() + b"\n") and None


def _turned(model: Path) -> None:
    """One letter of what is signed."""
    held = json.loads((model / "model.sig").read_text())
    payload = base64.b64decode(held["dsseEnvelope"]["payload"]).replace(b"README.md", b"README.me")
    held["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    (model / "model.sig").write_text(json.dumps(held))


def _a_pipe(model: Path) -> None:
    (model / "README.md").unlink()
    os.mkfifo(model / "README.md")


def _many(model: Path) -> None:
    (model / ".many").mkdir()
    for number in range(10_001):
        os.symlink("nowhere", model / ".many" / str(number))


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (_without("model.sig"), "it is unsigned: it has no model.sig"),
        (_longer("config.json"), "`config.json` is not the file that was signed"),
        (_longer("notes/a.txt"), "`notes/a.txt` is not the file that was signed"),
        (_with("extra.py"), "`extra.py` was not signed"),
        (_with("notes/b.txt"), "`notes/b.txt` was not signed"),
        (_with("special_tokens_map.json"), "`special_tokens_map.json` was not signed"),
        (_without("README.md"), "`README.md` is missing"),
        (_without("chat_template.jinja"), "`chat_template.jinja` is missing"),
        (_turned, "signer.pub is not over these bytes"),
        (_with("model.sig", "no JSON"), "not the form of a sigstore bundle"),
        (_with("model.sig", "x" * (2 << 20)), "model.sig cannot be read: file too large"),
        (_a_pipe, "README.md cannot be read"),
        (_many, "more than 10,000 files"),
    ],
)
def test_what_is_not_what_was_signed_is_refused(
    machine: TestMachine, keys: Path, attack: Callable[[Path], None], said: str
) -> None:
    attack(machine.folder / "fleet" / "model")
    message = refused(machine, policy_of(keys))
    assert said.replace("`", "") in message.replace("'", "").replace("`", "")
    assert str(keys / "signer.pub") in message
    doubted = judged(machine, policy_of(keys, "warn"))
    [warning] = [one for one in doubted.warnings if one.code == "SourceUntrusted"]
    assert (warning.message, warning.line) == (message, 6)
    assert (doubted.problems, len(doubted.desired.wanted)) == ((), 1)
    ignored = judged(machine, policy_of(keys, "off"))
    assert not [one for one in (*ignored.problems, *ignored.warnings) if one.code == "SourceUntrusted"]


def test_whose_key_it_is(machine: TestMachine, keys: Path) -> None:
    assert "a key that is not trusted here (sha256 of its PEM form: " in refused(
        machine, policy_of(keys, ENFORCE, "stranger")
    )
    over = refused(machine, policy_of(keys, until="2020-01-31"))
    assert "signer.pub, which counted until 2020-01-31" in over
    assert "gone.pub: No such file" in refused(machine, policy_of(keys, ENFORCE, "gone"))


def test_what_no_rule_covers_is_refused(machine: TestMachine, keys: Path) -> None:
    """Whoever writes manifests would only have to call a source otherwise."""
    assert "no rule of `trust` covers this source" in refused(machine, policy_of(keys, source="huggingface/acme/*"))
    assert judged(machine, policy_of(keys, source=f"{machine.folder}/*")).problems == ()
    assert judged(machine, TrustPolicy()).problems == ()


def statement(model: Path, left_out: tuple[str, ...] = (), **serialization: Any) -> dict[str, Any]:
    """As model-signing writes it."""
    files = {path.name: path.read_bytes() for path in sorted(model.iterdir()) if path.is_file()}
    for name in ("model.sig", ".gitattributes", *left_out):
        files.pop(name, None)
    digests = {name: hashlib.sha256(data).digest() for name, data in files.items()}
    ignored = {"ignore_paths": ["model.sig", "notes", *left_out]}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": hashlib.sha256(b"".join(digests.values())).hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
            | ignored
            | serialization,
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest.hex()} for name, digest in digests.items()
            ],
        },
    }


def sign(model: Path, keys: Path, given: dict[str, Any]) -> None:
    signed = bundle.sign(json.dumps(given).encode(), SigningKey(str(keys / "own.key")))
    (model / "model.sig").write_bytes(signed)


def _twice(given: dict[str, Any]) -> None:
    given["predicate"]["resources"].append(given["predicate"]["resources"][0])


def _other_subject(given: dict[str, Any]) -> None:
    given["subject"][0]["digest"]["sha256"] = "0" * 64


def _two_subjects(given: dict[str, Any]) -> None:
    given["subject"] *= 2


def _as(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda given: given.__setitem__(name, value)


def _serialized(**how: object) -> Callable[[dict[str, Any]], None]:
    return lambda given: given["predicate"]["serialization"].update(how)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda given: None, ""),
        (_as("_type", "https://in-toto.io/Statement/v0.1"), "no in-toto statement"),
        (_as("predicateType", "https://slsa.dev/provenance/v1"), "its predicate is of type"),
        (_as("predicate", {}), "not the form of a model signature"),
        (_serialized(method="shards", shard_size=1e9), "shards by sha256"),
        (_serialized(hash_type="blake3"), "files by blake3"),
        (_other_subject, "not the one that its subject names"),
        (_two_subjects, "not the form of a model signature"),
        (_twice, "is in it twice"),
    ],
)
def test_other_statements_of_the_right_key(
    machine: TestMachine, keys: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    model = machine.folder / "fleet" / "model"
    given = statement(model)
    change(given)
    sign(model, keys, given)
    policy = policy_of(keys, ENFORCE, "own")
    if said:
        assert said in refused(machine, policy)
    else:
        assert judged(machine, policy).problems == ()


@pytest.mark.parametrize(("left_out", "said"), [("tokenizer.json", "was not signed"), ("README.md", "")])
def test_what_decides_a_conversion_cannot_be_left_out(
    machine: TestMachine, keys: Path, left_out: str, said: str
) -> None:
    model = machine.folder / "fleet" / "model"
    sign(model, keys, statement(model, (left_out,)))
    policy = policy_of(keys, ENFORCE, "own")
    if said:
        assert said in refused(machine, policy)
    else:
        assert judged(machine, policy).problems == ()


def test_an_adapter_is_a_source_too(machine: TestMachine, keys: Path) -> None:
    adapter = machine.folder / "fleet" / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    opened = machine_with(machine, policy_of(keys))
    [model] = load(str(machine.manifests)).models
    [(field, doubt)] = SourceTrust.of(opened).of_model(replace(model, adapter_path=str(adapter)))
    assert field == "spec.source.adapter"
    assert "adapter is not trusted: it is unsigned" in doubt.message


class Remote:
    """Gives the files of a folder, and remembers which."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()

    def download(self, source: object, file: LockedFile, target: str, *_: object) -> None:
        self.asked.append(file.path)
        shutil.copy(self.folder / file.path, target)

    def held(self, target: str) -> int:
        return 0

    def tree(self, source: object) -> list[dict[str, Any]]:
        self.asked.append("")
        return [{"path": one.name, "size": one.stat().st_size, "sha256": ""} for one in self.folder.iterdir()]


def locked(model: Path, *, signed: bool = True) -> LockedSource:
    """The files of a conversion, and the signature; README.md and others that were signed stay there."""
    names = [one.name for one in model.iterdir() if one.suffix in (".json", ".jinja", ".safetensors")]
    files = tuple(
        LockedFile(path=name, size=(model / name).stat().st_size, sha256=_sha256(model / name))
        for name in sorted([*names, *(["model.sig"] if signed else [])])
    )
    include = ("*.json", "*.jinja", "*.safetensors", "model.sig")
    return LockedSource(repo="acme/capitals", revision="c0ffee" * 6 + "c0ff", include=include, files=files)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(opened: Machine, source: LockedSource, remote: Remote) -> None:
    folder = opened.sources.begin(source)
    trust = SourceTrust.of(opened)
    Download(
        remote,  # type: ignore[arg-type]
        source,
        folder,
        lambda *_: None,
        when_signed=lambda: trust.require(source, folder),
        wants_signature=trust.wants(source),
    ).run()


def of_remote(machine: TestMachine, policy: TrustPolicy, source: LockedSource, **traits: Any) -> list[str]:
    [model] = load(str(machine.manifests)).models
    opened = machine_with(machine, policy, **traits)
    remote = replace(model, source_path="", remote=source)
    return [doubt.message for _, doubt in SourceTrust.of(opened).of_model(remote)]


def test_the_signature_comes_first_and_weights_only_after_it(machine: TestMachine, keys: Path) -> None:
    model = machine.folder / "fleet" / "model"
    source, remote = locked(model), Remote(model)
    wrong, right = policy_of(keys, ENFORCE, "stranger"), policy_of(keys)
    assert of_remote(machine, wrong, source) == []  # nothing is known yet
    with pytest.raises(TemporaryError, match="a key that is not trusted here") as refusal:
        fetch(machine_with(machine, wrong), source, remote)
    assert refusal.value.code == "SourceUntrusted"
    assert remote.asked == ["model.sig"]
    assert "not trusted here" in of_remote(machine, wrong, source)[0]  # a plan knows, and asks for nothing more
    fetch(machine_with(machine, right), source, remote)
    assert set(remote.asked) == {file.path for file in source.files}
    assert len(remote.asked) == len(source.files)
    opened = machine_with(machine, right)
    opened.sources.publish(source, opened.stamps)
    assert of_remote(machine, right, source) == []
    assert "not trusted here" in of_remote(machine, wrong, source)[0]


def _other_lock(source: LockedSource, path: str) -> LockedSource:
    files = [replace(one, sha256="0" * 64) if one.path == path else one for one in source.files]
    return replace(source, files=tuple(files))


def test_the_lock_is_compared_with_the_signature(machine: TestMachine, keys: Path) -> None:
    """Nobody signed the bytes that were locked: so not even they come."""
    model = machine.folder / "fleet" / "model"
    whole = locked(model)
    fewer = replace(whole, files=tuple(one for one in whole.files if one.path != "generation_config.json"))
    more = replace(whole, files=(*whole.files, LockedFile(path="vocab.json", size=2, sha256="0" * 64)))
    cases = {
        "is not the file that was signed": _other_lock(whole, "model.safetensors"),
        "is missing": fewer,
        "was not signed": more,
    }
    for said, source in cases.items():
        remote = Remote(model)
        with pytest.raises(TemporaryError, match=said):
            fetch(machine_with(machine, policy_of(keys)), source, remote)
        assert remote.asked == ["model.sig"]


def test_a_lock_of_an_earlier_version_lacks_what_it_did_not_take(machine: TestMachine, keys: Path) -> None:
    """Of a ready source: how it hears, which a model that chats does not read."""
    model = machine.folder / "fleet" / "model"
    whole = locked(model)
    (model / "audio_processor_config.json").write_text("{}")
    sign(model, keys, statement(model))
    files = tuple(one for one in locked(model).files if one.path in {held.path for held in whole.files})
    source, remote = replace(whole, include=(), ready=True, files=files), Remote(model)
    fetch(machine_with(machine, policy_of(keys, ENFORCE, "own")), source, remote)
    assert set(remote.asked) == {file.path for file in files}


def test_a_signature_comes_where_the_lock_does_not_name_it(machine: TestMachine, keys: Path) -> None:
    """Of the locked commit, first, and only where it is asked for."""
    model = machine.folder / "fleet" / "model"
    source, remote = locked(model, signed=False), Remote(model)
    wrong, right = policy_of(keys, ENFORCE, "stranger"), policy_of(keys)
    assert of_remote(machine, wrong, source) == []  # nothing is known yet
    with pytest.raises(TemporaryError, match="a key that is not trusted here"):
        fetch(machine_with(machine, wrong), source, remote)
    assert remote.asked == ["", "model.sig"]
    assert "not trusted here" in of_remote(machine, wrong, source)[0]
    opened = machine_with(machine, right)
    fetch(opened, source, remote)
    assert set(remote.asked[2:]) == {file.path for file in source.files}
    opened.sources.publish(source, opened.stamps)
    assert of_remote(machine, right, source) == []
    assert "not trusted here" in of_remote(machine, wrong, source)[0]
    with pytest.raises(TemporaryError, match="is not the file that was signed"):
        fetch(machine_with(machine, right), _other_lock(source, "model.safetensors"), remote)
    remote.asked.clear()
    unasked = machine_with(machine, policy_of(keys, "off", source="huggingface/acme/*"))
    fetch(unasked, replace(source, repo="acme/other"), remote)
    assert "" not in remote.asked


def test_a_repository_without_a_signature(machine: TestMachine, keys: Path) -> None:
    model = machine.folder / "fleet" / "model"
    (model / "model.sig").unlink()
    source, remote = locked(model, signed=False), Remote(model)
    for _ in range(2):  # the second try asks for nothing: the commit is pinned
        with pytest.raises(TemporaryError, match="acme/capitals@c0ffeec0ffee is not trusted: it is unsigned"):
            fetch(machine_with(machine, policy_of(keys)), source, remote)
        assert remote.asked == [""]
        assert "it is unsigned" in of_remote(machine, policy_of(keys), source)[0]
    assert of_remote(machine, policy_of(keys, "off", source="huggingface/acme/*"), source) == []
    opened = machine_with(machine, policy_of(keys, "warn"))
    fetch(opened, source, remote)
    opened.sources.publish(source, opened.stamps)
    assert "it is unsigned" in of_remote(machine, policy_of(keys), source)[0]


def test_what_git_lfs_keeps_has_the_rule_of_its_folder(machine: TestMachine, keys: Path) -> None:
    """It lies where the other folders of its repository are written out, and counts as they do."""
    model, tree = machine.folder / "fleet" / "model", "1" * 40
    source = replace(locked(model), kind=GIT, repo="https://git.example.org/fleet.git", revision=tree, include=())
    policy = policy_of(keys, source=f"{machine.root.as_posix()}/sources/*")
    fetch(machine_with(machine, policy), source, Remote(model))
    assert of_remote(machine, policy, source) == []
    elsewhere = policy_of(keys, "off", source="git/*")
    (message,) = of_remote(machine, elsewhere, source)
    assert "no rule of `trust` covers this source" in message
    (model / "model.sig").unlink()
    opened = machine_with(machine, policy)
    opened.sources.free(source.digest)
    with pytest.raises(TemporaryError, match="it is unsigned"):
        fetch(opened, locked_without_signature(source), Remote(model))


def locked_without_signature(source: LockedSource) -> LockedSource:
    return replace(source, files=tuple(one for one in source.files if one.path != "model.sig"))


CONFIG = """\
apiVersion: reconciler.foundry/v1alpha1
kind: MachineConfig
trust: [{{source: "*", mode: {mode}, keys: [{{file: "{key}"}}]}}]
"""


@pytest.fixture
def configured(machine: TestMachine, keys: Path) -> Iterator[Callable[..., Any]]:
    config = machine.folder / "machine.yaml"

    def run(*arguments: str, mode: str = "enforce", hub: str = "http://127.0.0.1:9") -> Any:
        config.write_text(CONFIG.format(mode=mode, key=keys / "signer.pub"))
        config.chmod(0o600)
        return machine.run(*arguments, RECONCILER_CONFIG=str(config), HF_ENDPOINT=hub)

    return run  # type: ignore[return-value]


INCLUDE = '["*.json", "*.jinja", "*.safetensors", model.sig]'
HUB_SOURCE = f"{{huggingface: {{repo: org/tiny, revision: {COMMIT}, include: {INCLUDE}}}}}"


def test_a_pass_fetches_the_signature_alone(machine: TestMachine, keys: Path, configured: Callable[..., Any]) -> None:
    """Through the process that talks to the hub; then a plan knows, and asks for nothing."""
    pytest.importorskip("huggingface_hub")
    model = machine.folder / "fleet" / "model"
    path = machine.declare()
    path.write_text(path.read_text().replace("{path: ../model}", HUB_SOURCE))
    sign(model, keys, statement(model))
    with HubServer().running() as hub:
        hub.give("org/tiny", model)
        assert machine.run("lock", HF_ENDPOINT=hub.url).code == 0
        hub.requests.clear()
        plan = configured("plan", "-o", "json", hub=hub.url)
        assert json.loads(plan.out)["changes"][0]["action"] == "fetch"
        done = configured("apply", hub=hub.url)
        assert done.code == 3
        assert "org/tiny@c0ffeec0ffee is not trusted: it is signed by a key that is not trusted here" in done.err
        assert [one.path.rpartition("/")[2] for one in hub.requests if one.method == "GET"] == ["model.sig"]
        assert not [one for one in hub.requests if one.path.endswith("/model.safetensors")]
        hub.requests.clear()
        plan = configured("plan", "-o", "json", hub=hub.url)
        [problem] = json.loads(plan.out)["problems"]
        assert (problem["code"], problem["field"]) == ("SourceUntrusted", "spec.source.huggingface")
        assert problem["line"] == 6
        assert hub.requests == []


def test_what_serves_goes_on_and_the_machine_says_so(machine: TestMachine, configured: Callable[..., Any]) -> None:
    serve(machine)
    assert configured("apply").code == 0
    (machine.folder / "fleet" / "model" / "extra.txt").write_text("x")
    done = configured("plan")
    assert "capitals.yaml:6: spec.source: model is not trusted: " in done.err
    assert configured("apply").code == 3
    assert len(machine.index()) == 1
    status = json.loads(configured("status", "-o", "json").out)
    [ready] = [one for one in status["variants"][0]["conditions"] if one["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "SourceUntrusted")
    [trusted] = [one for one in status["conditions"] if one["type"] == "SourcesTrusted"]
    assert (trusted["status"], trusted["reason"]) == ("False", "SourceUntrusted")
    assert configured("apply", mode="warn").code == 0
    status = json.loads(configured("status", "-o", "json").out)
    [trusted] = [one for one in status["conditions"] if one["type"] == "SourcesTrusted"]
    assert trusted["status"] == "False"
