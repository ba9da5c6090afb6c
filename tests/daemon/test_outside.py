"""A real `reconciler run`: asked over HTTP, woken by a hook, telling a receiver, marking a commit."""

import hashlib
import hmac
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import canaries
from tests.daemon.process import Daemon, running
from tests.daemon.receiver import Receiver, receiving, until
from tests.machine import TestMachine
from tests.waiting import PATIENCE

CANARY = canaries.secret("outside")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def machine(machine: TestMachine, tmp_path: Path) -> TestMachine:
    canaries.file(tmp_path / "secret", "outside")
    return machine


def port_of(daemon: Daemon) -> int:
    return int(daemon.expect("listening")["port"])


def ask(daemon: Daemon, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(daemon), timeout=PATIENCE)
    try:
        named = {name.replace("_", "-"): held for name, held in headers.items()}
        connection.request("GET" if body is None else "POST", path, body=body, headers=named)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def passes(daemon: Daemon) -> int:
    """Those that converged. A watch that was begun makes one more pass than was asked for."""
    found = re.search(r'passes_total\{result="converged"\} (\d+)', ask(daemon, "/metrics")[1])
    return int(found[1]) if found else 0


def test_asked_and_woken(machine: TestMachine) -> None:
    secret = str(machine.folder / "secret")
    with running(machine, "--listen", "127.0.0.1:0", "--webhook-secret-file", secret, "--interval", "1h") as daemon:
        daemon.expect("ready")
        assert ask(daemon, "/healthz")[0] == 200
        status, text = ask(daemon, "/readyz")
        assert (status, json.loads(text)["variants"]) == (200, 1)
        assert 'reconciler_variants{condition="Ready",status="True"} 1\n' in ask(daemon, "/metrics")[1]
        body = b'{"ref": "refs/heads/main"}'
        assert ask(daemon, "/hooks/git", body, X_Hub_Signature_256="sha256=" + "0" * 64)[0] == 403
        signed = "sha256=" + hmac.new(CANARY.encode(), body, hashlib.sha256).hexdigest()
        assert ask(daemon, "/hooks/git", body, X_Hub_Signature_256=signed)[0] == 202
        until(lambda: 'reconciler_wakes_total{reason="webhook"} 1\n' in ask(daemon, "/metrics")[1])
        until(lambda: passes(daemon) >= 2)
        assert daemon.end() == 0
        assert CANARY not in "".join(daemon.raw)


def test_drift_is_told_with_its_signature(machine: TestMachine, receiver: Receiver) -> None:
    told = {
        "RECONCILER_NOTIFY": f"{receiver.url}/{CANARY}",
        "RECONCILER_NOTIFY_SECRET_FILE": str(machine.folder / "secret"),
    }
    with running(machine, "--listen", "off", "--interval", "1h", **told) as daemon:
        daemon.expect("ready")
        (machine.served("capitals-int4") / "genai_config.json").unlink()
        until(lambda: receiver.taken)
        assert daemon.end() == 0
        assert CANARY not in "".join(daemon.raw)
    got = receiver.taken[0]
    assert got.json["type"] == "reconciler.foundry.variant.repaired"
    assert got.json["subject"] == "capitals-int4"
    signed = hmac.new(CANARY.encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers["X-Reconciler-Signature-256"] == f"sha256={signed}"


def test_what_happened_while_it_was_down_is_told_at_the_next_start(machine: TestMachine, receiver: Receiver) -> None:
    options = ("--listen", "off", "--notify", receiver.url, "--interval", "1h")
    with running(machine, *options) as daemon:
        daemon.expect("ready")
        daemon.end()
    (machine.served("capitals-int4") / "genai_config.json").unlink()
    assert machine.run("apply").code == 0
    assert receiver.taken == []
    with running(machine, *options) as daemon:
        until(lambda: receiver.taken)
    assert [one.json["type"] for one in receiver.taken] == ["reconciler.foundry.variant.repaired"]


def test_a_chosen_address_that_is_taken_is_an_error_and_the_default_is_not(machine: TestMachine) -> None:
    with running(machine, "--listen", "127.0.0.1:0") as daemon:
        address = f"127.0.0.1:{port_of(daemon)}"
        other = TestMachine(folder=machine.folder)
        done = other.run("run", "--listen", address, "--root", str(machine.folder / "other"))
        assert done.code == 1
        assert f"cannot listen on {address}" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "example.com:80"], "--listen: expected HOST:PORT"),
        (["--webhook-secret-file", "gone"], "--webhook-secret-file: gone: No such file or directory"),
        (["--notify", "ftp://x"], "notifications: default: expected a URL"),
        (["--commit-status", "github:a/b"], "commit status: a file with a token is needed"),
        (["--commit-status", "svn:a/b", "--commit-status-token-file", "../secret"], "commit status: expected one of"),
    ],
)
def test_a_slip_of_the_hand_is_told_at_once(machine: TestMachine, arguments: list[str], said: str) -> None:
    done = machine.run("run", *arguments)
    assert done.code == 64
    assert said in done.err
