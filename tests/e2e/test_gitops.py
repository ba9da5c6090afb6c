"""The whole loop with a real git server: what is pushed is served, what is taken out is pruned, and no accident on the
way takes a model down. The same story over https with a password and over ssh."""

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from reconciler.operations.verify import verify
from tests.at_rest import opened
from tests.git_server import Repository, Server, certificate
from tests.machine import TestMachine
from tests.running import Running, running
from tests.ssh_server import SshServer
from tests.trust import FULL
from tests.waiting import Slower, is_alive

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="uses /proc and signals")]

INTERVAL = 1.0
TRIES = 6
PASSWORD = "correct-horse"
QUESTION, ANSWER = "What is the capital of Slovenia?", "Ljubljana"

MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec:
  source: {{path: ../model}}
  precisions: [{precisions}]
  promptTemplate: {{jinja: templates/{name}.jinja}}
  generation: {{topK: 1}}
"""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass
class Fleet:
    """An author, the server that he pushes to, and the machine that follows it."""

    author: Repository
    machine: TestMachine
    arguments: tuple[str, ...]
    environment: dict[str, str]
    up: Callable[[], AbstractContextManager[object]]

    def declare(self, name: str, *, precisions: str = "int4", comment: str = "") -> None:
        self.author.write(f"manifests/templates/{name}.jinja", comment + TEMPLATE)
        self.author.write(f"manifests/{name}.yaml", MODEL.format(name=name, precisions=precisions))

    def push(self, message: str, *options: str) -> str:
        commit = self.author.commit(message)
        self.author.git("push", "-q", *options, "origin", "HEAD:main")
        return commit

    def daemon(self, interval: str = f"{INTERVAL:g}s") -> AbstractContextManager[Running]:
        arguments = ("--interval", interval, "--listen", "off", *self.arguments)
        return running(self.machine, *arguments, **self.environment)


@pytest.fixture(params=["https", "ssh"] if FULL else ["ssh"])  # another test is over HTTPS alone
def fleet(
    request: pytest.FixtureRequest, tmp_path: Path, capitals: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    author = Repository(tmp_path / "author")
    shutil.copytree(capitals, tmp_path / "author" / "model")
    author.commit("the model's weights")
    bare = tmp_path / "git" / "fleet.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(author.folder), str(bare)], check=True, timeout=60)
    author.git("remote", "add", "origin", str(bare))
    machine = TestMachine(folder=tmp_path / "edge")
    machine.folder.mkdir()
    yield from (
        _over_ssh(author, machine, tmp_path)
        if request.param == "ssh"
        else _over_https(author, machine, tmp_path, monkeypatch)
    )


def _over_https(
    author: Repository, machine: TestMachine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fleet]:
    held = certificate(folder)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(held))
    token = folder / "token"
    token.write_text(PASSWORD)
    port = 0

    @contextlib.contextmanager
    def up() -> Iterator[object]:
        nonlocal port
        server = Server(folder / "git", held, "x-access-token", PASSWORD, port=port)
        port = server.port
        with server.running():
            yield server

    with up():  # learns its port
        pass
    arguments = ("--repo", f"https://127.0.0.1:{port}/fleet.git", "--token-file", str(token))
    yield Fleet(author, machine, arguments, {}, up)


def _over_ssh(author: Repository, machine: TestMachine, folder: Path) -> Iterator[Fleet]:
    server = SshServer(folder / "git", folder)
    with server.running():
        url = server.url + "/fleet.git"
    arguments = ("--repo", url, "--ssh-key", str(server.key), "--known-hosts", str(server.known_hosts))
    yield Fleet(author, machine, arguments, {}, server.running)
    server.close()


def test_what_is_pushed_is_served_and_no_accident_takes_it_down(fleet: Fleet) -> None:
    machine = fleet.machine
    fleet.declare("one")
    fleet.declare("two")
    fleet.push("two models")
    with fleet.daemon() as daemon:
        with fleet.up():
            daemon.until(lambda: daemon.served() == {"one-int4:1", "two-int4:1"}, "a pushed manifest is served")
            daemon.until(lambda: daemon.ready("one-int4"), "its condition says so")
            assert ANSWER in machine.run("ask", "one-int4", QUESTION).out
            _template_changes_arrive_within_an_interval(fleet, daemon)
            _a_removal_is_pruned(fleet, daemon)
            accepted = _a_force_push_is_refused(fleet, daemon)
        _an_outage_changes_nothing(fleet, daemon)
        with fleet.up():
            _the_server_comes_back(fleet, daemon, accepted)
        assert daemon.stop() == 0
    assert verify(opened(machine)) == ()
    assert PASSWORD not in (machine.folder / "daemon.log").read_text()


def _template_changes_arrive_within_an_interval(fleet: Fleet, daemon: Running) -> None:
    """An interval until it is seen, and 2 s of work: the median of three in a row, as soon as there are such three. On
    a machine that is slow or busy with something else, work takes longer by what any work does."""
    artifacts = _artifacts(fleet.machine)
    took: list[float] = []
    slower: list[float] = []
    while len(took) < 3 or (_late(took, slower) and len(took) < TRIES):
        slower.append(Slower.now().clock)
        expected = f"one-int4:{len(took) + 2}"
        fleet.declare("one", comment="{# " + expected + " #}")
        fleet.push(f"a template for {expected}")
        took.append(daemon.until(lambda wanted=expected: wanted in daemon.served(), f"{expected} is served"))
    assert not _late(took, slower), (took, slower)
    assert _artifacts(fleet.machine) == artifacts
    daemon.until(lambda: daemon.served() == {expected, "two-int4:1"}, "the predecessors are retired")


def _late(took: list[float], slower: list[float]) -> bool:
    return statistics.median(took[-3:]) > INTERVAL + 2 * statistics.median(slower[-3:])


def _a_removal_is_pruned(fleet: Fleet, daemon: Running) -> None:
    (fleet.author.folder / "manifests" / "two.yaml").unlink()
    fleet.push("without two")
    daemon.until(lambda: {name.partition(":")[0] for name in daemon.served()} == {"one-int4"}, "two is pruned")


def _a_force_push_is_refused(fleet: Fleet, daemon: Running) -> str:
    before = daemon.served()
    accepted = fleet.author.git("rev-parse", "HEAD")
    fleet.author.git("reset", "-q", "--hard", "HEAD~2")
    fleet.declare("one", comment="{# rewritten #}")
    fleet.push("another history", "--force")
    daemon.until(lambda: "HistoryRewritten" in daemon.log.read_text(), "the rewritten history is refused")
    time.sleep(2 * INTERVAL)
    assert daemon.served() == before
    assert fleet.machine.run("status", "-o", "json").json()["revision"].endswith(accepted)
    return accepted


def _an_outage_changes_nothing(fleet: Fleet, daemon: Running) -> None:
    before = fleet.machine.index()
    time.sleep(10 * INTERVAL)
    assert fleet.machine.index() == before
    daemon.until(lambda: "stale" in fleet.machine.run("status").out.lower(), "it says that it is stale")
    assert ANSWER in fleet.machine.run("ask", "one-int4", QUESTION).out


def _the_server_comes_back(fleet: Fleet, daemon: Running, accepted: str) -> None:
    (before,) = daemon.served()
    fleet.author.git("reset", "-q", "--hard", accepted)
    fleet.declare("one", comment="{# after all #}")
    fleet.push("on the accepted history again", "--force")
    following = f"one-int4:{int(before.rpartition(':')[2]) + 1}"
    daemon.until(lambda: daemon.served() == {following}, "the loop goes on")
    daemon.until(lambda: "stale" not in fleet.machine.run("status").out.lower(), "it is stale no more")


def _artifacts(machine: TestMachine) -> set[str]:
    return set(opened(machine).store.artifacts())


@pytest.mark.parametrize("fleet", ["https"], indirect=True)
def test_a_newer_commit_ends_a_conversion_that_it_no_longer_wants(fleet: Fleet) -> None:
    """The conversion is real Olive. Stopped by a signal it lasts as long as a large model's, on any machine."""
    fleet.declare("one")
    fleet.push("one model")
    with fleet.daemon("1s") as daemon, fleet.up():
        daemon.until(lambda: daemon.served() == {"one-int4:1"}, "the first model is served")
        fleet.declare("slow", precisions="int8")
        fleet.push("a slow conversion")
        job = _stopped_job(daemon)
        fleet.declare("one", comment="{# new #}")
        fleet.push("a template change to another model")
        daemon.until(lambda: "one-int4:2" in daemon.served(), "it does not wait for the conversion")
        assert is_alive(job)
        fleet.declare("slow", precisions="fp32")
        fleet.push("int8 is no longer wanted")
        head = fleet.author.git("rev-parse", "HEAD")
        seen = daemon.until(lambda: head in daemon.log.read_text(), "it is seen")
        took = daemon.until(lambda: not is_alive(job), "the obsolete conversion ends")
        assert took <= 3, (seen, took)
        daemon.until(lambda: "slow-fp32:1" in daemon.served(), "what is wanted now is served")
        assert not [name for name in daemon.served() if name.startswith("slow-int8")]
        daemon.until(lambda: not daemon.children(), "no process is left when nothing is to be done")
    failed = [e for e in opened(fleet.machine).records.events() if str(e["type"]).endswith(".failed")]
    assert failed == []


def _stopped_job(daemon: Running) -> int:
    """The process of the running conversion, forked from the warm worker; it is stopped from now on."""
    found: list[int] = []

    def forked() -> bool:
        for pid in daemon.children():
            with contextlib.suppress(OSError):
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                if parent != daemon.process.pid and _command(pid) == _command(parent):
                    os.kill(pid, signal.SIGSTOP)
                    found.append(pid)
                    return True
        return False

    daemon.until(forked, "a conversion runs")
    return found[0]


def _command(pid: int) -> object:
    """That of a fork is its parent's. Of programs other than Python none equals another: bubblewrap forks too."""
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return command if b"python" in command[0] else pid
