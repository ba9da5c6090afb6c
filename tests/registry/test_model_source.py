"""Ready ONNX folders in registries: what `oras push` leaves there, what this program pushes, and what else is refused.
Over Debian's registry where it is installed, and one in this process."""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain import digest as digests
from reconciler.domain.errors import Cancelled, PermanentError, RegistryFailed
from reconciler.domain.machine.registries import RegistryAddress, RegistrySettings
from reconciler.domain.sources.locked import OCI, LockedFile, LockedSource
from reconciler.host.stamps import StampBook
from reconciler.registry.client import INDEX_TYPE, MANIFEST_TYPE
from reconciler.registry.download import Blob
from reconciler.registry.model_source import ORAS_FILE, TITLE, UNPACK, OciModels, address_of, files_in
from reconciler.registry.upload import BlobUpload
from reconciler.sources.download import Download
from reconciler.sources.folder.model import inspect_source
from reconciler.store.modelpack import FILE_PATH
from tests import canaries
from tests.git_server import certificate
from tests.ready_onnx import DATA, GENAI, write_ready
from tests.registry.places import client_of
from tests.registry_server import PASSWORD, USER, FakeRegistry, debian_registry

EMPTY = b"{}"


def push(origin: str, folder: Path, repository: str = "models/support", *, login: bool = False, **named: str) -> str:
    """As ORAS does, tagged v1. `named` are notes of the layers in place of the title."""
    client = client_of(origin, login=login, repository=repository)
    layers = []
    for path in sorted(folder.iterdir()):
        layers.append(layer_of(path, **(named or {TITLE: ""})))
        BlobUpload(client, Blob(digest=layers[-1]["digest"], size=layers[-1]["size"]), str(path)).run()
    config = folder.parent / "config"
    config.write_bytes(EMPTY)
    BlobUpload(client, Blob(digest=digests.of_bytes(EMPTY), size=len(EMPTY)), str(config)).run()
    digest = client.put_manifest(manifest_of(layers), "v1")
    client.session.close()
    return digest


def layer_of(path: Path, **notes: str) -> dict[str, Any]:
    data = path.read_bytes()
    return {
        "mediaType": ORAS_FILE if TITLE in notes else "application/vnd.cncf.model.weight.v1.raw",
        "digest": digests.of_bytes(data),
        "size": len(data),
        "annotations": {name: held or path.name for name, held in notes.items()},
    }


def manifest_of(layers: list[dict[str, Any]]) -> bytes:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digests.of_bytes(EMPTY), "size": len(EMPTY)}
    head = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": "application/vnd.unknown.artifact.v1"}
    return json.dumps({**head, "config": config, "layers": layers}).encode()


@pytest.fixture(scope="module", params=["fake", "docker-registry"])
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "fake":
        with FakeRegistry().running() as fake:
            yield fake.origin
    else:
        with debian_registry(tmp_path_factory.mktemp("registry")) as found:
            yield found


def source_at(origin: str, digest: str, files: tuple[LockedFile, ...] = ()) -> LockedSource:
    repo = f"{origin.partition('://')[2]}/models/support"
    return LockedSource(kind=OCI, repo=repo, revision=digest, ready=True, files=files)


def locked(origin: str, digest: str, remote: OciModels) -> LockedSource:
    found = (LockedFile(**one) for one in remote.tree(source_at(origin, digest)))
    return source_at(origin, digest, tuple(found))


@pytest.mark.parametrize("note", [TITLE, FILE_PATH])
def test_what_was_pushed_comes_back(origin: str, note: str, tmp_path: Path) -> None:
    ready = write_ready(tmp_path / "ready")
    digest = push(origin, ready, **{note: ""})
    come = tmp_path / "come"
    come.mkdir()
    with OciModels() as remote:
        assert remote.commit(source_at(origin, ""), "v1") == digest
        assert remote.commit(source_at(origin, digest)) == digest
        source = locked(origin, digest, remote)
        Download(remote, source, str(come), lambda fraction, text: None).run()
    before, after = (inspect_source(str(one), StampBook.empty(), ready=True) for one in (ready, come))
    assert (after.digest, after.problems) == (before.digest, ())
    assert sorted(os.listdir(come)) == sorted(os.listdir(ready))


