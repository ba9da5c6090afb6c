"""Files that Git LFS keeps, fetched from the repository's server: whole, cut, refused, and from one that means harm."""

import hashlib
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.errors import Cancelled, LfsFailed, PermanentError
from reconciler.domain.sources.lfs_pointer import LfsPointer
from reconciler.domain.sources.locked import GIT, LockedFile, LockedSource
from reconciler.registry.lfs_client import LfsObject, LfsSession
from reconciler.registry.lfs_source import LfsModels
from reconciler.registry.session import HttpAnswer
from reconciler.registry.transport import Transport, Unreached, redirected
from reconciler.sources.download import PART, Download
from tests import canaries
from tests.git_server import Repository, certificate
from tests.lfs_server import LfsServer, pointer_to

USER, TOKEN = "x-access-token", canaries.secret("git-lfs")
DATA = bytes(range(256)) * 5_000  # 1.3 MB
NAME = "model.safetensors"
OID = hashlib.sha256(DATA).hexdigest()
POINTER = LfsPointer(oid=OID, size=len(DATA))
FILE = LockedFile(path=NAME, size=len(DATA), sha256=OID)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    one = Repository(tmp_path_factory.mktemp("lfs") / "fleet")
    one.write(f"model/{NAME}", pointer_to(DATA))
    one.write("model/config.json", "{}")
    with pytest.MonkeyPatch.context() as environment:
        for who in ("AUTHOR", "COMMITTER"):
            environment.setenv(f"GIT_{who}_NAME", "test")
            environment.setenv(f"GIT_{who}_EMAIL", "test@localhost")
        one.commit()
    return one


@pytest.fixture
def server(tmp_path: Path, held: Path) -> Iterator[LfsServer]:
    with LfsServer(tmp_path, held, USER, TOKEN).running() as one:
        one.objects[OID] = DATA
        yield one


@pytest.fixture
def fetch(server: LfsServer, held: Path, tmp_path: Path) -> Callable[..., bytes]:
    def fetched(token: str = TOKEN, on_bytes: Callable[[int], None] = lambda count: None) -> bytes:
        target, source = tmp_path / NAME, LockedSource(kind=GIT, repo=server.url + "/fleet.git", revision="")
        with LfsModels("", token, str(held)) as models:  # as `download`, once it knows the pointer
            models.fetch(source, NAME, POINTER, str(target), on_bytes, 1 << 20)
        return target.read_bytes()

    return fetched


def source_of(url: str, repository: Repository, *files: LockedFile) -> LockedSource:
    tree = repository.git("rev-parse", "HEAD:model")
    return LockedSource(kind=GIT, repo=url, revision=tree, folder="model", files=files)


@pytest.mark.parametrize("signed", [False, True])
def test_the_server_of_the_repository_is_asked_with_its_token(
    signed: bool, server: LfsServer, fetch: Callable[..., bytes]
) -> None:
    """But for an address that it says to be signed: two proofs at once are refused by many a store."""
    server.authenticated = signed
    told: list[int] = []
    assert fetch(on_bytes=told.append) == DATA
    question, object_ = server.lfs_requests
    assert question.path == "/fleet.git/info/lfs/objects/batch"
    assert question.headers["accept"] == question.headers["content-type"] == "application/vnd.git-lfs+json"
    assert b'"operation": "download"' in question.body
    assert OID.encode() in question.body
    assert question.headers["authorization"] == server.expected
    assert object_.headers.get("authorization") == (None if signed else server.expected)
    assert told[-1] == len(DATA)


def test_what_was_cut_goes_on_where_it_stopped(server: LfsServer, fetch: Callable[..., bytes]) -> None:
    server.cut = len(DATA) // 3
    told: list[int] = []
    assert fetch(on_bytes=told.append) == DATA
    objects = server.asked("/objects/" + OID)
    assert [one.headers.get("range") for one in objects] == [None, f"bytes={len(DATA) // 3}-"]
    assert len(server.asked("/batch")) == 2  # an address may hold for minutes only
    assert told == sorted(told)


