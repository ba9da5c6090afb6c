"""One writer per root. The operating system keeps the lock, and drops it however the holder dies.

Who holds it is told by a file beside it, written after the lock was won. That file only makes a better
message: it may be stale or missing, and it never blocks anyone. The lock file itself is never deleted: two
processes could then each hold "the" lock, one of them on a file that has no name any more.
Limit: on a network file system the lock is as good as that file system's.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator

from reconciler.core.errors import HostRefused, LockHeld
from reconciler.host import durable
from reconciler.host.clock import now

HINT = "wait until it has finished, or end that process; a lock without a process goes away by itself"
DAEMON_HINT = "it makes a pass at once on `kill -HUP {pid}`; end it before you make one yourself"


@contextlib.contextmanager
def hold(path: str, *, command: str) -> Iterator[None]:
    """Raises LockHeld at once when somebody else has it."""
    durable.make_folder(os.path.dirname(path))
    # Python lets no child inherit it, so an orphan cannot go on holding the lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _acquire(descriptor):
            said = _describe_holder(path)
            raise LockHeld(f"{os.path.dirname(path)} is in use: {said}", hint=_hint(said))
        durable.sweep_temporaries(os.path.dirname(path))
        _tell_holder(path, command)
        try:
            yield
        finally:
            # While we hold the lock: afterwards the file may be another's.
            with contextlib.suppress(FileNotFoundError):
                durable.remove_file(_holder_file(path))
    finally:
        os.close(descriptor)


def holder(path: str) -> str:
    """Who says that it holds the lock, "" if nobody does. Only for a message: asking the operating system would mean
    to take the lock, and to turn somebody away. A holder that was killed has left its word, but has no process."""
    said = _describe_holder(path)
    if os.name == "nt":  # there the question below would end the process
        return said if os.path.exists(_holder_file(path)) else ""
    try:
        os.kill(int(said.partition("pid ")[2].split()[0]), 0)
    except PermissionError:  # it lives, and is another user's
        return said
    except (OSError, ValueError, IndexError):
        return ""
    return said


def _hint(said: str) -> str:
    if not said.endswith("(reconciler run)"):
        return HINT
    return DAEMON_HINT.format(pid=said.partition("pid ")[2].partition(" ")[0])


def _acquire(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # Windows says EACCES
        return False
    return True


def _tell_holder(path: str, command: str) -> None:
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": now()}
    with contextlib.suppress(
        HostRefused, OSError
    ):  # whoever comes to free space must be able to hold the lock
        durable.write_file(_holder_file(path), json.dumps(facts).encode() + b"\n")


def _holder_file(path: str) -> str:
    return path + ".holder"


def _describe_holder(path: str) -> str:
    try:
        with open(_holder_file(path), "rb") as file:
            facts = json.load(file)
        return "held by pid {pid} on {host} since {since} (reconciler {command})".format(**facts)
    except (OSError, ValueError, KeyError, TypeError):  # it has not been written yet, or is gone again
        return "held by another process"
