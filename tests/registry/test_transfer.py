"""An artifact from one store to a registry and into another store: kills, mirrors, disks, and skopeo as a referee."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.domain.digest import of_bytes, of_value
from reconciler.domain.errors import DiskFull, PermanentError, RegistryFailed
from reconciler.domain.layout import Layout
from reconciler.domain.release import Artifact
from reconciler.host import durable
from reconciler.host.stamps import StampBook
from reconciler.registry.client import RegistryClient
from reconciler.registry.download import part_of
from reconciler.registry.transfer import ArtifactPull, Pulled, find, push
from reconciler.store.artifact_store import ArtifactStore
from reconciler.store.index import tag_of
from tests.registry.places import REPOSITORY, client_of
from tests.registry_server import (
    DebianRegistry,
    FakeRegistry,
    Fault,
    debian_registry,
    needs_debian_registry,
    pull_through_cache,
)

RECIPE: dict[str, object] = {"architecture": "LlamaForCausalLM", "precision": "int4", "source": "sha256:1"}
KEY = of_value(RECIPE)
WEIGHTS = os.urandom(50_000)
FILES = {"model.onnx": b"graph", "model.onnx.data": WEIGHTS, "deep/tokenizer.json": b"{}", "same.json": b"{}"}
SKOPEO = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed (apt-get install skopeo)")


class Store:
    def __init__(self, folder: Path) -> None:
        self.layout = Layout(str(folder))
        self.blobs = os.path.join(self.layout.oci, "blobs", "sha256")
        self.pulled = self.layout.at("sources", "registry")

    def opened(self) -> ArtifactStore:
        return ArtifactStore(self.layout, StampBook.empty())

    def put(self, files: dict[str, bytes], recipe: dict[str, object] = RECIPE) -> Artifact:
        tree = Path(self.layout.staging) / "tree"
        for name, data in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)
        return self.opened().put(of_value(recipe), str(tree), recipe)

    def take_in(self, pulled: Pulled) -> Artifact:
        return self.opened().take_in(pulled.manifest, self.pulled)


@pytest.fixture
def builder(tmp_path: Path) -> Store:
    return Store(tmp_path / "builder")


@pytest.fixture
def edge(tmp_path: Path) -> Store:
    return Store(tmp_path / "edge")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry().running() as one:
        yield one


@pytest.fixture
def client(fake: FakeRegistry) -> Iterator[RegistryClient]:
    yield (one := client_of(fake.origin))
    one.session.close()


def pull(edge: Store, artifact: str, *places: RegistryClient, **more: object) -> Pulled:
    return ArtifactPull(places, artifact, edge.pulled, **more).run()  # type: ignore[arg-type]


def holds_all(edge: Store, artifact: Artifact, files: dict[str, bytes] = FILES) -> None:
    """The other store has it, byte for byte, under the same digest."""
    store = edge.opened()
    assert store.artifacts() == {artifact.build_key: artifact}
    assert store.damage(artifact) == ()
    assert {file.path: Path(store.blob(file.digest)).read_bytes() for file in artifact.files} == files


@pytest.mark.parametrize("kind", ["fake", "docker-registry"])
def test_from_one_store_into_another(kind: str, builder: Store, edge: Store, tmp_path: Path) -> None:
    running = debian_registry(tmp_path / "registry") if kind == "docker-registry" else FakeRegistry().running()
    artifact = builder.put(FILES)
    with running as server:
        client = client_of(server if isinstance(server, str) else server.origin)
        assert find(client, KEY) is None
        went: list[tuple[int, int]] = []
        assert push(client, builder.blobs, artifact.digest, lambda *seen: went.append(seen)) == artifact.digest
        assert find(client, KEY) == artifact.digest
        came: list[tuple[int, int]] = []
        pulled = pull(edge, artifact.digest, client, build_key=KEY, on_progress=lambda *seen: came.append(seen))
        client.session.close()
    moved = len(b"graph") + len(WEIGHTS) + len(b"{}") + pulled_config(builder, artifact)
    assert went[-1] == came[-1] == (moved, moved)
    assert pulled.moved == moved
    inode = os.stat(os.path.join(edge.pulled, of_bytes(WEIGHTS)[7:])).st_ino
    assert edge.take_in(pulled) == artifact
    holds_all(edge, artifact)
    assert os.stat(edge.opened().blob(of_bytes(WEIGHTS))).st_ino == inode  # no second copy


def pulled_config(builder: Store, artifact: Artifact) -> int:
    names = {file.digest[7:] for file in artifact.files} | {artifact.digest[7:]}
    [config] = [entry for entry in os.scandir(builder.blobs) if entry.name not in names]
    return config.stat().st_size


def test_what_is_there_does_not_move_again(
    builder: Store, edge: Store, client: RegistryClient, fake: FakeRegistry
) -> None:
    artifact = builder.put(FILES)
    push(client, builder.blobs, artifact.digest)
    fake.requests.clear()
    assert push(client, builder.blobs, artifact.digest) == artifact.digest
    assert len(fake.requests) == 1
    edge.take_in(pull(edge, artifact.digest, client))
    changed = builder.put({**FILES, "model.onnx": b"another graph"}, other := {**RECIPE, "source": "sha256:2"})
    push(client, builder.blobs, changed.digest)
    fake.requests.clear()
    held = {file.digest for file in artifact.files}
    pulled = pull(edge, changed.digest, client, holds=held.__contains__)
    assert pulled.moved < 1000
    assert edge.take_in(pulled) == changed
    assert edge.opened().damage(changed) == ()
    assert set(edge.opened().artifacts()) == {KEY, of_value(other)}


def test_the_first_build_of_a_key_stays(builder: Store, edge: Store, client: RegistryClient) -> None:
    first = builder.put(FILES)
    second = edge.put({**FILES, "model.onnx": b"another result"})
    push(client, builder.blobs, first.digest)
    assert push(client, edge.blobs, second.digest) == first.digest
    assert find(client, KEY) == first.digest


def killed(act: Callable[[], object]) -> bool:
    """Whether a fork that does it was killed in it."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def crash_at(step: int) -> None:
    durable._crash_at, durable._steps = step, 0
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_pull_that_is_killed_at_any_step_goes_on(
    builder: Store, edge: Store, client: RegistryClient, fake: FakeRegistry
) -> None:
    artifact = builder.put(few := {"model.onnx": WEIGHTS})
    push(client, builder.blobs, artifact.digest)
    fake.requests.clear()

    def dying(step: int) -> None:
        crash_at(step)
        pull(edge, artifact.digest, client_of(fake.origin))

    for step in itertools.count(1):
        shutil.rmtree(edge.pulled, ignore_errors=True)
        was_killed = killed(lambda step=step: dying(step))  # type: ignore[misc]
        pull(edge, artifact.digest, client)
        moved = sum(one.sent for one in fake.requests if of_bytes(WEIGHTS) in one.path)
        assert moved == step * len(WEIGHTS)  # none of it came twice
        if not was_killed:
            break
    assert step > 8
    edge.take_in(pull(edge, artifact.digest, client))
    holds_all(edge, artifact, few)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_transfers_that_are_killed_between_bytes_go_on(
    builder: Store, edge: Store, client: RegistryClient, fake: FakeRegistry
) -> None:
    artifact = builder.put(FILES)

    def dying(after: int, transfer: Callable[..., object]) -> bool:
        def progress(done: int, total: int) -> None:
            if done >= after:
                os.kill(os.getpid(), 9)

        return killed(lambda: transfer(client_of(fake.origin), progress))

    def pushing(one: RegistryClient, progress: Callable[[int, int], None]) -> object:
        return push(one, builder.blobs, artifact.digest, progress)

    def pulling(one: RegistryClient, progress: Callable[[int, int], None]) -> object:
        return pull(edge, artifact.digest, one, on_progress=progress)

    assert [dying(after, pushing) for after in (1, 300, 20_000)] == [True] * 3
    assert find(client, KEY) is None
    assert push(client, builder.blobs, artifact.digest) == artifact.digest
    assert [dying(after, pulling) for after in (1, 300, 20_000)] == [True] * 3
    assert edge.opened().artifacts() == {}
    edge.take_in(pull(edge, artifact.digest, client))
    holds_all(edge, artifact)


