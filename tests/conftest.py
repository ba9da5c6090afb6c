"""Guards for every test: nothing reaches the real home, the network, or a git configuration of this machine."""

import gc
import ipaddress
import itertools
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest

from tests import canaries
from tests.browser import browser
from tests.machine import TestMachine
from tests.trust import FULL, NIGHTLY

__all__ = ["browser"]

# How long an example takes says something of the machine, and it may be busy: benchmarks are in bench/.
hypothesis.settings.register_profile("untimed", deadline=None, max_examples=1000 if NIGHTLY else 100 if FULL else 25)
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

# Models of tests are so small that a second thread costs more than it does, and there is a test process for each core.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Files of tests are flushed to disk thousands of times, which is a third of the time of many. Where there is memory for
# what a whole run leaves (some 2 GiB) they lie there; RECONCILER_TEST_DISK=1: on disk.
ROOT_OF_TEMPORARY = "PYTEST_DEBUG_TEMPROOT"
IN_MEMORY = Path("/dev/shm")
ENOUGH = 6 << 30  # bytes


def _has_room_in_memory() -> bool:
    try:
        kind = os.statvfs(IN_MEMORY)
    except (AttributeError, OSError):
        return False
    runs_programs = not kind.f_flag & os.ST_NOEXEC  # tests write some
    free = min(kind.f_bavail * kind.f_frsize, psutil.virtual_memory().available)
    return runs_programs and free > ENOUGH and os.access(IN_MEMORY, os.W_OK)


if not os.environ.get("RECONCILER_TEST_DISK") and _has_room_in_memory():
    os.environ.setdefault(ROOT_OF_TEMPORARY, str(IN_MEMORY))

_connect = socket.socket.connect
_numbers = itertools.count()

# Started in the background of a script, a process ignores Ctrl-C, and so do its children, which tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was collected stays to the end, so collections of garbage pass it by: a tenth of the time of most tests.
    What tests start in this process is forked, where that says the same (tests/forked.py)."""
    gc.freeze()
    if "reconciler.host.child" in sys.modules and hasattr(os, "memfd_create"):
        from reconciler.host import child
        from tests import forked

        child._start = forked.start_worker


def _folder_of_its_own(factory: pytest.TempPathFactory, name: str) -> Path:
    """As `factory` makes them; it would look through all that it made before for the next number of each name, which
    after thousands of tests takes longer than most of them."""
    return factory.mktemp(f"{name}{next(_numbers)}", numbered=False)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place of pytest's own."""
    return _folder_of_its_own(tmp_path_factory, re.sub(r"\W", "_", request.node.name)[:30])


@pytest.fixture(autouse=True)
def guarded(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = _folder_of_its_own(tmp_path_factory, "home")
    for name in [name for name in os.environ if name.startswith(("RECONCILER_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RECONCILER_CONFIG", "")  # what this machine is configured to be is not under test
    monkeypatch.setenv("USERPROFILE", str(home))
    for name, value in (_GIT | canaries.ENVIRONMENT).items():
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


@pytest.fixture
def machine(tmp_path: Path, capitals: Path) -> TestMachine:
    """Serves the example model at int4."""
    from tests.at_rest import serve  # loads the program, which few tests of a run may need

    one = TestMachine(folder=tmp_path)
    one.give_model(capitals)
    one.declare()
    serve(one)
    return one


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_written_down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The last of a session: what fails here is of any test in it, and the message says where it stands."""
    os.environ.update(canaries.ENVIRONMENT)  # what is made for a module or a session is made before `guarded`
    with canaries.watched_processes():
        yield
    canaries.look_into(tmp_path_factory.getbasetemp())
    canaries.tell()
    assert not canaries.leaks, "\n".join(canaries.leaks)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """What lies in memory does not stay there, unless somebody will look for what failed."""
    folder = session.config._tmp_path_factory._basetemp  # type: ignore[attr-defined]
    if folder and exitstatus == 0 and not hasattr(session.config, "workerinput") and IN_MEMORY in folder.parents:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    for name, text in report.sections:
        canaries.printed(text, f"{name} of {item.nodeid}")
    return report
