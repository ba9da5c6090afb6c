"""`apply` and `run` when the hub, the network or the machine do not play along. The source is no model, so that nothing
is converted: what is looked at is the download."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import canaries
from tests.cli.test_lock import declare, lock_file
from tests.daemon.process import running
from tests.extras import needs
from tests.hub_server import COMMIT, HubServer, Repo
from tests.machine import Done, TestMachine
from tests.waiting import PATIENCE, command_line, descendants, is_alive, until

needs("huggingface_hub", "hub")

SHARD = "model.safetensors"
MIB = 1 << 20
CANARY = canaries.secret("hub-e2e")


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer().running() as running:
        running.repos["org/tiny"] = Repo(files={"config.json": b"{}", SHARD: random.Random(1).randbytes(12 * MIB)})
        yield running


@pytest.fixture
def machine(tmp_path: Path, server: HubServer) -> TestMachine:
    one = TestMachine(folder=tmp_path)
    declare(one)
    assert one.run("lock", HF_ENDPOINT=server.url).code == 0
    return one


def apply(machine: TestMachine, server: HubServer, *options: str) -> tuple[Done, list[dict[str, str]]]:
    done = machine.run("apply", "-o", "json", *options, HF_ENDPOINT=server.url)
    assert done.code == 3, done.err
    return done, [one for one in done.json()["outcomes"] if one["action"] == "fetch"]


def whole(machine: TestMachine) -> bool:
    folder = machine.root / "sources" / "hub"
    return folder.is_dir() and any(len(one.name) == 64 for one in folder.iterdir())


def test_other_bytes_are_named_and_not_asked_for_again(machine: TestMachine, server: HubServer) -> None:
    files = server.repos["org/tiny"].files
    right = files[SHARD]
    files[SHARD] = right[:-1] + bytes([right[-1] ^ 1])
    _, (outcome,) = apply(machine, server)
    assert outcome["code"] == "DigestMismatch"
    assert SHARD in outcome["message"]
    assert "reconciler lock" in outcome["hint"]
    server.requests.clear()
    done, again = apply(machine, server)
    assert again == []
    assert [one["reason"] for one in done.json()["held"]] == ["FailedBefore"]
    assert server.requests == []
    conditions = machine.run("status", "-o", "json").json()["variants"][0]["conditions"]
    assert "DigestMismatch" in json.dumps(conditions)
    # The lock says something else: tried at once.
    lock_file(machine).unlink()
    machine.run("lock", HF_ENDPOINT=server.url)
    apply(machine, server)
    assert whole(machine)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda server: server.repos["org/tiny"].__setattr__("gated", True), "HubGated"),
        (lambda server: server.repos.clear(), "HubForbidden"),
        (lambda server: server.unkind.busy.append("3600"), "HubBusy"),
    ],
    ids=["gated", "gone", "busy"],
)
def test_what_may_pass_is_tried_again_when_somebody_asks(
    machine: TestMachine, server: HubServer, change: object, code: str
) -> None:
    repos = dict(server.repos)
    change(server)  # type: ignore[operator]
    _, (outcome,) = apply(machine, server)
    assert outcome["code"] == code
    (held,) = machine.run("plan", "-o", "json").json()["held"]
    assert held["reason"] == "BackoffActive"
    if code == "HubBusy":
        assert held["until"] > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3000))
    server.repos = repos
    server.repos["org/tiny"].gated = False
    apply(machine, server)
    assert whole(machine)


def test_a_killed_apply_leaves_nothing_running_and_goes_on(machine: TestMachine, server: HubServer) -> None:
    server.unkind.hold_after = 7 * MIB
    environment = os.environ | machine.environment() | {"HF_ENDPOINT": server.url, "HF_TOKEN": CANARY}
    killed = subprocess.Popen(
        [sys.executable, "-m", "reconciler", "apply", "--quiet"],
        cwd=machine.folder / "fleet",
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: server.bytes_sent(SHARD) >= 7 * MIB and _part(machine) >= 5 * MIB)
        below = descendants(killed.pid)
        assert _hub_workers(killed.pid)
        assert not any(CANARY in command_line(pid) for pid in (killed.pid, *below))
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    until(lambda: not any(map(is_alive, below)))
    came = _part(machine)
    server.unkind.hold_after = 0
    server.unkind.release.set()
    server.requests.clear()
    apply(machine, server)
    assert whole(machine)
    assert server.bytes_sent(SHARD) == 12 * MIB - came
    for path in machine.root.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def _part(machine: TestMachine) -> int:
    size = 0
    for path in (machine.root / "sources" / "hub").rglob("*.part"):
        with contextlib.suppress(FileNotFoundError):  # it is whole now, and has another name
            size += path.stat().st_size
    return size


def _hub_workers(pid: int) -> list[int]:
    """Below a process of ours: other tests download at the same time."""
    if not Path("/proc/self/cmdline").exists():
        pytest.skip("needs /proc")
    return [one for one in descendants(pid) if "sources.hub.worker" in command_line(one)]


@pytest.mark.slow
def test_a_daemon_waits_for_a_hub_that_is_away(machine: TestMachine, server: HubServer) -> None:
    server.unkind.broken = 10_000
    with running(machine, "--interval", "1s", HF_ENDPOINT=server.url):
        events = machine.root / "records" / "events.jsonl"
        until(lambda: events.exists() and '"fetch.failed"' in events.read_text())
        assert not whole(machine)
        server.unkind.broken = 0
        until(lambda: whole(machine), 2 * PATIENCE)  # each failure doubles the pause
        until(lambda: '"fetch.done"' in events.read_text())


@pytest.mark.slow
def test_a_daemon_stops_a_download_that_nobody_wants(machine: TestMachine, server: HubServer) -> None:
    server.unkind.hold_after = 2 * MIB
    with running(machine, "--interval", "1s", HF_ENDPOINT=server.url) as daemon:
        until(lambda: _part(machine) >= MIB)
        assert _hub_workers(daemon.pid)
        (machine.manifests / "capitals.yaml").unlink()
        until(lambda: not _hub_workers(daemon.pid))
        until(lambda: not list((machine.root / "sources" / "hub" / "partial").iterdir()))


def test_a_pinned_commit_is_asked_for_and_no_other(machine: TestMachine, server: HubServer) -> None:
    server.repos["org/tiny"].main = "e" * 40
    server.requests.clear()
    apply(machine, server)
    assert whole(machine)
    assert all(f"/resolve/{COMMIT}/" in one.path for one in server.requests)
