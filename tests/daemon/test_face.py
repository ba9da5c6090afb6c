"""The daemon's face on a real loopback socket: what it answers, whom it refuses, and that nobody can hold it up."""

import contextlib
import hashlib
import hmac
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.daemon.http import server as face_module
from reconciler.daemon.http.listening import Address, parse_address
from reconciler.daemon.http.routes import Bucket
from reconciler.daemon.http.server import CannotListen, HttpServer
from reconciler.domain.errors import UsageError
from tests.daemon.faces import SECRET, Faced, condition, conditions, faced
from tests.waiting import PATIENCE, until

BODY = b'{"ref":"refs/heads/main","repository":{"clone_url":"https://evil.example/x"}}'


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faced]:
    """It has time for clients that a busy machine makes slow."""
    for name in ("DEADLINE", "LOOK_AROUND"):
        monkeypatch.setattr(face_module, name, PATIENCE)
    with faced(tmp_path / "root") as face:
        yield face


def signature(body: bytes = BODY, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


# -- how it is


def test_alive_while_the_loop_beats(one: Faced) -> None:
    assert one.ask("/healthz")[0] == 200
    one.patience = 0.0
    status, body, _ = one.ask("/healthz")
    assert (status, json.loads(body)["status"]) == (503, "hangs")


SERVES = conditions(a=condition("Ready", "False", "Converting"))["a"] | {
    kind: condition(kind) for kind in ("Serving", "IntegrityVerified", "Reconciling")
}
READINESS = {
    "its predecessor serves while it is converted": ({"ready": True, "conditions": {"a": SERVES}}, 200, 0),
    "its predecessor is damaged": (
        {"ready": True, "conditions": {"a": SERVES | {"IntegrityVerified": condition("IntegrityVerified", "False")}}},
        503,
        1,
    ),
    "its upgrade stalls": (
        {"ready": True, "conditions": {"a": SERVES | {"Reconciling": condition("Reconciling", "False")}}},
        503,
        1,
    ),
    "nothing declares it any more": (
        {"ready": True, "conditions": conditions(a=condition("Ready", "False", "NothingDeclared"))},
        200,
        0,
    ),
    "before the first pass": ({"ready": False}, 503, 0),
    "nothing is declared": ({"ready": True}, 200, 0),
    "all are ready": ({"ready": True, "conditions": conditions(a=condition("Ready"))}, 200, 0),
    "one is not": (
        {"ready": True, "conditions": conditions(a=condition("Ready"), b=condition("Ready", "False", "NotServed"))},
        503,
        1,
    ),
    "one is suspended": (
        {
            "ready": True,
            "conditions": {
                "a": {
                    "Ready": condition("Ready", "False", "NotServed"),
                    "Reconciling": condition("Reconciling", "False", "Suspended"),
                }
            },
        },
        200,
        0,
    ),
    "a manifest cannot be read": ({"ready": True, "problems": 1}, 503, 0),
}


@pytest.mark.parametrize("case", READINESS)
def test_readiness(one: Faced, case: str) -> None:
    changes, status, waiting = READINESS[case]
    one.board.update(**changes)
    got, body, headers = one.ask("/readyz")
    assert got == status
    assert len(json.loads(body)["notReady"]) == waiting
    assert headers["Content-Type"] == "application/json"


def test_readiness_names_a_hundred_at_most(one: Faced) -> None:
    waiting = {f"m{n}": condition("Ready", "False", "NotServed", "/secret/path") for n in range(2000)}
    one.board.update(ready=True, conditions=conditions(**waiting))
    _, body, _ = one.ask("/readyz")
    facts = json.loads(body)
    assert (len(facts["notReady"]), facts["notReadyCount"]) == (100, 2000)
    assert "/secret/path" not in body


# -- what is refused


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../etc/passwd", 404),
        ("POST", "/metrics", 405),
        ("HEAD", "/healthz", 405),
        ("DELETE", "/readyz", 405),
        ("GET", "/hooks/git", 405),
        ("BREW", "/healthz", 405),
        ("brew", "/healthz", 400),
    ],
)
def test_anything_else_is_refused_in_few_words(one: Faced, method: str, path: str, status: int) -> None:
    got, body, headers = one.ask(path, method)
    assert (got, body) == (status, "")
    assert headers["Server"] == "reconciler"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9464", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_a_page_whose_name_points_here_learns_nothing(one: Faced, host: str) -> None:
    assert one.ask("/metrics", Host=host)[0] == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:9464", "127.0.0.1:1", "[::1]:9464", "LOCALHOST"])
