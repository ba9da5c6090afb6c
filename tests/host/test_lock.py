"""The lock between real processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from reconciler.domain.errors import LockHeld
from reconciler.host import lock
from reconciler.host.lock import hold
from tests.posix import ON_WINDOWS
from tests.waiting import is_alive, until

ROUNDS = 5 if ON_WINDOWS else 20
CHECKOUT = str(Path(__file__).parents[2])

_HOLDER = """
import sys, time
from reconciler.host.lock import hold
with hold(sys.argv[1], command="apply"):
    print("held", flush=True)
    sys.stdin.read()
"""

_COUNTER = """
import sys, time
from reconciler.domain.errors import LockHeld
from reconciler.host.lock import hold
done = 0
while done < int(sys.argv[3]):
    try:
        with hold(sys.argv[1], command="apply"):
            number = int(open(sys.argv[2]).read())
            open(sys.argv[2], "w").write(str(number + 1))
            done += 1
    except LockHeld:
        pass
"""


def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", program, *arguments]
    environment = {**os.environ, "PYTHONPATH": CHECKOUT}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def started_holder(path: str) -> subprocess.Popen[bytes]:
    holder = start(_HOLDER, path)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == b"held"
    return holder


def test_the_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "root with space" / "lock")
    with started_holder(path) as holder:
        with pytest.raises(LockHeld) as refusal, hold(path, command="plan"):
            pass
        said = str(refusal.value)
        assert f"held by pid {holder.pid} on {socket.gethostname()} since 20" in said
        assert said.endswith("(reconciler apply)")
        assert refusal.value.hint
        holder.communicate()
    with hold(path, command="plan"):
        pass


def test_a_killed_holder_blocks_nobody(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with started_holder(path) as holder:
        holder.kill()
    assert (tmp_path / "lock.holder").exists()
    with hold(path, command="apply"):
        assert str(os.getpid()) in (tmp_path / "lock.holder").read_text()
    assert not (tmp_path / "lock.holder").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells of zombies")
def test_a_killed_holder_that_nobody_has_waited_for_counts_no_more(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with started_holder(path) as killed:
        assert (told := lock.holder(path))
        assert told.pid == killed.pid
        killed.kill()
        until(lambda: not is_alive(killed.pid))
        os.kill(killed.pid, 0)  # it has a process yet
        assert lock.holder(path) is None


def test_a_child_of_a_killed_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    program = _HOLDER.replace(
        'print("held"',
        "import subprocess; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "print(child.pid); print('held'",
    )
    with start(program, path) as holder:
        assert holder.stdout is not None
        orphan = int(holder.stdout.readline())
        holder.stdout.readline()
        holder.kill()
        holder.wait()
        try:
            with hold(path, command="apply"):
                pass
        finally:
            psutil.Process(orphan).kill()


def test_whatever_stands_in_the_holder_file_the_message_is_only_less_exact(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with started_holder(path) as holder:
        for facts in (b"", b"{", b"[]", b"{}", b"\xff", b'{"pid": 1}'):
            (tmp_path / "lock.holder").write_bytes(facts)
            with pytest.raises(LockHeld, match="held by another process"), hold(path, command="plan"):
                pass
        holder.communicate()


def test_a_stale_holder_file_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / "lock.holder").write_text('{"pid": 1, "host": "x", "command": "apply", "since": "then"}')
    with hold(str(tmp_path / "lock"), command="apply"):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with pytest.raises(RuntimeError), hold(path, command="apply"):
        raise RuntimeError
    with hold(path, command="apply"):
        pass


def test_two_processes_never_hold_it_at_once(tmp_path: Path) -> None:
    path, counter = str(tmp_path / "lock"), tmp_path / "counter"
    counter.write_text("0")
    processes = [start(_COUNTER, path, str(counter), str(ROUNDS)) for _ in range(3)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert counter.read_text() == str(3 * ROUNDS)
