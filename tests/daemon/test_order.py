"""Order and retries as a daemon goes by them: it sleeps for an hour unless something wakes it."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.daemon import running
from reconciler.daemon.declarations import FolderSource
from reconciler.daemon.running import Endpoints, run_daemon
from reconciler.engine.machine import locked_machine
from tests.at_rest import opened as opened_now
from tests.crash.stand_ins import FAILS, options
from tests.machine import TestMachine
from tests.waiting import until


@pytest.mark.skipif(os.name == "nt", reason="ended by a signal")
@pytest.mark.filterwarnings(  # which may come between an opened file or folder and the statement that closes it
    "ignore:.*(ScandirIterator|FileIO):pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"
)
def test_what_is_released_or_asked_for_is_done_at_once(tmp_path: Path, capitals: Path) -> None:
    machine = TestMachine(folder=tmp_path)
    machine.give_model(capitals)
    fails = machine.manifests.parent / FAILS
    fails.touch()
    machine.declare("draft")
    machine.declare("target", precisions="int8", more="  dependsOn: [draft]\n")

    def meanwhile() -> None:
        until(opened_now(machine).records.failures)
        fails.unlink()
        assert "is tried again" in machine.run("retry", "draft").out
        until(lambda: set(machine.index()) == {"draft-int4:1", "target-int8:1"})

    with (
        locked_machine(str(machine.root), str(machine.cache), command="run") as opened,
        ended_after(meanwhile) as failed,
    ):
        code = run_daemon(opened, FolderSource(str(machine.manifests)), options(), interval=3600, endpoints=Endpoints())
    assert (code, failed) == (0, [])


@contextlib.contextmanager
def ended_after(act: Callable[[], None]) -> Iterator[list[BaseException]]:
    """Does it beside what runs in this thread, and ends that with SIGTERM. Gives what went wrong with it."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - told by the test
            failed.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as long as the daemon does not listen yet
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield failed
    finally:
        thread.join()
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that was told to end sees to it that its process does, which is the tests' own here."""
    monkeypatch.setattr(running, "_give_up", lambda loop: None)
