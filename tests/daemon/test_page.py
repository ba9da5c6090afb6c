"""The routes of the page on a real loopback socket: what they answer, whom they refuse, and that open streams take
nothing away from others."""

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.daemon.http import server as face_module
from reconciler.daemon.http.listening import parse_address
from reconciler.daemon.http.page_routes import LIFE, STREAMS, PageRoutes
from reconciler.daemon.running import _page
from tests.daemon.faces import Faced, faced
from tests.daemon.shown_page import FixedPage
from tests.reports.machine_world import calm_facts, machine_facts
from tests.waiting import PATIENCE, until


@pytest.fixture(scope="module")
def shown() -> FixedPage:
    return FixedPage(calm_facts())


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: FixedPage) -> Iterator[Faced]:
    for name in ("DEADLINE", "LOOK_AROUND"):
        monkeypatch.setattr(face_module, name, PATIENCE)
    page = PageRoutes(shown, look=0.02, heartbeat=0.05)
    with faced(tmp_path / "root", page=page) as face:
        yield face


class Listener:
    """A browser's end of the stream."""

    def __init__(self, face: Faced, **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", face.face.port, timeout=PATIENCE)
        named = {name.replace("_", "-"): held for name, held in headers.items()}
        self._connection.request("GET", "/page/stream", headers=named)
        self.answer = self._connection.getresponse()

    def line(self) -> str:
        return self.answer.readline().decode().rstrip("\n")

    def message(self) -> dict[str, str]:
        while not (line := self.line()).startswith("data: "):
            pass
        found: dict[str, str] = json.loads(line.removeprefix("data: "))
        return found

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


def test_the_page_has_a_policy_and_stays_in_no_frame(one: Faced) -> None:
    status, body, headers = one.ask("/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "<h1" in body


def test_the_document_is_what_the_page_shows(one: Faced, shown: FixedPage) -> None:
    _, body, headers = one.ask("/page.json")
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == json.loads(json.dumps(shown.view()))


def test_a_part_is_asked_for_by_its_name(one: Faced, shown: FixedPage) -> None:
    _, body, headers = one.ask("/page/parts/models")
    assert body == shown.part("models")
    assert headers["Content-Security-Policy"] == "default-src 'none'"
    for name in ("", "other", "../models", "models/"):
        assert one.ask(f"/page/parts/{name}")[0] == 404


REFUSED = {
    "a script of another site": {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"},
    "a picture of another site": {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "image"},
    "a frame of another site": {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "iframe"},
    "a sandboxed page": {"Origin": "null"},
    "another port of this machine": {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Dest": "empty"},
    "an older browser": {"Origin": "http://127.0.0.1:1"},
}


@pytest.mark.parametrize("path", ["/", "/page.json", "/page/parts/models", "/page/stream"])
@pytest.mark.parametrize("case", REFUSED)
def test_another_site_gets_nothing(one: Faced, case: str, path: str) -> None:
    assert one.ask(path, **REFUSED[case])[:2] == (403, "")


def test_a_link_leads_to_the_page_and_to_nothing_else(one: Faced) -> None:
    followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Dest": "document"}
    assert one.ask("/", **followed)[0] == 200
    assert one.ask("/page.json", **followed)[0] == 403


@pytest.mark.parametrize("path", ["/", "/page.json", "/page/parts/models", "/page/stream"])
def test_only_our_names_and_only_get(one: Faced, path: str) -> None:
    assert one.ask(path, Host="evil.example")[0] == 421
    assert one.ask(path, "POST")[0] == 405


def test_the_stream_names_all_parts_and_then_what_changed(one: Faced, shown: FixedPage) -> None:
    listener = Listener(one, Sec_Fetch_Site="same-origin")
    assert listener.answer.getheader("Content-Type") == "text/event-stream; charset=utf-8"
    assert listener.answer.getheader("Content-Length") is None
    assert listener.message() == shown.digests()
    facts = calm_facts()
    try:
        shown.show(replace(facts, disk=replace(facts.disk, free=1)))
        assert listener.message() == {"disk": shown.digests()["disk"]}
        while listener.line() != ":":  # without news it shows that it lives
            pass
    finally:
        shown.show(facts)
        listener.close()


def test_open_streams_leave_the_others_their_answers(one: Faced) -> None:
    listeners = [Listener(one) for _ in range(STREAMS)]
    refused = Listener(one)
    assert (refused.answer.status, refused.answer.getheader("Retry-After")) == (503, "5")
    for path in ("/healthz", "/metrics", "/"):
        assert one.ask(path)[0] == 200
    listeners.pop().close()
    until(lambda: Listener(one).answer.status == 200)  # noticed at the next heartbeat
    for each in listeners:
        each.close()


def test_a_stream_ends_and_the_browser_opens_another(tmp_path: Path, shown: FixedPage) -> None:
    with faced(tmp_path / "root", page=PageRoutes(shown, life=0.0)) as face:
        for _ in range(STREAMS + 1):
            listener = Listener(face)
            assert listener.answer.read() == b"retry: 2000\n\n"
            listener.close()
    assert LIFE <= 600


def test_a_client_that_never_reads_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its messages fill the buffers, and then the socket's timeout ends it."""
    monkeypatch.setattr(face_module, "DEADLINE", 0.2)
    page = FixedPage(calm_facts())
    numbers = iter(range(10**9))
    monkeypatch.setattr(page, "digests", lambda: {"models": f"{next(numbers)}" * 4000})
    with faced(tmp_path / "root", page=PageRoutes(page, look=0.0)) as face:
        deaf = socket.create_connection(("127.0.0.1", face.face.port), PATIENCE)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /page/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        others = [Listener(face) for _ in range(STREAMS - 1)]
        until(lambda: Listener(face).answer.status == 200)
        for each in (deaf, *others):
            each.close()


def test_the_end_of_the_daemon_ends_the_streams(tmp_path: Path, shown: FixedPage) -> None:
    with faced(tmp_path / "root", page=PageRoutes(shown, look=PATIENCE)) as face:
        listener = Listener(face)
        listener.message()
    assert listener.answer.read().strip() == b""
    listener.close()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="unix sockets")
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:9464", 200),
        ("127.0.0.1:1234", 200),
        ("127.9.9.9", 200),
        ("[::1]:80", 200),
        ("evil.example:9464", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1:80.evil.example", 403),
        ("127.0.0.1@evil.example", 403),
        ("localhost:80@evil.example", 403),
        ("[::1].evil.example", 403),
        ("[::1", 403),
        ("[fe80::1]", 403),
        ("0.0.0.0", 403),
        ("192.168.1.7", 403),
        ("", 403),
    ],
)
def test_a_socket_that_ssh_forwards_answers_no_site_either(
    tmp_path: Path, shown: FixedPage, host: str, status: int
) -> None:
    path = tmp_path / "page.sock"
    with faced(tmp_path / "root", listen=f"unix:{path}", page=PageRoutes(shown)):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(f"GET /page.json HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\r\n".encode())
        assert client.recv(64).startswith(f"HTTP/1.1 {status} ".encode())
        client.close()


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "192.0.2.7:9464", "[::]:9464"])
def test_no_other_machine_is_served_the_page(listen: str) -> None:
    unused: object = None
    assert _page(parse_address(listen), unused, unused, unused) is None  # type: ignore[arg-type]


def test_nobody_is_told_what_a_machine_without_a_page_has(tmp_path: Path) -> None:
    with faced(tmp_path / "root") as face:
        for path in ("/", "/page.json", "/page/stream", "/page/parts/models"):
            assert face.ask(path)[:2] == (404, "")


def test_a_thousand_events_cost_less_than_a_megabyte() -> None:
    html, _ = FixedPage(machine_facts(events_shown=1000)).html()
    assert html.count("<time") > 1000
    assert len(html) < 1 << 20
