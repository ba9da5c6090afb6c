"""A hub, or somebody in its place, that means us harm: names, sizes, pages, redirects and answers without an end."""

import contextlib
import json
import re
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reconciler.domain.errors import ReconcilerError
from reconciler.domain.sources.locked import LockedFile, LockedSource, is_safe
from reconciler.sources.hub.source import Hub, HubAccess
from reconciler.sources.hub.worker import MEMORY, MOST_ENTRIES
from tests import canaries
from tests.extras import needs
from tests.hub_server import COMMIT
from tests.serving import serving
from tests.trust import record

needs("huggingface_hub", "hub")

TOKEN = canaries.ENVIRONMENT["HF_TOKEN"]
SOURCE = LockedSource(repo="org/tiny", revision=COMMIT)
FILE = LockedFile(path="model.safetensors", size=5, sha256="0" * 64)
FACTS = {"X-Repo-Commit": COMMIT, "ETag": '"x"', "X-Linked-Size": "5", "X-Linked-ETag": '"x"'}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: "Server"

    def do_GET(self) -> None:
        self.owner.tokens.append(self.headers.get("Authorization", ""))
        with contextlib.suppress(OSError):
            self.owner.act(self)

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, held in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), held)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


class Server:
    """Does to each request what `act` says; `tokens` came with them."""

    def __init__(self) -> None:
        self.act: Callable[[Handler], None] = lambda handler: handler.answer(404)
        self.tokens: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("One", (Handler,), {"owner": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Server"]:
        with serving(self._server):
            yield self


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with Server().running() as evil, Server().running() as elsewhere:
        yield evil, elsewhere


@pytest.fixture(scope="module")
def hub(servers: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One process of ours for all attempts: it outlives each."""
    folder = tmp_path_factory.mktemp("hub")
    access = HubAccess.of({"HF_ENDPOINT": servers[0].url, "HF_TOKEN": TOKEN})
    with Hub(access, home=str(folder / "home"), log=str(folder / "hub.log"), silence=60.0) as one:
        yield one


@pytest.fixture
def evil(servers: tuple[Server, Server]) -> Server:
    servers[0].tokens.clear()
    return servers[0]


@pytest.fixture
def elsewhere(servers: tuple[Server, Server]) -> Server:
    servers[1].tokens.clear()
    return servers[1]


@pytest.fixture(params=["tree", "download"])
def ask(request: pytest.FixtureRequest, hub: Hub, tmp_path: Path) -> Callable[[], object]:
    if request.param == "tree":
        return lambda: hub.tree(SOURCE)
    return lambda: hub.download(SOURCE, FILE, str(tmp_path / "part"), lambda count: None)


def refused(act: Callable[[], object], *codes: str) -> str:
    """What is said, in one line without the token."""
    with pytest.raises(ReconcilerError) as error:
        act()
    said = str(error.value)
    assert error.value.code in codes, said
    assert "\n" not in said
    assert TOKEN not in said
    return said


def held(what: str) -> None:
    record("attacks", "1 of 1 attempts of a hub held", part=f"hub-{what}")


def listed(*entries: dict[str, Any]) -> bytes:
    return json.dumps([{"type": "file", "oid": "0" * 40, **one} for one in entries]).encode()


def test_the_token_does_not_follow_a_listing_to_another_host(hub: Hub, evil: Server, elsewhere: Server) -> None:
    """huggingface_hub 2.4 sends it to whatever address an answer names as its next page."""
    link = f'<{elsewhere.url}/api/models/next>; rel="next"'
    evil.act = lambda handler: handler.answer(200, listed({"path": "a", "size": 1}), Link=link)
    elsewhere.act = lambda handler: handler.answer(200, listed({"path": "b", "size": 2}))
    hub.tree(SOURCE)
    assert evil.tokens == [f"Bearer {TOKEN}"]
    assert elsewhere.tokens == [""]
    held("pages")


@pytest.mark.parametrize("status", [302, 307])
def test_the_token_does_not_follow_a_redirect_to_another_host(
    ask: Callable[[], object], evil: Server, elsewhere: Server, status: int
) -> None:
    target = elsewhere.url.replace("127.0.0.1", "localhost") + "/latest/meta-data"
    evil.act = lambda handler: handler.answer(status, Location=target, **FACTS)
    elsewhere.act = lambda handler: handler.answer(200, b"[]", **FACTS)
    with contextlib.suppress(ReconcilerError):
        ask()
    assert evil.tokens
    assert not any(elsewhere.tokens)
    held(f"redirect-{status}")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "//", "gopher://x/%0d%0aX:"])
def test_a_redirect_to_what_is_no_web_address(
    ask: Callable[[], object], evil: Server, target: str, tmp_path: Path
) -> None:
    evil.act = lambda handler: handler.answer(302, Location=target, **FACTS)
    refused(ask, "HubUnreachable", "FetchFailed")
    part = tmp_path / "part"
    assert not part.exists() or part.read_bytes() == b""
    held(f"scheme-{target}")


def test_a_redirect_in_a_circle_ends(hub: Hub, evil: Server) -> None:
    evil.act = lambda handler: handler.answer(302, Location=handler.path)
    refused(lambda: hub.tree(SOURCE), "HubUnreachable")
    assert len(evil.tokens) < 200
    held("circle")


def test_a_listing_without_an_end(hub: Hub, evil: Server) -> None:
    page = listed(*({"path": f"f{n}", "size": 1} for n in range(1000)))
    link = f'<{evil.url}/again>; rel="next"'
    evil.act = lambda handler: handler.answer(200, page, Link=link)
    assert f"more than {MOST_ENTRIES:,} files" in refused(lambda: hub.tree(SOURCE), "HubInvalid")
    assert len(evil.tokens) <= MOST_ENTRIES // 1000 + 2
    held("listing")


def packed(size: int) -> bytes:
    squeeze = zlib.compressobj(1, wbits=31)
    return b"".join([squeeze.compress(bytes(1 << 20)) for _ in range(size >> 20)]) + squeeze.flush()


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    for _ in range((MEMORY >> 20) + 256):  # enough; this machine is ours
        handler.wfile.write(piece)


def unpacking(handler: Handler) -> None:
    handler.answer(200, packed(MEMORY + (64 << 20)), Content_Encoding="gzip")


@pytest.mark.parametrize("act", [endless, unpacking])
def test_an_answer_that_does_not_fit(hub: Hub, evil: Server, act: Callable[[Handler], None]) -> None:
    evil.act = act
    said = refused(lambda: hub.tree(SOURCE), "HubInvalid")
    assert re.search(r"more than \d+ MiB", said)
    held(act.__name__)


def test_a_file_that_unpacks_to_more_than_was_said(hub: Hub, evil: Server, tmp_path: Path) -> None:
    """Packing was not asked for."""
    bomb = packed(8 << 20)

    def act(handler: Handler) -> None:
        if handler.command == "HEAD":
            handler.answer(200, b"12345", **FACTS)
        else:
            handler.answer(200, bomb, Content_Encoding="gzip", ETag='"x"')

    evil.act = act
    refused(lambda: hub.download(SOURCE, FILE, str(tmp_path / "part"), lambda count: None), "DigestMismatch")
    assert (tmp_path / "part").stat().st_size <= FILE.size
    held("packed")


SIZES: dict[str, object] = {"negative": -5, "enormous": 1 << 70, "text": "five", "none": None, "list": []}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_size_that_is_none(hub: Hub, evil: Server, size: object) -> None:
    """What passes here is judged when the lock is written (manifests/lock_file.py)."""
    evil.act = lambda handler: handler.answer(200, listed({"path": "config.json", "size": size}))
    if isinstance(size, int):
        assert hub.tree(SOURCE)[0]["size"] == size
    else:
        refused(lambda: hub.tree(SOURCE), "FetchFailed")
    held(f"size-{size}")


NAMES = ("../../x.json", "/etc/cron.d/x.json", "a/../../b.json", "x\n::stop-commands::.json", "\x1b[2J.json", "..", "")


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_no_name_becomes_a_path(name: str) -> None:
    assert not is_safe(name)
    held(f"name-{name}")
