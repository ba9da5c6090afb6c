"""What `host.system` promises, on the system that this is: `make test-windows` runs it under Windows, too."""

import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconciler.host import durable, system
from tests.posix import ON_WINDOWS

CHECKOUT = str(Path(__file__).parents[2])


def test_a_file_that_somebody_reads_for_a_moment_is_replaced_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(b"old")
    for action in (lambda: durable.write_file(str(path), b"new"), lambda: durable.remove_file(str(path))):
        reader = path.open("rb")
        threading.Timer(0.2, reader.close).start()
        action()
    assert not path.exists()


def test_a_folder_with_files_that_are_read_only_is_removed(tmp_path: Path) -> None:
    """As git makes its packs."""
    folder = tmp_path / "reports.git"
    (folder / "objects").mkdir(parents=True)
    pack = folder / "objects" / "a.pack"
    pack.touch()
    pack.chmod(0o444)
    system.remove_tree(str(folder))
    assert not folder.exists()


@pytest.mark.skipif(not ON_WINDOWS, reason="elsewhere nothing is refused because a file is open")
def test_one_that_somebody_goes_on_reading_is_refused_as_in_use_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_bytes(b"old")
    with path.open("rb"):
        with pytest.raises(PermissionError) as refused:
            durable.write_file(str(path), b"new")
        assert system.in_use(refused.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["record"]


def test_a_sealed_file_can_be_replaced_and_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "sealed")
    durable.write_file(path, b"old", mode=0o444)
    durable.write_file(path, b"new", mode=0o444)
    assert Path(path).read_bytes() == b"new"
    assert not Path(path).stat().st_mode & 0o222
    durable.remove_file(path)
    assert os.listdir(tmp_path) == []


def test_the_processors_are_called_as_python_calls_them() -> None:
    assert system.machine() == platform.machine()


_PROGRAM = """
import signal, sys, threading, time
from reconciler.host import system
def end(number, frame):
    sys.exit(0 if number in system.STOPPING else 128 + number)
for number in system.ENDING:
    signal.signal(number, end)
system.hear_shutdown(60)
{send}
while True:
    time.sleep(0.05)
"""
# As Windows calls it: in a thread of its own; 2 is a closed window, 6 a shutdown.
_EVENT = (
    "from reconciler.host.system import windows; "
    "threading.Thread(target=windows._handlers[-1], args=({},), daemon=True).start()"
)
_RAISED = "signal.raise_signal(signal.{})"
ENDINGS = {"SIGTERM": (_RAISED.format("SIGTERM"), 0), "Ctrl-C": (_RAISED.format("SIGINT"), 128 + signal.SIGINT)}
if ON_WINDOWS:
    ENDINGS["Ctrl-Break"] = (_RAISED.format("SIGBREAK"), 0)
    ENDINGS |= {"a closed window": (_EVENT.format(2), 0), "a shutdown": (_EVENT.format(6), 0)}
    ENDINGS["a user who logs off"] = (_EVENT.format(5) + "; time.sleep(1); sys.exit(7)", 7)  # it goes on


@pytest.mark.parametrize(("send", "code"), ENDINGS.values(), ids=ENDINGS)
def test_what_a_manager_or_a_shutdown_sends_is_heard_and_told_from_what_a_person_types(send: str, code: int) -> None:
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    done = subprocess.run([sys.executable, "-c", _PROGRAM.format(send=send)], env=environment, check=False)
    assert done.returncode == code
