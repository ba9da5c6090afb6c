"""Guards for every test: nothing reaches the real home, the network, or a git configuration of this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# How long an example takes says something of the machine, and it may be busy: benchmarks are in bench/.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_GIT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
}

_connect = socket.socket.connect


@pytest.fixture(autouse=True)
def guarded(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in [name for name in os.environ if name.startswith(("RECONCILER_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RECONCILER_CONFIG", "")  # what this machine is configured to be is not under test
    monkeypatch.setenv("USERPROFILE", str(home))
    for name, value in _GIT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(Path(__file__).parent.parent)  # whatever another test left; and it is put back
    monkeypatch.setattr(socket.socket, "connect", _only_loopback)


def _only_loopback(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6):
        host = "127.0.0.1" if address[0] == "localhost" else address[0]
        if not ipaddress.ip_address(host).is_loopback:
            raise AssertionError(f"a test tried to reach {address}")
    _connect(self, address)


@pytest.fixture(scope="session")
def capitals() -> Path:
    """The example model of the repository: 0.4 M parameters, committed."""
    return Path(__file__).parent.parent / "examples" / "capitals" / "model"