def test_a_whole_blob_that_rotted_since_comes_again(builder: Store, edge: Store, client: RegistryClient) -> None:
    artifact = builder.put(FILES)
    push(client, builder.blobs, artifact.digest)
    pull(edge, artifact.digest, client)
    path = Path(edge.pulled) / of_bytes(WEIGHTS)[7:]
    path.chmod(0o600)
    path.write_bytes(b"?" * len(WEIGHTS))
    edge.take_in(pull(edge, artifact.digest, client))
    holds_all(edge, artifact)


def test_without_room_nothing_comes(builder: Store, edge: Store, client: RegistryClient, fake: FakeRegistry) -> None:
    artifact = builder.put(FILES)
    push(client, builder.blobs, artifact.digest)
    fake.requests.clear()
    with pytest.raises(DiskFull, match=r"49\.\d KiB are missing, and .* stay free, but"):
        pull(edge, artifact.digest, client, reserve=1 << 60)
    assert fake.asked("GET", "/blobs/") == []


def test_mirrors_are_asked_first_and_believed_by_digest_only(
    builder: Store, edge: Store, client: RegistryClient, fake: FakeRegistry
) -> None:
    """One is down, one gives other bytes, one has half of it: the registry gives the rest."""
    artifact = builder.put(FILES)
    push(client, builder.blobs, artifact.digest)
    fake.requests.clear()
    with FakeRegistry().running() as lying, FakeRegistry().running() as half:
        for mirror in (lying, half):
            mirror.repositories[REPOSITORY] = fake.held(REPOSITORY)

        def other(handler: object) -> bool:
            handler.other = b"?" * len(WEIGHTS)  # type: ignore[attr-defined]
            return False

        def missing(handler: object) -> bool:
            handler.refuse(404, "BLOB_UNKNOWN")  # type: ignore[attr-defined]
            return True

        weights = of_bytes(WEIGHTS)
        lying.faults.append(Fault(method="GET", path=weights, act=other, times=-1))
        half.faults.append(Fault(method="GET", path=weights, act=missing, times=-1))
        mirrors = [client_of(origin) for origin in ("http://127.0.0.1:1", lying.origin, half.origin)]
        pulled = pull(edge, artifact.digest, *mirrors, client)
        assert [one.path.rpartition("/")[2] for one in fake.asked("GET")] == [weights]
        for mirror in mirrors:
            mirror.session.close()
    down, wrong, lacks = pulled.complaints
    assert "127.0.0.1:1" in down
    assert "other bytes came" in wrong
    assert "BLOB_UNKNOWN" in lacks
    edge.take_in(pulled)
    holds_all(edge, artifact)


