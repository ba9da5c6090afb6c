"""What every registry has to do for us: Debian's, and the one in this process that the other tests let lie."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.domain import digest as digests
from reconciler.domain.errors import TemporaryError
from reconciler.registry.client import INDEX_TYPE, MANIFEST_TYPE, RegistryClient
from reconciler.registry.download import Blob, BlobDownload, part_of
from reconciler.registry.upload import BlobUpload
from tests.git_server import certificate
from tests.registry.places import client_of
from tests.registry_server import FakeRegistry, debian_registry

KINDS = ("fake", "fake with referrers", "docker-registry")


@pytest.fixture(scope="module", params=KINDS)
def origin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "docker-registry":
        with debian_registry(tmp_path_factory.mktemp("registry")) as found:
            yield found
    else:
        with FakeRegistry(has_referrers="referrers" in request.param).running() as fake:
            yield fake.origin


@pytest.fixture
def client(origin: str, request: pytest.FixtureRequest) -> Iterator[RegistryClient]:
    """A repository of its own for each test."""
    name = "".join(letter for letter in request.node.name.lower() if letter.isalnum())
    yield (found := client_of(origin, repository=f"models/{name}"))
    found.session.close()


def file_of(folder: Path, size: int) -> tuple[Path, Blob]:
    data = os.urandom(size)
    path = folder / f"file-{size}"
    path.write_bytes(data)
    return path, Blob(digest=digests.of_bytes(data), size=size)


def manifest_of(client: RegistryClient, folder: Path, subject: str = "") -> bytes:
    """Of one layer, which is there."""
    path, blob = file_of(folder, 100)
    BlobUpload(client, blob, str(path)).run()
    layer = {"mediaType": "application/octet-stream", "digest": blob.digest, "size": blob.size}
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "artifactType": "application/vnd.test"}
    document |= {"config": layer, "layers": [layer]}
    if subject:
        document["subject"] = {"mediaType": MANIFEST_TYPE, "digest": subject, "size": 1}
    return json.dumps(document, indent=3).encode()  # as we would not write it


@pytest.mark.parametrize("size", [0, 1, 4096, 100_000])
def test_a_blob_comes_back_as_it_went(client: RegistryClient, tmp_path: Path, size: int) -> None:
    path, blob = file_of(tmp_path, size)
    assert not client.has_blob(blob.digest)
    went: list[int] = []
    BlobUpload(client, blob, str(path), went.append).run()
    assert client.has_blob(blob.digest)
    assert went[-1] == size
    came: list[int] = []
    BlobDownload(client, blob, str(tmp_path / "back"), came.append).run()
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    assert not os.path.exists(part_of(str(tmp_path / "back")))
    assert came[-1:] == ([size] if size else [])


def test_a_blob_goes_in_pieces_and_not_twice(client: RegistryClient, tmp_path: Path) -> None:
    path, blob = file_of(tmp_path, 10_000)
    BlobUpload(client, blob, str(path), piece=3000).run()
    assert client.has_blob(blob.digest)
    path.unlink()
    BlobUpload(client, blob, str(path)).run()  # is not opened


def test_a_part_goes_on(client: RegistryClient, tmp_path: Path) -> None:
    path, blob = file_of(tmp_path, 50_000)
    BlobUpload(client, blob, str(path)).run()
    back = tmp_path / "back"
    Path(part_of(str(back))).write_bytes(path.read_bytes()[:20_000])
    came: list[int] = []
    BlobDownload(client, blob, str(back), came.append).run()
    assert back.read_bytes() == path.read_bytes()
    assert min(came) > 20_000


def test_other_bytes_are_not_taken_by_the_registry(client: RegistryClient, tmp_path: Path) -> None:
    path, blob = file_of(tmp_path, 3000)
    path.write_bytes(b"x" * 3000)
    with pytest.raises(TemporaryError, match="DIGEST_INVALID"):
        BlobUpload(client, blob, str(path)).run()
    assert not client.has_blob(blob.digest)


def test_a_manifest_comes_back_byte_for_byte_by_tag_and_digest(client: RegistryClient, tmp_path: Path) -> None:
    data = manifest_of(client, tmp_path)
    assert client.resolve("v1") is None
    digest = client.put_manifest(data, "v1")
    assert client.resolve("v1") == digest == digests.of_bytes(data)
    assert client.manifest(digest) == data


def test_what_is_not_there_is_named(client: RegistryClient, tmp_path: Path) -> None:
    digest = digests.of_bytes(b"nothing")
    with pytest.raises(TemporaryError, match=digest) as missing:
        client.manifest(digest)
    assert (missing.value.code, str(client.session.address) in str(missing.value)) == ("RegistryLacks", True)
    with pytest.raises(TemporaryError, match="404") as missing:
        BlobDownload(client, Blob(digest=digest, size=7), str(tmp_path / "file")).run()
    assert missing.value.code == "RegistryLacks"


def test_a_manifest_without_its_layers_is_refused(client: RegistryClient) -> None:
    layer = {"mediaType": "a/b", "digest": digests.of_bytes(b"not there"), "size": 9}
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": layer, "layers": [layer]}
    with pytest.raises(TemporaryError, match="MANIFEST_BLOB_UNKNOWN") as refused:
        client.put_manifest(json.dumps(document).encode(), "v1")
    assert refused.value.code == "RegistryRefused"


def test_referrers_are_found_with_and_without_the_api(client: RegistryClient, tmp_path: Path) -> None:
    subject = client.put_manifest(manifest_of(client, tmp_path), "v1")
    assert client.referrers(subject) == []
    attached = [client.attach(manifest_of(client, tmp_path, subject)) for _ in range(2)]
    client.attach(client.manifest(attached[0]))  # once more: it is listed once
    assert sorted(one["digest"] for one in client.referrers(subject)) == sorted(attached)
    assert len(client.referrers(subject, "application/vnd.test")) == 2
    assert client.referrers(subject, "application/vnd.other") == []


def test_an_index_is_kept_as_it_is(client: RegistryClient, tmp_path: Path) -> None:
    data = manifest_of(client, tmp_path)
    digest = client.put_manifest(data)
    entry = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": len(data)}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}).encode()
    assert client.manifest(client.put_manifest(index, "all", INDEX_TYPE)) == index


@pytest.mark.parametrize("kind", ["fake", "docker-registry"])
def test_tls_with_a_private_authority_and_a_password(kind: str, tmp_path: Path) -> None:
    held = certificate(tmp_path)
    running = (
        debian_registry(tmp_path / "registry", certificate=held, login=True)
        if kind == "docker-registry"
        else FakeRegistry("basic", certificate=held).running()
    )
    with running as server:
        origin = server if isinstance(server, str) else server.origin
        path, blob = file_of(tmp_path, 300_000)
        ours = client_of(origin, login=True, ca_file=held)
        BlobUpload(ours, blob, str(path)).run()
        BlobDownload(ours, blob, str(tmp_path / "back")).run()
        assert (tmp_path / "back").read_bytes() == path.read_bytes()
        for other, code in (
            (client_of(origin, ca_file=held), "RegistryDenied"),
            (client_of(origin, login=True), "RegistryUnreachable"),
        ):
            with pytest.raises(TemporaryError) as refused:
                other.has_blob(blob.digest)
            assert refused.value.code == code
            other.session.close()
        ours.session.close()


def test_of_writers_at_once_none_is_lost(client: RegistryClient, origin: str, tmp_path: Path) -> None:
    """Each attaches to the same manifest. Where the list is a tag, it has no lock."""
    subject = client.put_manifest(manifest_of(client, tmp_path), "v1")
    manifests = [manifest_of(client, tmp_path, subject) for _ in range(6)]
    clients = [
        client_of(origin, repository=client.session.address.repository, sleep=lambda seconds: time.sleep(seconds / 5))
        for _ in manifests
    ]
    with ThreadPoolExecutor(len(manifests)) as pool:
        attached = list(pool.map(lambda pair: pair[0].attach(pair[1]), zip(clients, manifests, strict=True)))
    assert sorted(one["digest"] for one in client.referrers(subject)) == sorted(attached)
    for one in clients:
        one.session.close()
