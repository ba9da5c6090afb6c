"""One writer per root. The operating system keeps the lock, and drops it however the holder dies.

A file beside it names the holder, written after the lock was won. That file only makes a better
message: it may be stale or missing, and blocks no process. The lock file itself is never deleted: two
processes could then each hold "the" lock, one of them on a file that has no name any more.
Limit: on a network file system the lock is as good as that file system's.
"""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.domain.errors import HostRefused, LockHeld
from reconciler.host import durable, processes, system
from reconciler.host.clock import now

HINT = "wait until it has finished, or end that process; a lock without a process goes away by itself"
DAEMON_HINT = "it makes a pass when something changes; end it before you make one yourself"
SIGNAL_HINT = "it makes a pass at once on `kill -HUP {pid}`; end it before you make one yourself"


@contextlib.contextmanager
def hold(path: str, *, command: str) -> Iterator[None]:
    """Raises LockHeld at once when another process has it."""
    durable.make_folder(os.path.dirname(path))
    # Python lets no child inherit it, so an orphan cannot go on holding the lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not system.try_lock(descriptor):  # guard: one writer
            written = _read_holder(path)
            words = written or "held by another process"
            raise LockHeld(f"{os.path.dirname(path)} is in use: {words}", hint=_hint(written))
        durable.sweep_temporaries(os.path.dirname(path))
        _write_holder(path, command)
        try:
            yield
        finally:
            _remove_holder(path)  # while we hold the lock: afterwards the file may be another's
    finally:
        os.close(descriptor)


@dataclass(frozen=True, kw_only=True)
class Holder:
    pid: int
    host: str
    command: str
    since: str

    def __str__(self) -> str:
        return f"held by pid {self.pid} on {self.host} since {self.since} (reconciler {self.command})"


def holder(path: str) -> Holder | None:
    """The process that holds the lock, as it wrote itself. Only for a message: to be sure one would have to take the
    lock, and turn another away. A holder that was killed has left its file, but no process, or one that only waits to
    be reaped: that holds nothing any more."""
    written = _read_holder(path)
    # guard: a killed holder that is not reaped yet holds nothing
    return written if written is not None and processes.runs(written.pid) else None


def _hint(written: Holder | None) -> str:
    if written is None or written.command != "run":
        return HINT
    return DAEMON_HINT if system.WAKING is None else SIGNAL_HINT.format(pid=written.pid)


def _write_holder(path: str, command: str) -> None:
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": now()}
    with contextlib.suppress(HostRefused, OSError):  # a process that frees space must be able to hold the lock
        durable.write_file(_holder_file(path), json.dumps(facts).encode() + b"\n")


def _remove_holder(path: str) -> None:
    """Somebody who reads it at this moment keeps it on Windows. It does no harm: the next holder writes its own."""
    try:
        durable.remove_file(_holder_file(path))
    except OSError as error:
        if not isinstance(error, FileNotFoundError) and not system.in_use(error):
            raise


def _holder_file(path: str) -> str:
    return path + ".holder"


def _read_holder(path: str) -> Holder | None:
    try:
        with open(_holder_file(path), "rb") as file:
            facts = json.load(file)
        return Holder(
            pid=int(facts["pid"]), host=str(facts["host"]), command=str(facts["command"]), since=str(facts["since"])
        )
    except (OSError, ValueError, KeyError, TypeError):  # it has not been written yet, or is gone again
        return None