def test_a_pull_through_cache_that_others_wrote(builder: Store, edge: Store, tmp_path: Path) -> None:
    """It is asked first; goes on without its registry, and in the middle of a blob; and is believed by digest only."""
    artifact, registry = builder.put(FILES), DebianRegistry(tmp_path / "registry")
    needs_debian_registry()
    registry.start()
    try:
        with pull_through_cache(tmp_path / "mirror", registry.origin) as origin:
            client = client_of(registry.origin)
            push(client, builder.blobs, artifact.digest)
            mirror = client_of(origin, repository=f"site.example/{REPOSITORY}")
            assert pull(edge, artifact.digest, mirror, client).complaints == ()
            registry.kill()
            again = Store(tmp_path / "again")
            os.makedirs(again.pulled)
            part = Path(part_of(os.path.join(again.pulled, of_bytes(WEIGHTS)[7:])))
            part.write_bytes(WEIGHTS[:30_000])
            pulled = pull(again, artifact.digest, mirror, client)
            assert (pulled.complaints, pulled.moved < 30_000) == ((), True)
            again.take_in(pulled)
            holds_all(again, artifact)
            [cached] = [one for one in (tmp_path / "mirror" / "cache").rglob("*") if one.is_file() and is_weights(one)]
            cached.write_bytes(b"?" * len(WEIGHTS))
            registry.start()
            pulled = pull(Store(tmp_path / "third"), artifact.digest, mirror, client)
            assert "other bytes came" in pulled.complaints[0]
            for one in (client, mirror):
                one.session.close()
    finally:
        registry.kill()


def is_weights(path: Path) -> bool:
    return path.read_bytes() == WEIGHTS


