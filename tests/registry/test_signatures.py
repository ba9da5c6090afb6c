"""Signed builds: what a registry that lies, and a key that is not trusted, cannot get past."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

from reconciler.domain import digest as digests
from reconciler.domain.errors import RegistryFailed
from reconciler.domain.machine.trust import TrustedKey
from reconciler.registry import bundle, provenance
from reconciler.registry.client import RegistryClient
from reconciler.registry.notes import note
from reconciler.registry.signatures import (
    MOST,
    PREDICATE_TYPE,
    KeyRing,
    Unproven,
    find_signature,
    is_signed_by,
    push_signature,
)
from reconciler.registry.signing_keys import KeyUnusable, SigningKey, VerificationKey, read_id
from tests.engine.test_registries import KEY, NUMBERS, RECIPE
from tests.registry.keys import key_pair, written
from tests.registry.places import REPOSITORY, client_of
from tests.registry_server import FakeRegistry, Fault, _Handler, debian_registry

MANIFEST = b'{"schemaVersion":2}'
ARTIFACT = digests.of_bytes(MANIFEST)
FROM_SIGSTORE_JS = Path(__file__).parent / "from_sigstore_js"
OTHER = "sha256:" + "0" * 64
NOW = "2026-11-29T00:00:00Z"
BUILD = provenance.Build(
    artifact=ARTIFACT,
    repository="registry.example.com/models",
    build_key=KEY,
    recipe=RECIPE,
    manifests=provenance.Manifests(revision="main@sha1:" + "a" * 40, repository="https://git.example.com/fleet.git"),
    builder="https://ci.example.com/builders/1",
    version="0.1.0",
    started=NOW,
    finished=NOW,
    fidelity=NUMBERS,
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("builder", "next", "stranger"):
        key_pair(folder, name)
    return folder


@pytest.fixture
def signer(keys: Path) -> SigningKey:
    return SigningKey(str(keys / "builder.key"))


def ring(keys: Path, *names: str, until: str = "") -> KeyRing:
    return KeyRing([TrustedKey(file=str(keys / f"{name}.pub"), until=until) for name in names], NOW)


def resigned(payload: bytes, key: SigningKey, **changes: Any) -> bytes:
    """A bundle with other parts than `bundle.sign` gives it."""
    document = json.loads(bundle.sign(payload, key))
    for path, value in changes.items():
        *above, last = path.split("__")
        inner = document
        for name in above:
            inner = inner[name]
        inner[last] = value
    return json.dumps(document).encode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def stated(**changes: Any) -> bytes:
    return provenance.written(replace(BUILD, **changes))


def edited(edit: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(stated())
    edit(document)
    return json.dumps(document).encode()


def test_what_a_trusted_builder_signed_counts(keys: Path, signer: SigningKey) -> None:
    data = bundle.sign(stated(), signer)
    found = ring(keys, "next", "builder").verified(data, ARTIFACT, KEY)
    assert found.key_id == signer.id == read_id(str(keys / "builder.pub"))
    assert found.fidelity == NUMBERS
    assert ring(keys, "builder").verified(bundle.sign(stated(fidelity=None), signer), ARTIFACT, KEY).fidelity is None


@dataclass(frozen=True)
class Lie:
    """A bundle that does not count, and what is said of it."""

    make: Callable[[SigningKey], bytes]
    said: str


def other_payload_type(key: SigningKey) -> bytes:
    """Signed as what it says it is: the signature itself is right."""
    kind = "application/json"
    signature = key.sign(b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(stated()), stated()))
    parts = {"dsseEnvelope__payloadType": kind, "dsseEnvelope__signatures": [{"sig": b64(signature)}]}
    return resigned(stated(), key, **parts)


LIES = {
    "other bytes": Lie(
        lambda key: resigned(stated(), key, dsseEnvelope__payload=b64(stated(version="9"))), "over these"
    ),
    "other numbers": Lie(
        lambda key: resigned(stated(), key, dsseEnvelope__payload=b64(stated(fidelity=replace(NUMBERS, mean_kl=0.0)))),
        "is not over these bytes",
    ),
    "another artifact": Lie(lambda key: bundle.sign(stated(artifact=OTHER), key), "another artifact"),
    "no subject": Lie(lambda key: bundle.sign(edited(lambda one: one.update(subject=[])), key), "another artifact"),
    "another build key": Lie(lambda key: bundle.sign(stated(build_key=OTHER), key), "another build key"),
    "another recipe": Lie(lambda key: bundle.sign(stated(recipe={**RECIPE, "source": OTHER}), key), "recipe"),
    "another predicate": Lie(
        lambda key: bundle.sign(edited(lambda one: one.update(predicateType="https://spdx.dev/Document")), key),
        "predicate is of type",
    ),
    "another build type": Lie(
        lambda key: bundle.sign(
            edited(lambda one: one["predicate"]["buildDefinition"].update(buildType="https://example.com/x")), key
        ),
        "its build is of type",
    ),
    "no statement": Lie(lambda key: bundle.sign(b"{}", key), "form of a provenance"),
    "an older statement": Lie(
        lambda key: bundle.sign(edited(lambda one: one.update(_type="https://in-toto.io/Statement/v0.1")), key),
        "no in-toto statement",
    ),
    "a payload of another type": Lie(other_payload_type, "payload is of type application/json"),
    "a payload type that was not signed": Lie(
        lambda key: resigned(stated(), key, dsseEnvelope__payloadType="application/vnd.in-toto+jsonx"), "payload is of"
    ),
    "no signature": Lie(lambda key: resigned(stated(), key, dsseEnvelope__signatures=[]), "0 signatures"),
    "an empty signature": Lie(
        lambda key: resigned(stated(), key, dsseEnvelope__signatures=[{"sig": ""}]), "is not over these bytes"
    ),
    "two signatures": Lie(
        lambda key: resigned(stated(), key, dsseEnvelope__signatures=[{"sig": ""}, {"sig": ""}]), "2 signatures"
    ),
    "another bundle version": Lie(
        lambda key: resigned(stated(), key, mediaType="application/vnd.dev.sigstore.bundle.v0.4+json"), "it is of type"
    ),
    "a signature of a message": Lie(lambda key: b'{"mediaType": "x", "messageSignature": {}}', "form of a sigstore"),
    "no base64": Lie(lambda key: resigned(stated(), key, dsseEnvelope__payload="%%%"), "no base64"),
    "no JSON": Lie(lambda key: b"\xff\x00", "form of a sigstore"),
    "a list": Lie(lambda key: b"[]", "form of a sigstore"),
    "thousands of levels": Lie(lambda key: b"[" * 50_000, "form of a sigstore"),
    "a key given twice": Lie(lambda key: b'{"mediaType": "a", "mediaType": "b"}', "form of a sigstore"),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_what_is_not_said_by_a_builder_of_this_artifact(lie: Lie, keys: Path, signer: SigningKey) -> None:
    with pytest.raises(Unproven, match=lie.said):
        ring(keys, "builder", "next").verified(lie.make(signer), ARTIFACT, KEY)


def test_a_key_that_is_not_trusted(keys: Path, signer: SigningKey) -> None:
    data = bundle.sign(stated(), SigningKey(str(keys / "stranger.key")))
    with pytest.raises(Unproven, match=read_id(str(keys / "stranger.pub"))):
        ring(keys, "builder").verified(data, ARTIFACT, KEY)
    hint = json.loads(bundle.sign(stated(), signer))["verificationMaterial"]  # as if it were the builder's
    forged = resigned(stated(), SigningKey(str(keys / "stranger.key")), verificationMaterial=hint)
    with pytest.raises(Unproven, match=r"builder\.pub is not over these bytes"):
        ring(keys, "builder").verified(forged, ARTIFACT, KEY)
    certified = resigned(stated(), SigningKey(str(keys / "stranger.key")), verificationMaterial={"certificate": {}})
    with pytest.raises(Unproven, match="a certificate"):
        ring(keys, "builder").verified(certified, ARTIFACT, KEY)


def test_a_hint_decides_nothing(keys: Path, signer: SigningKey) -> None:
    data = resigned(stated(), signer, verificationMaterial={"publicKey": {"hint": "builders"}})
    assert ring(keys, "builder").verified(data, ARTIFACT, KEY).key_id == signer.id


def test_a_key_counts_until_its_last_day(keys: Path, signer: SigningKey) -> None:
    data = bundle.sign(stated(), signer)
    assert ring(keys, "builder", until="2026-11-29").verified(data, ARTIFACT, KEY)
    with pytest.raises(Unproven, match=r"builder\.pub, which counted until 2026-11-28"):
        ring(keys, "builder", until="2026-11-28").verified(data, ARTIFACT, KEY)


def test_keys_that_cannot_be_used(keys: Path, tmp_path: Path) -> None:
    path, public = key_pair(tmp_path, "locked", passphrase="open sesame")
    secret = tmp_path / "passphrase"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    wrong = {"RECONCILER_SIGNING_PASSPHRASE": "another"}
    assert (
        SigningKey(path, str(secret), {}).id == SigningKey(path, environment={**wrong, **right()}).id == read_id(public)
    )
    assert SigningKey(str(keys / "builder.key"), environment=wrong)  # it wants none
    larger, _ = key_pair(tmp_path, "larger", curve=ec.SECP384R1())
    cosign = tmp_path / "cosign.key"
    cosign.write_text(
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    )
    for make, said in (
        (lambda: SigningKey(path, environment={}), "wants a passphrase"),
        (lambda: SigningKey(path, environment=wrong), "another passphrase opens it"),
        (lambda: SigningKey(larger), "P-256"),
        (lambda: SigningKey(str(cosign)), "cosign made for itself"),
        (lambda: SigningKey(public), "holds no private key"),
        (lambda: SigningKey(str(tmp_path / "none")), "none: No such file"),
        (lambda: VerificationKey(written(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))[1]), "P-256"),
        (lambda: VerificationKey(path), "holds no public key"),
        (lambda: read_id(str(tmp_path)), "not a regular file"),
    ):
        with pytest.raises(KeyUnusable, match=said) as refused:
            make()
        assert "another" not in str(refused.value).replace("another passphrase", "")
    Path(public).chmod(0o666)  # anybody could make it their own
    with pytest.raises(KeyUnusable, match="can be written by everybody"):
        VerificationKey(public)


@pytest.mark.parametrize(
    ("key", "how"),
    [
        (ec.generate_private_key(ec.SECP384R1()), (ec.ECDSA(SHA384()),)),
        (ec.generate_private_key(ec.SECP384R1()), (ec.ECDSA(SHA256()),)),
        (ec.generate_private_key(ec.SECP521R1()), (ec.ECDSA(SHA512()),)),
        (Ed25519PrivateKey.generate(), ()),
    ],
    ids=["P-384", "P-384 by SHA-256", "P-521", "Ed25519"],
)
def test_keys_that_others_sign_with(tmp_path: Path, key: Any, how: tuple[Any, ...]) -> None:
    _, public = written(tmp_path, "other", key)
    found, signature = VerificationKey(public), key.sign(b"data", *how)
    assert found.verifies(signature, b"data")
    assert not found.verifies(signature, b"other")
    assert not found.verifies(signature[:-1], b"data")


def right() -> dict[str, str]:
    return {"RECONCILER_SIGNING_PASSPHRASE": "open sesame"}


def test_a_bundle_that_sigstore_js_made(tmp_path: Path) -> None:
    """By DSSEBundleBuilder of @sigstore/sign 4.1, whose @sigstore/verify 3.1 verifies ours."""
    public = tmp_path / "builder.pub"
    public.write_bytes((FROM_SIGSTORE_JS / "builder.pub").read_bytes())
    public.chmod(0o644)
    data = (FROM_SIGSTORE_JS / "bundle.json").read_bytes()
    found = KeyRing([TrustedKey(file=str(public))], NOW).verified(data, ARTIFACT, KEY)
    assert found.fidelity == NUMBERS


# In a registry


@pytest.fixture(params=["tag", "api", "docker-registry"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RegistryClient]:
    running = (
        debian_registry(tmp_path / "registry")
        if request.param == "docker-registry"
        else FakeRegistry(has_referrers=request.param == "api").running()
    )
    with running as server:
        yield (found := client_of(server if isinstance(server, str) else server.origin))
        found.session.close()


def test_a_signature_is_found_among_others(
    client: RegistryClient, keys: Path, signer: SigningKey, tmp_path: Path
) -> None:
    with pytest.raises(Unproven, match=r"it is unsigned; keys: .*builder\.pub"):
        find_signature(client, ARTIFACT, KEY, ring(keys, "builder"))
    stranger = SigningKey(str(keys / "stranger.key"))
    for number, data in enumerate((bundle.sign(stated(), stranger), b"{}", bundle.sign(stated(), signer))):
        push_signature(client, MANIFEST, data, f"2026-11-29T00:00:0{number}Z", str(tmp_path))
    assert find_signature(client, ARTIFACT, KEY, ring(keys, "builder")).fidelity == NUMBERS
    assert find_signature(client, ARTIFACT, KEY, ring(keys, "next", "stranger")).key_id == stranger.id
    with pytest.raises(Unproven, match=r"not trusted here.*; a signature does not count.*; keys"):
        find_signature(client, ARTIFACT, KEY, ring(keys, "next"))
    [listed, *_] = client.referrers(ARTIFACT, bundle.MEDIA_TYPE)
    manifest = json.loads(client.manifest(listed["digest"]))
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert [one["mediaType"] for one in manifest["layers"]] == [bundle.MEDIA_TYPE]
    assert manifest["annotations"]["dev.sigstore.bundle.predicateType"] == provenance.PREDICATE
    assert manifest["subject"]["digest"] == ARTIFACT


def test_bundles_about_something_else_are_not_read(keys: Path, signer: SigningKey, tmp_path: Path) -> None:
    with FakeRegistry().running() as fake:
        client = client_of(fake.origin)
        for number in range(MOST + 1):
            said = {PREDICATE_TYPE: "https://cyclonedx.org/bom", "number": str(number)}
            client.attach(note(client, bundle.MEDIA_TYPE, said, str(tmp_path), MANIFEST, b"{}"))
        push_signature(client, MANIFEST, bundle.sign(stated(), signer), NOW, str(tmp_path))
        fake.requests.clear()
        assert find_signature(client, ARTIFACT, KEY, ring(keys, "builder"))
        assert is_signed_by(client, ARTIFACT, KEY, signer)
        assert not is_signed_by(client, ARTIFACT, KEY, SigningKey(str(keys / "stranger.key")))
        assert len(fake.requests) == 12  # for each: two lists, a manifest and a layer
        client.session.close()


def test_a_bundle_that_only_names_a_key_keeps_no_builder_from_signing(
    keys: Path, signer: SigningKey, tmp_path: Path
) -> None:
    """Anybody who may push could attach it."""
    with FakeRegistry().running() as fake:
        client = client_of(fake.origin)
        forged = json.loads(bundle.sign(stated(), SigningKey(str(keys / "stranger.key"))))
        forged["verificationMaterial"] = json.loads(bundle.sign(stated(), signer))["verificationMaterial"]
        for data in (json.dumps(forged).encode(), bundle.sign(stated(artifact=OTHER), signer)):
            push_signature(client, MANIFEST, data, NOW, str(tmp_path))
        assert not is_signed_by(client, ARTIFACT, KEY, signer)
        client.session.close()


def served(handler: _Handler, data: bytes) -> bool:
    handler.other = data
    return False


def test_a_registry_that_lies_about_a_signature(keys: Path, signer: SigningKey, tmp_path: Path) -> None:
    with FakeRegistry().running() as fake:
        client = client_of(fake.origin)
        trusted = ring(keys, "builder")
        push_signature(client, MANIFEST, bundle.sign(stated(), signer), NOW, str(tmp_path))
        [listed] = client.referrers(ARTIFACT)
        lies = {
            "/blobs/": (bundle.sign(stated(), signer), "DigestMismatch|other bytes"),
            f"/manifests/{listed['digest']}": (b"{}", "other bytes"),
        }
        for path, (data, said) in lies.items():
            fake.faults[:] = [Fault(method="GET", path=path, act=lambda one, data=data: served(one, data))]
            with pytest.raises(Unproven, match=said):
                find_signature(client, ARTIFACT, KEY, trusted)
        fake.faults.clear()
        document = json.loads(client.manifest(listed["digest"]))
        for change, said in (
            ({"layers": []}, "form of a manifest"),
            ({"layers": document["layers"] * 2}, "form of a manifest"),
            ({"layers": [{**document["layers"][0], "size": bundle.LIMIT + 1}]}, f"{bundle.LIMIT + 1} bytes"),
            ({"layers": [{**document["layers"][0], "mediaType": "text/plain"}]}, "text/plain"),
            ({"subject": {**document["subject"], "digest": OTHER}}, "another artifact"),
        ):
            held = fake.held(REPOSITORY)
            held.tags.clear()
            data = json.dumps({**document, **change}).encode()
            digest = client.put_manifest(data)
            entry = {"digest": digest, "artifactType": bundle.MEDIA_TYPE, "annotations": "none"}
            index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
            client.put_manifest(index, ARTIFACT.replace(":", "-"), "application/vnd.oci.image.index.v1+json")
            with pytest.raises(Unproven, match=said):
                find_signature(client, ARTIFACT, KEY, trusted)
        fake.faults[:] = [Fault(method="GET", path="/manifests/", act=lambda one: one.answer(403) or True, times=9)]
        with pytest.raises(RegistryFailed):  # it is not known whether there is one
            find_signature(client, ARTIFACT, KEY, trusted)
        client.session.close()
