"""A job in a process of its own: forked from the worker, so that it finds everything imported (0.4 s instead of 10),
and so that its memory, its hangs and its death stay its own.

Before it reads a foreign byte it gives up what it does not need (`host.confine`, and Landlock where there is one). Its
output goes through a pipe towards the attempt's log, which ends at a limit: a converter may print without end. Its
answer comes through another one. Nobody waits for a job: it is asked now and then how far it is.
"""

import base64
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from reconciler.conversion.order import DISK_LIMIT, Order
from reconciler.conversion.progress import Progress
from reconciler.conversion.worker.guard import Guarded
from reconciler.domain.errors import ConversionFailed, ConverterLost, ReconcilerError
from reconciler.host import confine, landlock, process_tree
from reconciler.host.cage import DEVICES, SYSTEM
from reconciler.host.child_side import MESSAGE_LIMIT

Work = Callable[[Order], dict[str, Any] | None]

LOG_LIMIT = 4 << 20  # bytes
ANSWER_LIMIT = 1 << 20  # bytes; MESSAGE_LIMIT characters of it may be escaped
READ_AT_ONCE = 1 << 16
READS_A_POLL = 64  # a job that prints without end must not keep us from its time limit


class Running(Guarded):
    """One forked job."""

    def __init__(self, order: Order, work: Work) -> None:
        self._unsaid = bytearray()
        self._said = 0
        self._progress = Progress(order.source)
        self._answer = b""
        printed, to_print = os.pipe()
        answered, to_answer = os.pipe()
        sys.stdout.flush()  # or the job would print it again
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _be_the_job(order, work, to_print, to_answer)
        super().__init__(pid, order.scratch, order.bounds)
        os.close(to_print)
        os.close(to_answer)
        self._pipes = {printed: self._take_output, answered: self._take_answer}
        for pipe in self._pipes:
            os.set_blocking(pipe, False)

    def poll(self) -> dict[str, Any]:
        """{"fraction", "text"} while it works; then {"ended": {"peak_memory_bytes"}} or {"ended": {"error": ...}}; each
        with {"output"} for the log, in base 64."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)  # before the pipes: what it wrote before its end is in them
        self._drain()
        if not pid:
            return {"fraction": self._progress.fraction, "text": self._progress.text} | self._output()
        self._close()
        scale = 1 if sys.platform == "darwin" else 1024
        ended = {"peak_memory_bytes": usage.ru_maxrss * scale} | self._verdict(status)
        return {"ended": ended} | self._output()

    def kill(self) -> dict[str, Any]:
        """Its last words."""
        try:
            process_tree.end(self.pid)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):  # it has ended and was waited for
            return {}
        self._drain()
        self._close()
        return self._output()

    def _output(self) -> dict[str, str]:
        said = base64.b64encode(self._unsaid).decode()
        self._unsaid.clear()
        return {"output": said} if said else {}

    def _verdict(self, status: int) -> dict[str, Any]:
        if self.breach is not None:
            return {"error": {"code": self.breach.code, "message": f"the converter was ended: {self.breach.message}"}}
        try:
            verdict: dict[str, Any] = json.loads(self._answer)
            return verdict
        except ValueError:
            return {"error": {"code": _code(status), "message": f"the converter {_ending(status)}"}}

    def _drain(self) -> None:
        for pipe, take in self._pipes.items():
            with suppress(BlockingIOError):
                for _ in range(READS_A_POLL):
                    take(os.read(pipe, READ_AT_ONCE))

    def _take_output(self, data: bytes) -> None:
        self._progress.read(data)
        room = LOG_LIMIT - self._said
        self._unsaid += data[: max(0, room)]
        self._said += len(data)
        if 0 < room <= len(data):
            self._unsaid += b"\n... the rest is not kept\n"

    def _take_answer(self, data: bytes) -> None:
        self._answer += data[: max(0, ANSWER_LIMIT - len(self._answer))]

    def _close(self) -> None:
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes = {}


def _code(status: int) -> str:
    """A crash is the converter's own doing and comes again. Somebody else kills, the kernel without memory first."""
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
    return ConverterLost.code if killed else ConversionFailed.code


def _ending(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"ended with exit code {os.waitstatus_to_exitcode(status)} and no answer"
    number = os.WTERMSIG(status)
    return f"was killed by {signal.Signals(number).name}" + (" (out of memory?)" if number == signal.SIGKILL else "")


def _be_the_job(order: Order, work: Work, to_print: int, to_answer: int) -> NoReturn:
    """Never returns into the worker's own loop, whatever happens."""
    code = 1
    try:
        _die_with_the_worker()
        os.dup2(to_print, 1)
        os.dup2(to_print, 2)
        confine.forget_open_files(to_answer)  # the worker's own answers, and the pipes of other jobs
        answer = answer_of(order, lambda order: _confined(order, work))
        with os.fdopen(to_answer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _confined(order: Order, work: Work) -> dict[str, Any] | None:
    bounds = order.bounds
    confine.die_first()
    confine.stay_private()
    if bounds.disk_bytes:
        confine.limit_files(bounds.disk_bytes)
    os.environ.update(dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), order.scratch))
    if bounds.readable:
        landlock.restrict(readable=(*SYSTEM, "/proc", *bounds.readable), writable=(order.scratch,), devices=DEVICES)
    confine.drop_privileges(read_all=True)
    try:
        return work(order)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise ConversionFailed(
                f"it wrote a file of more than {bounds.disk_bytes} bytes", code=DISK_LIMIT
            ) from error
        raise


def answer_of(order: Order, work: Work) -> dict[str, Any]:
    try:
        return work(order) or {}
    except BaseException as error:  # noqa: BLE001 - it must reach the other side, whatever it is
        traceback.print_exc()
        code = error.code if isinstance(error, ReconcilerError) else "ConversionFailed"
        hint = error.hint if isinstance(error, ReconcilerError) else ""
        return {"error": {"code": code, "message": str(error)[:MESSAGE_LIMIT] or type(error).__name__, "hint": hint}}


def _die_with_the_worker() -> None:
    """Elsewhere than on Linux the worker's whole process group is killed, and that is us too."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
