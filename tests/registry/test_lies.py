"""A registry that fails or lies: nothing wrong gets a name, what can go on goes on, and a password stays at home."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from reconciler.domain import digest as digests
from reconciler.domain.errors import Cancelled, TemporaryError
from reconciler.registry.client import RegistryClient
from reconciler.registry.download import MOST_RESTARTS, Blob, BlobDownload, part_of
from reconciler.registry.upload import BlobUpload
from tests.registry.places import REPOSITORY, Pauses, client_of
from tests.registry_server import FakeRegistry, Fault, basic, sha
from tests.waiting import until

DATA = os.urandom(60_000)
BLOB = Blob(digest=sha(DATA), size=len(DATA))


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry().running() as one:
        one.held(REPOSITORY).blobs[BLOB.digest] = DATA
        yield one


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def client(fake: FakeRegistry, pauses: Pauses) -> Iterator[RegistryClient]:
    yield (one := client_of(fake.origin, pauses=pauses))
    one.session.close()


def having(**changes: object) -> Callable[[object], bool]:
    def act(handler: object) -> bool:
        for name, value in changes.items():
            setattr(handler, name, value)
        return False

    return act


def status(code: int, **headers: str) -> Callable[..., bool]:
    def act(handler: object) -> bool:
        handler.answer(code, {name.replace("_", "-"): value for name, value in headers.items()})  # type: ignore[attr-defined]
        return True

    return act


def fail(
    fake: FakeRegistry, act: Callable[..., bool], times: int = 1, method: str = "GET", path: str = "/blobs/"
) -> None:
    fake.faults.append(Fault(method=method, path=path, act=act, times=times))


def download(client: RegistryClient, folder: Path, **more: float) -> bytes:
    target = folder / "blob"
    BlobDownload(client, BLOB, str(target), **more).run()
    return target.read_bytes()


def test_a_small_blob_with_other_bytes(fake: FakeRegistry, client: RegistryClient) -> None:
    assert client.small_blob(BLOB.digest, BLOB.size) == DATA
    for other in (DATA[:-1], DATA[:-1] + b"!"):
        fake.held(REPOSITORY).blobs[BLOB.digest] = other
        with pytest.raises(TemporaryError) as error:
            client.small_blob(BLOB.digest, BLOB.size)
        assert error.value.code == "DigestMismatch"


def is_refused(client: RegistryClient, folder: Path, code: str, **more: float) -> TemporaryError:
    """Nothing has the name, and the error names the place and the digest."""
    with pytest.raises(TemporaryError) as refused:
        download(client, folder, **more)
    assert refused.value.code == code
    assert f"{client.session.address}: " in str(refused.value)
    assert BLOB.digest in str(refused.value)
    assert not (folder / "blob").exists()
    return refused.value


def test_a_cut_goes_on_where_it_stopped(client: RegistryClient, fake: FakeRegistry, tmp_path: Path) -> None:
    for cut in (10_000, 20_000, 1):
        fail(fake, having(cut_after=cut))
    assert download(client, tmp_path) == DATA
    assert [one.range for one in fake.asked("GET")] == ["", "bytes=10000-", "bytes=30000-", "bytes=30001-"]
    until(lambda: sum(one.sent for one in fake.requests) == len(DATA))  # it counts after it has sent


def test_a_registry_without_ranges_begins_again(client: RegistryClient, fake: FakeRegistry, tmp_path: Path) -> None:
    fail(fake, having(cut_after=10_000))

    def whole(handler: object) -> bool:
        handler.answer(200, body=DATA)  # type: ignore[attr-defined]
        return True

    fail(fake, whole)
    assert download(client, tmp_path) == DATA


def test_it_ends_when_nothing_more_comes(
    client: RegistryClient, fake: FakeRegistry, pauses: Pauses, tmp_path: Path
) -> None:
    fail(fake, having(cut_after=10_000))
    fail(fake, having(cut_after=0), times=-1)
    is_refused(client, tmp_path, "RegistryUnreachable")
    assert Path(part_of(str(tmp_path / "blob"))).read_bytes() == DATA[:10_000]
    assert len(pauses) == 4
    assert all(0 < pause <= 15 for pause in pauses)
    fake.faults.clear()
    assert download(client, tmp_path) == DATA


def test_other_bytes_are_deleted_and_named(client: RegistryClient, fake: FakeRegistry, tmp_path: Path) -> None:
    fail(fake, having(other=DATA[:-1] + b"?"), times=-1)
    error = is_refused(client, tmp_path, "DigestMismatch")
    assert error.delay == 3600
    assert os.listdir(tmp_path) == []
    assert len(fake.asked("GET")) == 1


def test_a_part_of_other_bytes_is_given_up(client: RegistryClient, tmp_path: Path) -> None:
    Path(part_of(str(tmp_path / "blob"))).write_bytes(b"?" * 30_000)
    assert download(client, tmp_path) == DATA


@pytest.mark.parametrize("held", [b"", b"?" * 60_001, DATA], ids=["empty", "too long", "whole"])
def test_any_part_is_a_beginning(client: RegistryClient, fake: FakeRegistry, tmp_path: Path, held: bytes) -> None:
    Path(part_of(str(tmp_path / "blob"))).write_bytes(held)
    assert download(client, tmp_path) == DATA
    assert len(fake.requests) == (0 if held == DATA else 1)


@pytest.mark.parametrize(
    "lie",
    [having(other=DATA[:-5]), having(other=DATA + b"more"), having(other=b"")],
    ids=["truncated", "longer", "nothing"],
)
def test_another_size_is_refused_before_it_comes(
    client: RegistryClient, fake: FakeRegistry, tmp_path: Path, lie: Callable[..., bool]
) -> None:
    fail(fake, lie, times=-1)
    assert "60000 were expected" in str(is_refused(client, tmp_path, "DigestMismatch"))


def test_more_than_was_announced_is_not_written(client: RegistryClient, fake: FakeRegistry, tmp_path: Path) -> None:
    def endless(handler: object) -> bool:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        handler.wfile.write(DATA * 3)  # type: ignore[attr-defined]
        handler.cut()  # type: ignore[attr-defined]
        return True

    fail(fake, endless, times=-1)
    is_refused(client, tmp_path, "DigestMismatch")
    assert os.lstat(part_of(str(tmp_path / "blob"))).st_size <= len(DATA)


def test_a_trickle_is_given_up_and_kept(client: RegistryClient, fake: FakeRegistry, tmp_path: Path) -> None:
    fail(fake, having(pace=lambda at: threading.Event().wait(0.02)), times=-1)
    is_refused(client, tmp_path, "RegistryUnreachable", patience=0.05)
    assert 0 < os.lstat(part_of(str(tmp_path / "blob"))).st_size < len(DATA)
    fake.faults.clear()
    assert download(client, tmp_path) == DATA


def test_a_trickle_over_many_connections_is_given_up(fake: FakeRegistry, tmp_path: Path) -> None:
    """Each brings a byte, so that each is one more than before."""
    client = client_of(fake.origin)
    fail(fake, having(cut_after=1), times=-1)
    with pytest.raises(TemporaryError, match="fewer than"):
        download(client, tmp_path, patience=0.1)
    assert len(fake.asked("GET")) > 1
    client.session.close()


def test_a_registry_that_always_begins_anew_is_given_up(
    client: RegistryClient, fake: FakeRegistry, tmp_path: Path
) -> None:
    """With a byte more each time, so that each is further than before."""
    sizes = iter(range(1000, 2000))

    def act(handler: object) -> bool:
        handler.cut_after = next(sizes)  # type: ignore[attr-defined]
        del handler.headers["Range"]  # type: ignore[attr-defined]
        return False

    fail(fake, act, times=-1)
    with pytest.raises(TemporaryError, match="it began anew"):
        download(client, tmp_path)
    assert len(fake.asked("GET")) == MOST_RESTARTS + 2


DRIPS = 3.0  # seconds


def dripping(head: bytes, left: threading.Event) -> Callable[..., bool]:
    """`head`, and then a byte again and again, for DRIPS, or until the client has `left`."""

    def act(handler: object) -> bool:
        connection = handler.connection  # type: ignore[attr-defined]
        try:
            connection.sendall(head)
            for _ in range(150):
                connection.sendall(b"x")
                time.sleep(DRIPS / 150)
        except OSError:
            left.set()
        handler.close_connection = True  # type: ignore[attr-defined]
        return True

    return act


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX-Never: ", b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n"],
    ids=["head", "body"],
)
def test_a_document_that_comes_byte_by_byte_is_given_up(fake: FakeRegistry, head: bytes) -> None:
    client = client_of(fake.origin, silence=0.2)
    client.session.tries = 1
    left = threading.Event()
    fail(fake, dripping(head, left), times=-1, path="/manifests/")
    with pytest.raises(TemporaryError, match="it did not answer in time"):
        client.manifest(BLOB.digest)
    client.session.close()
    assert left.wait(DRIPS)  # and not, because the server ended


DIGITS = "9" * 5000  # more than Python reads as a number


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        (200, {"Content_Length": DIGITS}),
        (206, {"Content_Range": f"bytes {DIGITS}-{DIGITS}/*"}),
        (302, {"Location": "http://["}),
        (302, {"Location": "http://host:99999999/"}),
        (401, {"WWW_Authenticate": 'Bearer realm="https://["'}),
        (401, {"WWW_Authenticate": 'Bearer realm="https://host:99999999/token"'}),
        (503, {"Retry_After": DIGITS}),
    ],
)
def test_an_answer_that_is_none_is_one_clear_error(
    client: RegistryClient, fake: FakeRegistry, tmp_path: Path, code: int, headers: dict[str, str]
) -> None:
    def act(handler: BaseHTTPRequestHandler) -> bool:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.close_connection = True
        return True

    fail(fake, act, times=-1)
    with pytest.raises(TemporaryError, match=REPOSITORY):
        download(client, tmp_path)


def test_a_list_that_goes_on_nowhere_is_one_clear_error(client: RegistryClient, fake: FakeRegistry) -> None:
    act = status(202, Location="http://[")
    fail(fake, act, method="POST", path="/uploads/", times=-1)
    with pytest.raises(TemporaryError, match="an address that is none"):
        client.session.upload_place(
            client.session.ask("POST", client.session.url("blobs/uploads/"), (202,)), fake.origin
        )
    with pytest.raises(TemporaryError, match="an address that is none"):
        client.session.following(fake.origin, "http://[")


def test_silence_is_a_lost_connection(fake: FakeRegistry, tmp_path: Path) -> None:
    over = threading.Event()
    fail(fake, having(pace=lambda at: over.wait(10) if at > 20_000 else None))
    client = client_of(fake.origin, silence=0.1)
    assert download(client, tmp_path) == DATA
    over.set()
    client.session.close()


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_an_answer_that_asks_for_patience_is_tried_again(
    client: RegistryClient, fake: FakeRegistry, pauses: Pauses, tmp_path: Path, code: int
) -> None:
    fail(fake, status(code), times=2)
    fail(fake, status(code, Retry_After="7"))
    assert download(client, tmp_path) == DATA
    assert len(pauses) == 3
    assert pauses[2] == 7


def test_a_long_wish_is_left_to_the_caller(client: RegistryClient, fake: FakeRegistry, tmp_path: Path) -> None:
    fail(fake, status(429, Retry_After="1800"))
    with pytest.raises(TemporaryError) as busy:
        download(client, tmp_path)
    assert (busy.value.code, busy.value.delay) == ("RegistryBusy", 1800)


def test_a_registry_that_stays_broken_is_asked_a_few_times(client: RegistryClient, fake: FakeRegistry) -> None:
    fail(fake, status(500), times=-1, method="HEAD")
    with pytest.raises(TemporaryError) as broken:
        client.has_blob(BLOB.digest)
    assert (broken.value.code, len(fake.requests)) == ("RegistryBusy", 5)


def test_nobody_listens(fake: FakeRegistry, tmp_path: Path) -> None:
    client = client_of("http://127.0.0.1:1")
    is_refused(client, tmp_path, "RegistryUnreachable")


def test_the_caller_may_end_it(client: RegistryClient, tmp_path: Path) -> None:
    def end(count: int) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        BlobDownload(client, BLOB, str(tmp_path / "blob"), end).run()
    assert download(client, tmp_path) == DATA


def test_a_wrong_manifest_is_refused(client: RegistryClient, fake: FakeRegistry) -> None:
    digest = client.put_manifest(b'{"schemaVersion": 2}')
    fail(fake, having(other=b'{"schemaVersion": 3}'), path="/manifests/")
    with pytest.raises(TemporaryError, match=digest) as wrong:
        client.manifest(digest)
    assert wrong.value.code == "DigestMismatch"


def test_a_manifest_without_end_is_not_read(client: RegistryClient, fake: FakeRegistry) -> None:
    fail(fake, having(other=b" " * (5 << 20)), times=-1, path="/manifests/")
    digest = client.put_manifest(b'{"schemaVersion": 2}')
    with pytest.raises(TemporaryError, match="without end"):
        client.manifest(digest)


def test_a_token_that_expires_is_asked_for_again(fake: FakeRegistry, tmp_path: Path) -> None:
    fake.auth, fake.token_uses = "token", 1
    client = client_of(fake.origin, login=True)
    fail(fake, having(cut_after=10_000), times=6)  # each is refused first
    assert download(client, tmp_path) == DATA
    assert len(fake.token_requests) == 4
    assert "scope=repository%3Amodels%2Ftiny%3Apull%2Cpush" in fake.token_requests[0]
    BlobUpload(client, Blob(digest=sha(b"a" * 5000), size=5000), str(written(tmp_path, b"a" * 5000)), piece=999).run()
    assert client.has_blob(sha(b"a" * 5000))
    client.session.close()


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_without_the_right_password_it_says_so(fake: FakeRegistry, tmp_path: Path, auth: str) -> None:
    fake.auth = auth
    client = client_of(fake.origin)
    with pytest.raises(TemporaryError) as denied:
        client.has_blob(BLOB.digest)
    assert denied.value.code == "RegistryDenied"
    client.session.close()


def test_a_password_does_not_follow_a_redirect_to_another_host(fake: FakeRegistry, tmp_path: Path) -> None:
    with FakeRegistry().running() as other:
        other.held(REPOSITORY).blobs[BLOB.digest] = DATA
        fake.auth = "basic"
        client = client_of(fake.origin, login=True)
        assert client.has_blob(BLOB.digest)
        target = f"{other.origin}/v2/{REPOSITORY}/blobs/{BLOB.digest}?signature=secret"
        fail(fake, status(307, Location=target), times=-1)
        fail(other, having(cut_after=100))
        assert download(client, tmp_path) == DATA
        assert {one.authorization for one in fake.asked("GET")} == {basic()}
        assert {one.authorization for one in other.requests} == {""}
        assert [one.range for one in other.requests] == ["", "bytes=100-"]
        other.auth = "token"  # and when that host asks for it, neither it nor its token server gets one
        (tmp_path / "blob").unlink()
        with pytest.raises(TemporaryError) as denied:
            download(client, tmp_path)
        assert denied.value.code == "RegistryDenied"
        assert "signature" not in str(denied.value)
        assert other.token_requests == []
        assert {one.authorization for one in other.requests} == {""}
        client.session.close()


def test_a_circle_of_redirects_ends(client: RegistryClient, fake: FakeRegistry, tmp_path: Path) -> None:
    fail(fake, status(302, Location=f"/v2/{REPOSITORY}/blobs/{BLOB.digest}"), times=-1)
    with pytest.raises(TemporaryError, match="redirects"):
        download(client, tmp_path)


@pytest.mark.parametrize("place", ["192.0.2.1", "localhost:x@192.0.2.1", "[::1]@192.0.2.1", "localhost.example"])
def test_a_password_goes_to_no_token_server_without_tls(fake: FakeRegistry, place: str) -> None:
    client = client_of(fake.origin, login=True)
    fail(fake, status(401, WWW_Authenticate=f'Bearer realm="http://{place}/token"'), method="HEAD")
    # Python 3.11.2 splits what has brackets otherwise; it is refused all the same.
    with pytest.raises(TemporaryError, match=r"without TLS|names an address that is none"):
        client.has_blob(BLOB.digest)
    client.session.close()


def written(folder: Path, data: bytes) -> Path:
    path = folder / "upload"
    path.write_bytes(data)
    return path


def upload(client: RegistryClient, folder: Path, data: bytes, piece: int = 4000) -> None:
    blob = Blob(digest=digests.of_bytes(data), size=len(data))
    BlobUpload(client, blob, str(written(folder, data)), piece=piece).run()
    assert client.has_blob(blob.digest)


def test_an_upload_goes_on_behind_what_arrived(client: RegistryClient, fake: FakeRegistry, tmp_path: Path) -> None:
    fail(fake, lambda handler: False, method="PATCH")
    fail(fake, having(cut_after=1500), method="PATCH")

    def cut(handler: object) -> bool:
        handler.cut()  # type: ignore[attr-defined]
        return True

    fail(fake, cut, method="PATCH")
    upload(client, tmp_path, os.urandom(20_000))
    assert sum(one.received for one in fake.asked("PATCH")) == 20_000


def test_an_upload_that_the_registry_has_lost_begins_again(
    client: RegistryClient, fake: FakeRegistry, tmp_path: Path
) -> None:
    fail(fake, lambda handler: False, method="PATCH", times=2)
    fail(fake, status(404), method="PATCH")
    upload(client, tmp_path, os.urandom(20_000))
    assert len(fake.asked("POST")) == 2


def test_a_registry_that_takes_no_second_piece_gets_the_whole(
    client: RegistryClient, fake: FakeRegistry, tmp_path: Path
) -> None:
    fail(fake, lambda handler: False, method="PATCH")
    fail(fake, status(416), method="PATCH")
    upload(client, tmp_path, os.urandom(20_000))
    assert [one.received for one in fake.asked("PATCH")] == [4000, 0, 20_000]


def test_an_upload_elsewhere_gets_no_password(fake: FakeRegistry, tmp_path: Path) -> None:
    with FakeRegistry().running() as other:
        other.uploads["elsewhere"] = bytearray()
        fake.auth = "basic"
        client = client_of(fake.origin, login=True)
        place = f"{other.origin}/v2/{REPOSITORY}/blobs/uploads/elsewhere"
        fail(fake, status(202, Location=place), method="POST")
        data = os.urandom(5000)
        BlobUpload(client, Blob(digest=sha(data), size=5000), str(written(tmp_path, data))).run()
        assert other.held(REPOSITORY).blobs[sha(data)] == data
        assert {one.authorization for one in other.requests} == {""}
        client.session.close()
