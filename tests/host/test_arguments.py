"""What stands in the arguments of our children: a git that writes down how it was called stands before the real one,
and the kernel is asked what was started below a command. And the watch of tests/canaries.py, on leaks that we make."""

import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import canaries
from tests.canaries import MARK
from tests.git_server import Repository, Server, certificate
from tests.machine import TestMachine
from tests.trust import record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script in the place of git")

SCRIPT = """#!/bin/sh
printf '%s\\n' "$*" >> "$(dirname "$0")/calls"
exec {git} "$@"
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(SCRIPT.format(git=shutil.which("git")))
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "calls"


@pytest.fixture
def server(tmp_path: Path, capitals: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    fleet = Repository(tmp_path / "fleet")
    shutil.copytree(capitals, fleet.folder / "model")
    fleet.model("one")
    fleet.commit()
    held = certificate(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(held))
    return Server(tmp_path, held, "x-access-token", canaries.ENVIRONMENT["RECONCILER_GIT_TOKEN"])


def test_no_git_is_told_the_token_by_its_arguments(tmp_path: Path, server: Server, calls: Path) -> None:
    canaries.file(tmp_path / "token", "git")
    machine = TestMachine(folder=tmp_path)
    repository = ("--repo", f"{server.url}/fleet/.git")
    with server.running():
        file = machine.run(
            "plan", *repository, "--token-file", str(tmp_path / "token"), "--verbose", RECONCILER_GIT_TOKEN=""
        )
        variable = machine.run("plan", *repository, "-o", "json")
        wrong = {"RECONCILER_GIT_TOKEN": f"x{MARK}", "RECONCILER_ROOT": str(tmp_path / "r")}
        refused = machine.run("plan", *repository, **wrong)
    assert (file.code, variable.code) == (0, 0), file.err + variable.err
    assert refused.code == 1
    called = calls.read_text()
    assert "ls-remote" in called
    assert "fetch" in called
    assert MARK not in called
    for done in (file, variable, refused):
        assert MARK not in done.out + done.err
    record("secrets", "no argument of git holds its token", part="git")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_that_is_started_below_a_command_has_a_secret_in_its_arguments(tmp_path: Path, server: Server) -> None:
    """execve as the kernel saw it, with the environment."""
    machine, trace = TestMachine(folder=tmp_path), tmp_path / "trace"
    strace = ["strace", "-f", "-v", "-s", "65536", "-e", "trace=execve", "-o", str(trace)]
    command = [*strace, sys.executable, "-m", "reconciler", "plan", "--repo", f"{server.url}/fleet/.git"]
    with server.running():
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | machine.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    if "not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    started = re.findall(r'execve\("([^"]*)", (\[.*?\]), (\[.*\])', trace.read_text())
    trace.unlink()  # it holds what we were given
    below = [one for one in started if "reconciler" not in one[1]]
    assert len(below) > 3
    assert [arguments for _, arguments, _ in started if MARK in arguments] == []
    ours = [given for _, arguments, given in below if "--git-dir" in arguments]
    assert ours
    assert [given for given in ours if canaries.ENVIRONMENT["HF_TOKEN"] in given] == []  # not git's to know
    record("secrets", f"no secret in the arguments of {len(started)} programs", part="execve")


def test_what_is_looked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "leaks", [])
    folder = tmp_path / "watched"
    folder.mkdir()
    canaries.file(folder / "token", "by-right")
    (folder / "log").write_text(f"x {canaries.secret('log')} y")
    (folder / "header").write_bytes(b"Basic " + canaries.base64.b64encode(f"user:x-{MARK}-".encode()))
    (folder / "bundle.gz").write_bytes(gzip.compress(MARK.encode()))
    (folder / "weights").write_bytes(b"w" * 100_000)
    os.mkfifo(folder / "pipe")
    os.link(folder / "log", folder / "the-same")
    canaries.look_into(folder)
    assert sorted(canaries.leaks)[:2] == ["a canary stands in bundle.gz", "a canary stands in header"]
    assert len(canaries.leaks) == 3
    canaries.leaks.clear()
    canaries.printed(f"error: {canaries.ENVIRONMENT['HF_TOKEN']}", "plan")
    canaries._started("subprocess.Popen", ("git", ["git", f"https://x:{MARK}@h/"], None, None))
    assert canaries.leaks == ["a canary was printed: plan", "a canary is an argument of: git"]
    for path in ("log", "header", "bundle.gz"):
        (folder / path).unlink()
    (folder / "the-same").unlink()


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(3))
def test_base64_does_not_hide_it(before: int, after: int) -> None:
    assert canaries.holds(canaries.base64.b64encode(b"q" * before + MARK.encode() + b"z" * after))