def test_a_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    ready = write_ready(tmp_path / "ready")
    (ready / DATA).write_bytes(os.urandom(4096) * 64)
    with FakeRegistry().running() as fake, OciModels() as remote:
        source = locked(fake.origin, push(fake.origin, ready), remote)
        data = next(one for one in source.files if one.path == DATA)
        target = tmp_path / "part"
        target.write_bytes((ready / DATA).read_bytes()[:100_000])
        came: list[int] = []
        remote.download(source, data, str(target), came.append, piece=4096)
        assert target.read_bytes() == (ready / DATA).read_bytes()
        assert [one.range for one in fake.asked("GET", "blobs")] == ["bytes=100000-"]
        assert came[-1] == data.size
        assert max(after - before for before, after in pairwise(came)) <= 4096
        remote.cancel()
        target.unlink()
        with pytest.raises(Cancelled):
            remote.download(source, data, str(target), came.append)


def test_a_file_that_is_not_locked_is_what_the_manifest_names(tmp_path: Path) -> None:
    """Such as a model card: its licence decides what may be served."""
    ready, card = write_ready(tmp_path / "ready"), b"---\nlicense: mit\n---\n"
    (ready / "README.md").write_bytes(card)
    target, file = tmp_path / "came", LockedFile(path="README.md", size=len(card), sha256="")
    with FakeRegistry().running() as fake, OciModels() as remote:
        source = source_at(fake.origin, push(fake.origin, ready))
        remote.download(source, file, str(target), lambda count: None)
        assert target.read_bytes() == card
        target.unlink()
        fake.held("models/support").blobs[digests.of_bytes(card)] = card.replace(b"mit", b"gpl")
        with pytest.raises(RegistryFailed, match="other bytes came") as refused:
            remote.download(source, file, str(target), lambda count: None)
        assert refused.value.code == "DigestMismatch"
        assert not target.exists()


def login_file(folder: Path, origin: str) -> Path:
    """As `docker login` leaves it."""
    path = folder / "config.json"
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    canaries.given(path, json.dumps({"auths": {origin.partition("://")[2]: {"auth": auth}}}))
    return path


def test_a_password_goes_to_no_host_that_only_a_manifest_names(tmp_path: Path) -> None:
    line = tmp_path / "line"
    canaries.file(line, "registry", before=f"{USER}:")
    with FakeRegistry("basic").running() as stranger:
        source = source_at(stranger.origin, f"sha256:{'1' * 64}")
        with OciModels(auth_file=str(line)) as remote, pytest.raises(RegistryFailed, match="which host") as refused:
            remote.tree(source)
        assert refused.value.code == "RegistryCredentials"
        elsewhere = login_file(tmp_path, "http://registry.example.org")
        with OciModels(auth_file=str(elsewhere)) as remote, pytest.raises(Exception, match="401"):
            remote.tree(source)
        assert not any(one.authorization for one in stranger.requests)


def test_a_password_of_the_configuration_is_for_its_host(tmp_path: Path) -> None:
    ready, secret = write_ready(tmp_path / "ready"), tmp_path / "secret"
    canaries.file(secret, "registry", before=f"{USER}:")
    with FakeRegistry("basic").running() as fake:
        digest = push(fake.origin, ready, login=True)
        other = RegistryAddress(origin=fake.origin, repository="builds")
        own = RegistrySettings(address=other, credentials_file=str(secret))
        with OciModels((own,)) as remote:
            assert len(remote.tree(source_at(fake.origin, digest))) == len(os.listdir(ready))
        elsewhere = RegistrySettings(
            address=RegistryAddress(origin="https://example.org", repository="builds"), credentials_file=str(secret)
        )
        with OciModels((elsewhere,)) as remote, pytest.raises(Exception, match="401"):
            remote.tree(source_at(fake.origin, digest))
        with OciModels(auth_file=str(login_file(tmp_path, fake.origin))) as remote:
            assert remote.tree(source_at(fake.origin, digest))
        with OciModels((own,)) as remote, pytest.raises(PermanentError, match="there is no tag v2"):
            remote.commit(source_at(fake.origin, ""), "v2")


