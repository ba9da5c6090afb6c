"""The daemon as the unit starts it: its environment, folder, umask and notifications; and with its view of the disk, as
far as bubblewrap can stand in for systemd."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import MODEL, REPOSITORY
from tests.packaging.test_systemd import UNIT, settings
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
BWRAP = shutil.which("bwrap")


class Started:
    """A root for %E and %S, and the process."""

    def __init__(self, folder: Path, capitals: Path) -> None:
        self.folder = folder
        self.configuration = folder / "etc" / "reconciler"
        self.state = folder / "var" / "reconciler"
        (self.configuration / "manifests").mkdir(parents=True)
        shutil.copytree(capitals, self.configuration / "model")
        self.state.mkdir(parents=True)
        self.log = folder / "log"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.setblocking(False)
        self._heard: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    def declare(self) -> None:
        text = MODEL.format(name="capitals", source="../model", precisions="int4", template="chatml", more="")
        (self.configuration / "manifests" / "capitals.yaml").write_text(text)

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        said = settings(UNIT)
        given = dict(self.meant(line).split("=", 1) for line in said["Environment"])
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "reconciler", *said["ExecStart"][0].split()[1:]],
                cwd=self.meant(said["WorkingDirectory"][0]),
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self.state),
                    "PYTHONPATH": str(REPOSITORY),
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "NOTIFY_SOCKET": str(self.folder / "notify"),
                    "WATCHDOG_USEC": "1000000",
                    "RECONCILER_LISTEN": f"unix:{self.folder}/http",  # the port may be another test's
                    **given,
                },
                umask=int(said["UMask"][0], 8),
                stderr=log,
            )
        return self.process

    def meant(self, text: str) -> str:
        return text.replace("%E", str(self.folder / "etc")).replace("%S", str(self.folder / "var"))

    def heard(self, line: str) -> bool:
        return wait_for(lambda: self._listen(line))

    def _listen(self, line: str) -> bool:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._heard += self._socket.recv(4096).decode().splitlines()
        return line in self._heard

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self._socket.close()


@pytest.fixture
def started(tmp_path: Path, capitals: Path) -> Iterator[Started]:
    one = Started(tmp_path, capitals)
    yield one
    one.close()


def test_the_unit_is_all_that_it_needs(started: Started) -> None:
    process = started.start()
    assert started.heard("READY=1"), started.log.read_text()
    assert started.heard("WATCHDOG=1")
    process.send_signal(signal.SIGHUP)
    assert started.heard("RELOADING=1")
    process.send_signal(signal.SIGTERM)
    assert started.heard("STOPPING=1")
    assert process.wait(PATIENCE) == 0  # no failure: it is not started again
    assert (started.state / "root").stat().st_mode & 0o777 == 0o750


def test_without_manifests_it_says_so_and_is_not_started_again(started: Started) -> None:
    (started.configuration / "manifests").rmdir()
    assert str(started.start().wait(PATIENCE)) == settings(UNIT)["RestartPreventExitStatus"][0]
    assert "hint:" in started.log.read_text()


@pytest.mark.slow
@pytest.mark.skipif(BWRAP is None, reason="bubblewrap is not installed")
def test_a_model_is_converted_and_served_where_only_the_state_may_be_written(started: Started) -> None:
    """ProtectSystem=strict, PrivateTmp, PrivateDevices, PrivateIPC, an empty capability set."""
    assert BWRAP is not None
    started.declare()
    state, notify = str(started.state), str(started.folder / "notify")
    view = [
        "--ro-bind",
        "/",
        "/",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
        "--bind",
        state,
        state,
        "--setenv",
        "RECONCILER_LISTEN",
        "off",
    ]
    process = started.start(
        BWRAP, *view, "--bind", notify, notify, "--unshare-ipc", "--cap-drop", "ALL", "--die-with-parent", "--"
    )  # fmt: skip
    served = started.state / "root" / "served" / "capitals-int4" / "1" / "model.onnx"
    index = started.state / "foundry" / "foundry.local.modelinfo.json"
    there = wait_for(lambda: index.exists() and "capitals-int4" in index.read_text(), 4 * PATIENCE)
    assert there, started.log.read_text()
    assert served.is_file()
    assert process.poll() is None