def test_bytes_that_nobody_has_right_get_no_name(
    builder: Store, edge: Store, client: RegistryClient, fake: FakeRegistry
) -> None:
    artifact = builder.put(FILES)
    push(client, builder.blobs, artifact.digest)
    fake.held(REPOSITORY).blobs[of_bytes(WEIGHTS)] = b"?" * len(WEIGHTS)
    with pytest.raises(RegistryFailed) as refused:
        pull(edge, artifact.digest, client)
    assert refused.value.code == "DigestMismatch"
    path = os.path.join(edge.pulled, of_bytes(WEIGHTS)[7:])
    assert not os.path.exists(path)
    assert not os.path.exists(part_of(path))


def test_a_tag_that_leads_to_another_build_is_refused(builder: Store, edge: Store, client: RegistryClient) -> None:
    artifact = builder.put(FILES)
    push(client, builder.blobs, artifact.digest)
    other = of_value({**RECIPE, "precision": "int8"})
    client.put_manifest(client.manifest(artifact.digest), tag_of(other))
    assert find(client, other) == artifact.digest
    with pytest.raises(RegistryFailed, match=f"built by the key {KEY}, not {other}") as refused:
        pull(edge, artifact.digest, client, build_key=other)
    assert refused.value.code == "ArtifactRefused"


def test_an_image_is_no_artifact(edge: Store, client: RegistryClient, fake: FakeRegistry) -> None:
    digest = client.put_manifest(b'{"schemaVersion": 2, "config": {}, "layers": []}', tag_of(KEY))
    with pytest.raises(RegistryFailed, match="its mediaType is None") as refused:
        pull(edge, digest, client)
    assert (refused.value.code, refused.value.delay) == ("ArtifactRefused", 3600)


def test_only_artifacts_are_pushed(builder: Store, client: RegistryClient) -> None:
    other = b'{"schemaVersion": 2}'
    os.makedirs(builder.blobs)
    Path(builder.blobs, of_bytes(other)[7:]).write_bytes(other)
    with pytest.raises(PermanentError, match="its mediaType is None"):
        push(client, builder.blobs, of_bytes(other))


def skopeo(folder: Path, *arguments: str) -> None:
    policy = folder / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    command = ["skopeo", "--policy", str(policy), "copy", "--quiet", *arguments]
    subprocess.run(command, check=True, timeout=60, capture_output=True)


@SKOPEO
def test_skopeo_copies_what_we_push_and_we_pull_what_it_pushes(builder: Store, edge: Store, tmp_path: Path) -> None:
    artifact = builder.put(FILES)
    with debian_registry(tmp_path / "registry") as origin:
        host = origin.partition("://")[2]
        client, other = client_of(origin), client_of(origin, repository="models/copied")
        push(client, builder.blobs, artifact.digest)
        tag, copied = tag_of(KEY), f"oci:{tmp_path}/copied:it"
        skopeo(tmp_path, "--src-tls-verify=false", f"docker://{host}/{REPOSITORY}:{tag}", copied)
        skopeo(tmp_path, "--dest-tls-verify=false", copied, f"docker://{host}/models/copied:{tag}")
        assert find(other, KEY) == artifact.digest
        edge.take_in(pull(edge, artifact.digest, other, build_key=KEY))
        for one in (client, other):
            one.session.close()
    holds_all(edge, artifact)


def test_a_modelpack_tool_reads_what_we_push(builder: Store, tmp_path: Path) -> None:
    """A client that we did not write gets the files with their paths."""
    pytest.importorskip("modelpack_client", reason="needs the dev extra")
    artifact = builder.put(FILES)
    with debian_registry(tmp_path / "registry") as origin:
        client = client_of(origin)
        push(client, builder.blobs, artifact.digest)
        client.session.close()
        reference = f"{origin.partition('://')[2]}/{REPOSITORY}:{tag_of(KEY)}"
        command = [sys.executable, "-m", "modelpack_client", "--insecure", "pull", reference, str(tmp_path / "theirs")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    theirs = {str(path.relative_to(tmp_path / "theirs")): path for path in (tmp_path / "theirs").rglob("*")}
    assert {name: path.read_bytes() for name, path in theirs.items() if path.is_file()} == FILES
