"""Somebody who can reach the daemon's address, and knows what is usually wrong behind such a one."""

import hashlib
import hmac
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.faces import SECRET, Faced, faced
from tests.daemon.test_face import raw
from tests.trust import record

BODY = b'{"ref":"refs/heads/main"}'
SIGNATURE = "sha256=" + hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
CLIENTS = 200


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Faced]:
    with faced(tmp_path / "root") as face:
        yield face


def held(what: str) -> None:
    record("attacks", "1 of 1 attempts on the daemon held", part=f"face-{what}")


def test_two_hundred_slow_clients_keep_nobody_out(one: Faced) -> None:
    slow = [socket.create_connection(("127.0.0.1", one.face.port), timeout=30) for _ in range(CLIENTS)]
    try:
        for client in slow:
            try:
                client.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
            except OSError:  # it was hung up on already
                continue
        assert [one.ask("/healthz")[0] for _ in range(5)] == [200] * 5
    finally:
        for client in slow:
            client.close()
    held("slow")


PATHS = (
    b"/../../etc/passwd",
    b"/metrics/../../../etc/passwd",
    b"/%2e%2e/%2e%2e/etc/passwd",
    b"/metrics%00.html",
    b"//etc/passwd",
    b"/metrics;/x",
    b"/hooks/git/../../metrics",
    b"http://169.254.169.254/latest/meta-data",
    b"*",
    b"/\\..\\..\\windows",
    b"/healthz#x",
    b"/healthz%0d%0aSet-Cookie:%20a=b",
)


@pytest.mark.parametrize("path", PATHS, ids=bytes.decode)
def test_no_path_leads_anywhere(one: Faced, path: bytes) -> None:
    answered = raw(one, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answered.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
    assert answered.endswith(b"\r\n\r\n")  # no body: nothing of the request comes back
    assert b"root:" not in answered
    assert b"Set-Cookie" not in answered
    held(path.decode())


SMUGGLED = {
    "a second request": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a request in a body": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 44\r\n\r\n"
    b"POST /hooks/git HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "chunks and a length": b"POST /hooks/git HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    "bare line feeds": b"GET /healthz HTTP/1.1\nHost: localhost\n\nGET /metrics HTTP/1.1\nHost: localhost\n\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n evil\r\n\r\n",
    "a name with a space": b"GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n",
    "the next protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("what", SMUGGLED)
def test_one_connection_is_one_request(one: Faced, what: str) -> None:
    answered = raw(one, SMUGGLED[what])
    assert answered.count(b"HTTP/1.1 ") <= 1
    assert b"reconciler_" not in answered
    assert one.wake.wait(0.0) == set()
    held(what)


def test_a_hook_that_was_overheard_costs_a_look_and_no_more(one: Faced, capfd: pytest.CaptureFixture[str]) -> None:
    """A signature has no time in it, as those of all forges: what is sent again wakes a loop that is awake."""
    before = {path.name for path in one.secret.parent.iterdir()}
    answers = [one.ask("/hooks/git", "POST", BODY, X_Hub_Signature_256=SIGNATURE)[0] for _ in range(60)]
    assert set(answers) == {202, 429}
    assert one.wake.wait(0.0) == {"webhook"}
    assert one.wake.wait(0.0) == set()
    assert {path.name for path in one.secret.parent.iterdir()} == before
    assert "".join(capfd.readouterr()) == ""  # nobody fills a log from outside
    held("replay")


@pytest.mark.parametrize("path", ["/hooks/git", "/healthz"])
def test_a_refused_signature_says_no_more_than_no(one: Faced, path: str) -> None:
    near = SIGNATURE[:-1] + ("0" if SIGNATURE[-1] != "0" else "1")
    answers = {
        one.ask(path, "POST", BODY, X_Hub_Signature_256=given)[:2]
        for given in (near, "sha256=", "x" * 1000, "sha256=" + "é")
    }
    assert len(answers) == 1
    assert all(body == "" for _, body in answers)
    held(f"signature-{path}")