def test_our_own_names_are_answered(one: Faced, host: str) -> None:
    assert one.ask("/metrics", Host=host)[0] == 200


def test_two_hosts_are_none(one: Faced) -> None:
    assert raw(one, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n").startswith(b"HTTP/1.1 421")
    assert raw(one, b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 421")


ADDRESSES: dict[str, Address | None] = {
    "127.0.0.1:9464": Address(host="127.0.0.1", port=9464),
    "localhost:1": Address(host="127.0.0.1", port=1),
    "[::1]:9464": Address(host="::1", port=9464),
    "0.0.0.0:80": Address(host="0.0.0.0", port=80),
    "unix:/run/r.sock": Address(path="/run/r.sock"),
    "off": None,
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    assert parse_address(text) == ADDRESSES[text]


@pytest.mark.parametrize(
    "text", ["", ":9464", "9464", "example.com:80", "127.0.0.1", "127.0.0.1:65536", "unix:x", "*:1"]
)
def test_an_address_is_written_in_full(text: str) -> None:
    with pytest.raises(UsageError, match="--listen: expected HOST:PORT"):
        parse_address(text)


def test_where_others_may_come_names_are_theirs_to_give() -> None:
    assert Address(host="0.0.0.0", port=1).accepts("metrics.example:9464")
    assert not Address(host="127.0.0.1", port=1).accepts("metrics.example:9464")


def test_a_taken_port_is_said(one: Faced) -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use"):
        HttpServer(Address(host="127.0.0.1", port=one.face.port), None)  # type: ignore[arg-type]


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "face.sock"
    for _ in range(2):  # also where a killed daemon left its own
        with faced(tmp_path / "root", listen=f"unix:{path}"), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: whatever\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            assert path.stat().st_mode & 0o777 == 0o660
    assert not path.exists()


# -- hooks

SIGNED = {
    "GitHub": ({"X-Hub-Signature-256": "sha256=" + signature()}, 202),
    "Gitea": ({"X-Gitea-Signature": signature(), "X-Hub-Signature-256": "sha256=" + signature()}, 202),
    "GitLab": ({"X-Gitlab-Token": SECRET}, 202),
    "nothing": ({}, 403),
    "another secret": ({"X-Hub-Signature-256": "sha256=" + signature(secret="guess")}, 403),
    "another body": ({"X-Hub-Signature-256": "sha256=" + signature(b"{}")}, 403),
    "no prefix": ({"X-Hub-Signature-256": signature()}, 403),
    "the old sha1": ({"X-Hub-Signature": "sha1=" + hmac.new(SECRET.encode(), BODY, "sha1").hexdigest()}, 403),
    "a wrong token": ({"X-Gitlab-Token": SECRET[:-1]}, 403),
    "an empty token": ({"X-Gitlab-Token": ""}, 403),
    "no ascii": ({"X-Gitlab-Token": "\xff\xfe"}, 403),
    "one right, one wrong": ({"X-Hub-Signature-256": "sha256=" + signature(), "X-Gitea-Signature": "0" * 64}, 403),
}


@pytest.mark.parametrize("case", SIGNED)
def test_only_the_secrets_holder_wakes_the_loop(one: Faced, case: str) -> None:
    headers, status = SIGNED[case]
    assert one.ask("/hooks/git", "POST", BODY, **headers)[:2] == (status, "")
    assert one.wake.wait(0.0) == ({"webhook"} if status == 202 else set())


def test_a_proxys_name_is_no_matter_for_a_hook(one: Faced) -> None:
    assert one.ask("/hooks/git", "POST", BODY, Host="git.example", X_Gitlab_Token=SECRET)[0] == 202


def test_a_replay_only_wakes(one: Faced) -> None:
    for _ in range(3):
        one.ask("/hooks/git", "POST", BODY, X_Gitlab_Token=SECRET)
    assert one.wake.wait(0.0) == {"webhook"}
    assert one.wake.wait(0.0) == set()


def test_no_secret_no_hook(tmp_path: Path) -> None:
    with faced(tmp_path / "root", hooks=False) as face:
        assert face.ask("/hooks/git", "POST", BODY, X_Gitlab_Token="")[0] == 404


def test_a_secret_may_be_changed_and_an_empty_one_lets_nobody_in(one: Faced, capfd: pytest.CaptureFixture[str]) -> None:
    one.secret.write_text("another-secret")
    assert one.ask("/hooks/git", "POST", BODY, X_Gitlab_Token=SECRET)[0] == 403
    assert one.ask("/hooks/git", "POST", BODY, X_Gitlab_Token="another-secret")[0] == 202
    one.secret.write_text("\n")
    assert one.ask("/hooks/git", "POST", BODY, X_Gitlab_Token="")[0] == 503
    said = "".join(capfd.readouterr())
    assert "hook.no_secret" in said
    assert SECRET not in said


def test_hooks_come_at_a_rate(one: Faced) -> None:
    statuses = [one.ask("/hooks/git", "POST", BODY)[0] for _ in range(20)]
    assert statuses == [403] * 20
    until(lambda: one.ask("/hooks/git", "POST", BODY)[0] == 429)


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    bucket = Bucket(burst=2, rate=1.0, clock=lambda: now[0])
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now[0] = 1.0
    assert [bucket.take() for _ in range(2)] == [True, False]


def test_a_body_that_is_too_long_or_of_unknown_length(one: Faced) -> None:
    head = b"POST /hooks/git HTTP/1.1\r\nHost: localhost\r\nX-Gitlab-Token: " + SECRET.encode() + b"\r\n"
    assert raw(one, head + b"Content-Length: 26214401\r\n\r\n").startswith(b"HTTP/1.1 413")
    for length in (b"", b"Content-Length: -1\r\n", b"Content-Length: 1\r\nContent-Length: 2\r\n"):
        assert raw(one, head + length + b"\r\n").startswith(b"HTTP/1.1 411")
    chunked = b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"
    assert raw(one, head + chunked).startswith(b"HTTP/1.1 411")
    assert one.wake.wait(0.0) == set()


def test_a_big_body_is_not_held(one: Faced) -> None:
    body = b" " * (20 << 20)
    assert one.ask("/hooks/git", "POST", body, X_Hub_Signature_256="sha256=" + signature(body))[0] == 202


# -- nobody holds it up


def test_idle_connections_make_room(one: Faced) -> None:
    idle = [socket.create_connection(("127.0.0.1", one.face.port)) for _ in range(50)]
    try:
        started = time.monotonic()
        assert one.ask("/healthz")[0] == 200
        assert time.monotonic() - started < PATIENCE / 2  # so long an idle one may stay when there is room
    finally:
        for connection in idle:
            connection.close()


def test_a_client_that_speaks_a_byte_at_a_time_is_cut_off(one: Faced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_module, "DEADLINE", 0.5)
    with socket.create_connection(("127.0.0.1", one.face.port)) as slow:
        slow.sendall(b"POST /hooks/git HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        with pytest.raises(OSError):  # noqa: PT011 - reset or broken pipe
            drip(slow)
    assert one.wake.wait(0.0) == set()


def test_a_body_that_ends_early_wakes_nobody(one: Faced) -> None:
    head = f"POST /hooks/git HTTP/1.1\r\nHost: localhost\r\nX-Gitlab-Token: {SECRET}\r\nContent-Length: 9\r\n\r\n"
    assert raw(one, head.encode() + b"half").startswith(b"HTTP/1.1 400")
    assert one.wake.wait(0.0) == set()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
    ],
)
def test_nonsense_harms_nobody(one: Faced, request_: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    answered = raw(one, request_)
    assert not answered or answered.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
    assert one.ask("/healthz")[0] == 200
    assert "".join(capfd.readouterr()) == ""


def test_its_memory(tmp_path: Path) -> None:
    """Measured in a process of its own, with thirty clients connected."""
    script = """
import sys, socket
from pathlib import Path
import http.client, json, threading
import reconciler.engine.reconciler, reconciler.engine.machine, reconciler.state.records
import psutil
before = psutil.Process().memory_info().rss
from tests.daemon.faces import faced
with faced(Path(sys.argv[1]), hooks=False) as one:
    clients = [socket.create_connection(("127.0.0.1", one.face.port)) for _ in range(30)]
    one.ask("/metrics")
    after = psutil.Process().memory_info().rss
    [client.close() for client in clients]
print((after - before) >> 10)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc")
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "root")], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) < 8 << 10, "KiB"


def drip(client: socket.socket) -> None:
    """For half a minute."""
    for _ in range(300):
        client.sendall(b"x")
        time.sleep(0.1)


def raw(one: Faced, request: bytes) -> bytes:
    """What comes back for these very bytes; nothing if the connection is cut."""
    found = b""
    with socket.create_connection(("127.0.0.1", one.face.port), timeout=PATIENCE) as client:
        with contextlib.suppress(OSError):  # it may be cut before all is said
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while chunk := client.recv(4096):
                found += chunk
    return found