def test_what_a_killed_process_left_is_not_asked_for_again(
    server: LfsServer, fetch: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(DATA[:1_000_000])
    assert fetch() == DATA
    assert server.asked("/objects/" + OID)[0].headers["range"] == "bytes=1000000-"


@pytest.mark.parametrize("header", [{"X-Signed": "2"}, {"X-Signed": "2", "authorization": "RemoteAuth 1"}])
def test_a_token_and_the_headers_of_an_answer_go_to_their_hosts_alone(
    header: dict[str, str], server: LfsServer, fetch: Callable[..., bytes], held: Path, tmp_path: Path
) -> None:
    """Objects lie on another host, which redirects to a third one."""
    with LfsServer(tmp_path, held, USER, "").running() as store, LfsServer(tmp_path, held, USER, "").running() as third:
        third.objects[OID] = DATA
        server.place, store.moved = store.url, third.url
        server.header = {**header, "Host": "elsewhere", "Range": "bytes=5-"}
        assert fetch() == DATA
        (at_store,), (at_third,) = store.lfs_requests, third.lfs_requests
        assert at_store.headers["x-signed"] == "2"
        assert at_store.headers.get("authorization") == header.get("authorization")
        assert at_store.headers["host"] == f"127.0.0.1:{store.port}"
        assert "range" not in at_store.headers
        assert {"authorization", "x-signed"} & at_third.headers.keys() == set()


def test_the_server_is_trusted_by_the_certificates_that_git_trusts_it_by(
    server: LfsServer, held: Path, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by what the system trusts beside: the token goes there."""
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other")
    monkeypatch.setenv(ssl.get_default_verify_paths().openssl_cafile_env, str(held))
    source = source_of(server.url + "/fleet.git", repository)
    with LfsModels(str(repository.folder / ".git"), TOKEN, str(other)) as models, pytest.raises(LfsFailed, match="TLS"):
        models.download(source, FILE, str(tmp_path / NAME), lambda count: None)
    assert server.lfs_requests == []


def with_error(code: int, message: str = "why") -> Callable[[LfsServer], None]:
    def change(server: LfsServer) -> None:
        error = {"code": code, "message": message}
        server.batch = lambda question: (200, {"objects": [{**question["objects"][0], "error": error}]})

    return change


def answering(status: int, answer: Any, **headers: str) -> Callable[[LfsServer], None]:
    def change(server: LfsServer) -> None:
        server.batch, server.batch_headers = (lambda question: (status, answer)), headers

    return change


def naming(href: str, header: Any = None) -> Callable[[LfsServer], None]:
    def change(server: LfsServer) -> None:
        action = {"href": href.format(server=server.url, oid=OID), "header": header or {}}
        server.batch = lambda question: (200, {"objects": [{"oid": OID, "actions": {"download": action}}]})

    return change


HERE = "{server}/objects/{oid}"
REFUSED: dict[str, tuple[Callable[[LfsServer], None], str, str]] = {
    "an object that was never pushed": (lambda one: one.objects.clear(), "LfsLacks", "404 Object does not exist"),
    "an object that its store lacks": (naming(HERE + "0"), "LfsLacks", "status 404"),
    "a token that may not read": (with_error(403), "LfsDenied", "403 why"),
    "a repository that is hidden": (answering(403, {"message": "no"}), "LfsDenied", "403 no"),
    "an object that is too large to serve": (with_error(422), "LfsRefused", "422 why"),
    "a server that asks for an hour": (answering(429, {}, **{"Retry-After": "3600"}), "LfsBusy", "429"),
    "a server without Git LFS": (answering(404, b"<html>"), "LfsUnsupported", "404"),
    "a page instead of an answer": (answering(200, b"<html>"), "LfsUnsupported", "speaks no Git LFS"),
    "an answer of another form": (answering(200, {"objects": "x"}), "LfsUnsupported", "speaks no Git LFS"),
    "an answer about another object": (answering(200, {"objects": [{"oid": "0"}]}), "LfsUnsupported", "no Git LFS"),
    "a nested answer": (answering(200, b"[" * 100_000), "LfsUnsupported", "speaks no Git LFS"),
    "an answer without end": (answering(200, b" " * (5 << 20)), "LfsUnreachable", "without end"),
    "a transfer that was not offered": (
        answering(200, {"transfer": "ssh", "objects": []}),
        "LfsUnsupported",
        "transfer",
    ),
    "an address without TLS": (naming("http://127.0.0.1/x"), "LfsRefused", "expected https"),
    "an address of a file": (naming("file:///etc/passwd"), "LfsRefused", "expected https"),
    "an address with a password": (naming("https://a:b@127.0.0.1/x"), "LfsRefused", "an address that is none"),
    "an address that is none": (naming("https://[x/"), "LfsRefused", "an address that is none"),
    "an address of two lines": (naming(HERE + "\r\nX: y"), "LfsRefused", "no address"),
    "a header of two lines": (naming(HERE, {"X": "a\r\nY: b"}), "LfsRefused", "a header that is none"),
    "a header with a bad name": (naming(HERE, {"X y": "a"}), "LfsRefused", "a header that is none"),
    "very many headers": (naming(HERE, {f"X{n}": "a" for n in range(21)}), "LfsRefused", "more headers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_one_error_that_says_why(
    case: str, server: LfsServer, fetch: Callable[..., bytes], tmp_path: Path
) -> None:
    change, code, words = REFUSED[case]
    change(server)
    with pytest.raises(LfsFailed) as caught:
        fetch()
    assert (caught.value.code, words in str(caught.value), bool(caught.value.hint)) == (code, True, True), caught.value
    assert TOKEN not in f"{caught.value}{caught.value.hint}"
    assert caught.value.delay == (3600 if code == "LfsBusy" else 0)
    assert not (tmp_path / NAME).exists() or (tmp_path / NAME).stat().st_size == 0


@pytest.mark.parametrize("given", ["", "another"])
def test_without_the_right_token_nothing_comes(given: str, server: LfsServer, fetch: Callable[..., bytes]) -> None:
    with pytest.raises(LfsFailed, match="401 who are you") as caught:
        fetch(token=given)
    assert caught.value.code == "LfsDenied"
    assert "--token-file" in caught.value.hint
    assert len(server.lfs_requests) == 1  # a challenge is not answered


INWARD = (
    *("127.0.0.1", "localhost", "127.1", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0"),
    "[64:ff9b::7f00:1]",
)


@pytest.mark.parametrize("host", INWARD)
def test_a_server_elsewhere_names_no_address_of_this_machine(host: str) -> None:
    place = "https://git.example.org/fleet.git"
    action = {"oid": OID, "actions": {"download": {"href": f"https://{host}/x"}}}
    answer = HttpAnswer(200, {}, json.dumps({"objects": [action]}).encode())
    session = LfsSession(place, None, Transport())
    session.ask = lambda *_, **__: answer  # type: ignore[method-assign]  # no test reaches another host
    with pytest.raises(LfsFailed, match="an address of this machine alone") as caught:
        LfsObject(session, LfsPointer(oid=OID, size=1), NAME).blob_url("")
    assert caught.value.code == "LfsRefused"
    with pytest.raises(Unreached, match="a redirect to an address of this machine alone"):
        redirected(place, f"https://{host}/x")
    assert redirected(f"https://{host}/y", f"https://{host}/x") == f"https://{host}/x"
    assert redirected(place, "https://store.example.org/x") == "https://store.example.org/x"


@pytest.mark.parametrize(
    "host",
    [r"store.example.org\@git.example.org", "127%2e0.0.1", "localhos%74", r"127.0.0.1\.example.org", "a@b.org", "a b"],
)
def test_an_address_that_two_could_read_otherwise_is_none(host: str) -> None:
    """Else one of them decides who is sent the token, and the other one where to."""
    with pytest.raises(Unreached, match="it names an address that is none"):
        redirected("https://git.example.org/fleet.git", f"https://{host}/x")


def downloaded(models: LfsModels, source: LockedSource, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    with models:
        Download(models, source, str(folder), lambda fraction, text: None).run()


def test_other_bytes_are_refused_and_not_kept(
    server: LfsServer, held: Path, repository: Repository, tmp_path: Path
) -> None:
    server.objects[OID] = DATA[:-1] + b"x"
    source = source_of(server.url + "/fleet", repository, FILE)
    with pytest.raises(PermanentError, match="is not the file that was locked") as caught:
        downloaded(LfsModels(str(repository.folder / ".git"), TOKEN, str(held)), source, tmp_path / "to")
    assert (caught.value.code, "git lfs push" in caught.value.hint) == ("DigestMismatch", True)
    assert list((tmp_path / "to").iterdir()) == []
    assert server.lfs_requests[0].path == "/fleet.git/info/lfs/objects/batch"  # Git LFS adds .git


@pytest.mark.parametrize("data", [DATA + b"x", DATA[:-1]])
def test_another_size_is_refused_before_it_comes(data: bytes, server: LfsServer, fetch: Callable[..., bytes]) -> None:
    server.objects[OID] = data
    with pytest.raises(LfsFailed, match="other bytes came") as caught:
        fetch()
    assert caught.value.code == "DigestMismatch"


def test_it_can_be_cancelled(server: LfsServer, held: Path, repository: Repository, tmp_path: Path) -> None:
    with LfsModels(str(repository.folder / ".git"), TOKEN, str(held)) as models:
        models.cancel()
        source = source_of(server.url + "/fleet.git", repository)
        with pytest.raises(Cancelled):
            models.download(source, FILE, str(tmp_path / NAME), lambda count: None)


@pytest.mark.parametrize("store", [".git/lfs/objects", "lfs/objects"])
def test_a_repository_on_this_machine_has_its_objects_itself(
    store: str, repository: Repository, tmp_path: Path
) -> None:
    place = tmp_path / "brought" / store / OID[:2] / OID[2:4]
    place.mkdir(parents=True)
    small = LockedFile(path="config.json", size=2, sha256=hashlib.sha256(b"{}").hexdigest())
    source = source_of((tmp_path / "brought").as_uri(), repository, FILE, small)
    with pytest.raises(LfsFailed, match="is not among the objects of") as caught:
        downloaded(LfsModels(str(repository.folder / ".git")), source, tmp_path / "to")
    assert caught.value.code == "LfsLacks"
    (place / OID).write_bytes(DATA)
    (tmp_path / "to" / (NAME + PART)).write_bytes(b"of another one")
    downloaded(LfsModels(str(repository.folder / ".git")), source, tmp_path / "to")
    assert {one.name: one.read_bytes() for one in (tmp_path / "to").iterdir()} == {NAME: DATA, "config.json": b"{}"}


def test_what_git_has_itself_is_listed_beside_what_is_kept_elsewhere(repository: Repository) -> None:
    with LfsModels(str(repository.folder / ".git")) as models:
        source = source_of("https://git.example.org/fleet.git", repository)
        listed = {one["path"]: (one["size"], one["sha256"]) for one in models.tree(source)}
        assert listed == {NAME: (len(DATA), OID), "config.json": (2, "")}
        assert models.commit(source) == source.revision
