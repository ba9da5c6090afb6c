"""A child process that answers calls: one JSON document a line, over its standard input and output.

    with Child(module="reconciler.backends.foundry.worker", environment=..., log=..., directory=...) as child:
        child.call("load", {"id": "x:1"}, timeout=30.0)

Native code may crash, hang or print anything; so it lives here, in a process group of its own, with a time
limit on every call and its standard error in a log; `wrap` puts its command into a cage (`host.cage`). No call
is left half done: whatever interrupts one kills the whole group and all that descends from it, so a late reply
can never answer the next question. One call at a time; `kill` may come from any thread.
Limit: the log is not capped.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from reconciler.domain.errors import ReconcilerError
from reconciler.host import durable, processes, system
from reconciler.host.child_side import LINE_LIMIT, PARENT_VARIABLE
from reconciler.host.places import IMPORT_ROOT

Json = dict[str, Any]

FIRST_PROCESS = 1
_KILLED = 128  # an exit code beyond it names the signal that ended what a wrapper ran
LAST_WORDS = 1.0  # seconds for the thread that reads to take what a dead child has written
ENDING = 10.0  # seconds from the end of its replies to its own: a core may be written
TAIL_BYTES = 4096
TAIL_LINES = 12

# Linux sends the parent-death signal when the *thread* that started the child ends. This one outlives them all.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="start-child")


class ChildError(ReconcilerError):
    """The caller decides what it means for the work: only it knows whether trying again can help."""


class ChildFailed(ChildError):
    """A handler raised. The child lives on. `kind` is its error code or the name of the exception."""

    code = "ChildFailed"

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class ChildDied(ChildError): ...


class ChildTimedOut(ChildError): ...


class ChildSilent(ChildTimedOut):
    """It sent neither an event nor its reply for too long."""


class Child(contextlib.AbstractContextManager["Child"]):
    """Started at once; a module that cannot run says so in the first call. `environment` is all it gets."""

    def __init__(
        self,
        *,
        module: str,
        environment: Mapping[str, str],
        log: str,
        directory: str,
        wrap: Callable[[list[str]], list[str]] | None = None,
    ) -> None:
        self.module = module
        self.log = log
        self._wrap = wrap
        self._ending = ""  # how it ended, once it has
        self._error: type[ChildError] = ChildDied
        self._calling = threading.Lock()
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        with durable.full_disk_named(log), open(log, "ab") as log_file:
            self._log_start = log_file.tell()
            self._process = _starter.submit(_start, module, environment, log_file, directory, wrap).result()
        self._group = system.Group(self._process)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(
        self,
        method: str,
        parameters: Json,
        *,
        timeout: float,
        on_event: Callable[[Json], None] = lambda event: None,
        silence: float | None = None,
    ) -> Json:
        """The handler's result, within `timeout` seconds and with no `silence` longer than that. Raises ChildFailed; or
        ChildDied or ChildTimedOut, and then it is over."""
        request = json.dumps({"method": method, "parameters": parameters}, allow_nan=False).encode() + b"\n"
        with self._calling:
            ending = f"no answer to {method} within {timeout:g} s"
            limit = threading.Timer(timeout, self._expire, [ChildTimedOut, ending])
            limit.daemon = True
            limit.start()
            try:
                self._send(request)
                reply = self._reply(on_event, silence)
            except BaseException:  # also Ctrl-C and a failing on_event: see above
                self.kill()
                raise
            finally:
                limit.cancel()
        if "error" in reply:
            raise ChildFailed(reply["error"]["kind"], reply["error"]["message"])
        result: Json = reply["result"]
        return result

    def kill(self) -> None:
        """End it and all it started, now."""
        self._end("stopped by us")

    def close(self, timeout: float = 5.0) -> None:
        """Let it end by itself; after `timeout` seconds end it."""
        _close_quietly(self._process.stdin)
        self._wait(timeout)
        self.kill()  # also what it left behind
        self._reader.join(timeout=1.0)
        if not self._reader.is_alive():
            _close_quietly(self._process.stdout)

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, request: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except (OSError, ValueError):  # a broken pipe, or one that close() has closed
            if self._ending:
                raise self._death() from None
            # It ended by itself. What it wrote before that, which `_reply` reads, says more than its exit code.

    def _reply(self, on_event: Callable[[Json], None], silence: float | None) -> Json:
        while line := self._next_line(silence):
            message = _decode(line)
            if message is None:
                self._end("what it wrote is no reply")
                break
            if "event" not in message:
                return message
            on_event(message["event"])
            if "waits" in message:
                self._send(b"{}\n")
        raise self._death()

    def _next_line(self, silence: float | None) -> bytes:
        asked = time.monotonic()
        while True:
            try:
                return self._lines.get(timeout=1.0)
            except queue.Empty:
                if silence is not None and time.monotonic() - asked > silence:
                    self._expire(ChildSilent, f"nothing came for {silence:g} s")
                # A grandchild may hold the pipe open after the child's death: then the end of the replies
                # never comes.
                if self._process.poll() is not None:
                    self._reader.join(LAST_WORDS)
                    if self._lines.empty():
                        return b""

    def _read(self) -> None:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline(LINE_LIMIT):
            self._lines.put(line)
        self._lines.put(b"")

    def _expire(self, error: type[ChildError], ending: str) -> None:
        self._error = error
        self._end(ending)

    def _end(self, ending: str) -> None:
        self._ending = self._ending or ending
        self._kill_group()
        self._process.wait()

    def _kill_group(self) -> None:
        if self._process.poll() is None:  # else its number may be another process's
            processes.end(self._process.pid)  # also who has left the group
        self._group.end()

    def _wait(self, timeout: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def _death(self) -> ChildError:
        self._wait(ENDING)  # it may have closed its pipes a moment before it ends by itself
        code = self._process.returncode
        if self._wrap is not None and code is not None and code > _KILLED:
            code = _KILLED - code
        self._end("closed its replies and went on" if code is None else _describe_exit(code))
        tail = self._log_tail()
        ending = self._ending + (_uncaught(tail) if code == 1 else "")
        message = "\n".join([f"{self.module}: {ending}", *tail])
        return self._error(message, hint=f"the whole log is {self.log}")

    def _log_tail(self) -> list[str]:
        try:
            with open(self.log, "rb") as log:
                log.seek(max(self._log_start, os.fstat(log.fileno()).st_size - TAIL_BYTES))
                return log.read(TAIL_BYTES).decode(errors="replace").splitlines()[-TAIL_LINES:]
        except OSError:
            return []


def _start(
    module: str,
    environment: Mapping[str, str],
    log: IO[bytes],
    directory: str,
    wrap: Callable[[list[str]], list[str]] | None,
) -> subprocess.Popen[bytes]:
    python, needed = system.interpreter()
    # -P: nothing in the working directory is ever imported. The others are in the environment, too, which an isolated
    # Python (that of the portable zip) does not read.
    command = [python, "-P", "-u", "-X", "utf8", "-m", module]
    wrapped = command if wrap is None else wrap(command)
    # In a process namespace the parent is its first process, which dies with the process that started it.
    parent = os.getpid() if wrapped == command else FIRST_PROCESS
    return subprocess.Popen(
        wrapped,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=directory,
        env={**_import_path(), **environment, **needed, PARENT_VARIABLE: str(parent)},
        **system.NEW_GROUP,
    )


def _import_path() -> dict[str, str]:
    """A checkout must be named to the child. An installed package must not: PYTHONPATH goes before Python's
    own library, and site-packages there could shadow it."""
    return {} if os.path.basename(IMPORT_ROOT) == "site-packages" else {"PYTHONPATH": IMPORT_ROOT}


def _decode(line: bytes) -> Json | None:
    """None for anything that is no message of ours, also a line longer than the limit."""
    try:
        message = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    ours = isinstance(message, dict) and message.keys() & {"event", "result", "error"}
    return message if ours else None


def _uncaught(log: list[str]) -> str:
    """The exception of the traceback with which a log ends, so that the first line of a message names what failed."""
    return f": {log[-1]}" if "Traceback (most recent call last):" in log and not log[-1].startswith(" ") else ""


def _describe_exit(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = str(-returncode)
    return f"killed by signal {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _close_quietly(pipe: IO[bytes] | None) -> None:
    with contextlib.suppress(OSError):  # flushing into a broken pipe
        if pipe is not None:
            pipe.close()