def test_an_entry_without_a_password_hides_no_other(tmp_path: Path) -> None:
    ready, secret = write_ready(tmp_path / "ready"), tmp_path / "secret"
    canaries.file(secret, "registry", before=f"{USER}:")
    with FakeRegistry("basic").running() as fake:
        digest = push(fake.origin, ready, login=True)
        public = RegistrySettings(address=RegistryAddress(origin=fake.origin, repository="public"))
        own = replace(public, credentials_file=str(secret))
        with OciModels((public, own)) as remote:
            assert remote.tree(source_at(fake.origin, digest))
        with OciModels((public,), str(login_file(tmp_path, fake.origin))) as remote:
            assert remote.tree(source_at(fake.origin, digest))
        with OciModels((public,), str(secret)) as remote, pytest.raises(RegistryFailed, match="which host"):
            remote.tree(source_at(fake.origin, digest))


def test_the_certificates_of_an_entry_count_with_the_file_of_passwords(tmp_path: Path) -> None:
    held, data = certificate(tmp_path), manifest_of([LAYER])
    digest = digests.of_bytes(data)
    with FakeRegistry("basic", certificate=held).running() as fake:
        fake.held("models/support").manifests[digest] = MANIFEST_TYPE, data
        known = RegistrySettings(address=RegistryAddress(origin=fake.origin, repository="builds"), ca_file=str(held))
        with OciModels((known,), str(login_file(tmp_path, fake.origin))) as remote:
            assert [one["path"] for one in remote.tree(source_at(fake.origin, digest))] == [GENAI]


LAYER: dict[str, Any] = {
    "mediaType": ORAS_FILE,
    "digest": f"sha256:{'1' * 64}",
    "size": 3,
    "annotations": {TITLE: GENAI},
}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>", "is no manifest of files"),
        (b"[]", "is no manifest of files"),
        (b'{"layers": 3}', "has no files"),
        (manifest_of([]), "has no files"),
        (json.dumps({"mediaType": INDEX_TYPE, "manifests": []}).encode(), "is a list of manifests"),
        (manifest_of([{**LAYER, "mediaType": "application/octet-stream", "annotations": {}}]), "names no file"),
        (manifest_of([{**LAYER, "annotations": {}}]), "a layer of it is packed"),
        (manifest_of([{**LAYER, "annotations": {FILE_PATH: GENAI}}]), "is packed"),
        (manifest_of([{**LAYER, "annotations": {TITLE: 3}}]), "names no file"),
        (manifest_of([{**LAYER, "annotations": {TITLE: "onnx", UNPACK: "true"}}]), "onnx of it is packed"),
        (manifest_of([{**LAYER, "mediaType": f"{ORAS_FILE}+gzip"}]), "is packed"),
        (manifest_of([{**LAYER, "mediaType": f"{ORAS_FILE}+zstd"}]), "is packed"),
        (manifest_of([{**LAYER, "mediaType": "application/vnd.kitops.modelkit.model.v1.tar+gzip"}]), "is packed"),
        (manifest_of([{**LAYER, "mediaType": "application/vnd.cncf.model.weight.v1.tar"}]), "is packed"),
        (manifest_of([{**LAYER, "size": -1}]), "has no size"),
        (manifest_of([{**LAYER, "size": True}]), "has no size"),
        (manifest_of([{**LAYER, "digest": "sha512:1"}]), "has no size or no sha256"),
    ],
)
def test_another_form_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(PermanentError, match=words) as refused:
        list(files_in(data, "it"))
    assert refused.value.code == "OciUnsupported"


@pytest.mark.parametrize("kind", ["application/vnd.oci.image.layer.v1.tar", "application/octet-stream"])
def test_a_file_of_oras_is_no_tar(kind: str) -> None:
    """Its name for a file that was given no type, in oras-go 1 and 2."""
    (found,) = files_in(manifest_of([{**LAYER, "mediaType": kind}]), "it")
    assert found == {"path": GENAI, "size": 3, "sha256": "1" * 64}


def test_only_files_of_the_folder_are_listed() -> None:
    names = (f"cpu/{GENAI}", "./cpu/model.onnx", "gpu/model.onnx", "README.md")
    data = manifest_of([{**LAYER, "annotations": {TITLE: name}} for name in names])
    assert [one["path"] for one in files_in(data, "it", "cpu")] == [GENAI, "model.onnx"]
    assert [one["path"] for one in files_in(data, "it")][-1] == "README.md"


def test_only_this_machine_is_asked_without_tls() -> None:
    assert str(address_of("127.0.0.1:5000/m").origin) == "http://127.0.0.1:5000"
    assert str(address_of("registry.example.org/m").origin) == "https://registry.example.org"
