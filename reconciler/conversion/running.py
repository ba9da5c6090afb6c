"""A job in a process of its own: forked from the worker, so that it finds everything imported (0.4 s instead of 10),
and so that its memory, its hangs and its death stay its own.

Its output goes through a pipe into the attempt's log, which ends at a limit: a converter may print without end. Its
answer comes through another one. Nobody waits for a job: it is asked now and then how far it is.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from reconciler.conversion.order import Order
from reconciler.conversion.progress import Progress
from reconciler.core.errors import ConversionFailed, ConverterLost, ReconcilerError

Work = Callable[[Order], dict[str, Any] | None]

LOG_LIMIT = 4 << 20  # bytes
READ_AT_ONCE = 1 << 16
READS_A_POLL = 64  # a job that prints without end must not keep us from its time limit


class Running:
    """One forked job."""

    def __init__(self, order: Order, work: Work) -> None:
        self._log = open(order.log, "ab")  # noqa: SIM115 - closed with the job
        self._progress = Progress(order.source)
        self._answer = b""
        printed, to_print = os.pipe()
        answered, to_answer = os.pipe()
        sys.stdout.flush()  # or the job would print it again
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_job(order, work, to_print, to_answer)
        os.close(to_print)
        os.close(to_answer)
        self._pipes = {printed: self._take_output, answered: self._take_answer}
        for pipe in self._pipes:
            os.set_blocking(pipe, False)

    def poll(self) -> dict[str, Any]:
        """{"fraction", "text"} while it works; then {"ended": {"peak_memory_bytes"}} or {"ended": {"error": ...}}."""
        pid, status, usage = os.wait4(
            self.pid, os.WNOHANG
        )  # before the pipes: what it wrote before its end is in them
        self._drain()
        if not pid:
            return {"fraction": self._progress.fraction, "text": self._progress.text}
        self._close()
        scale = 1 if sys.platform == "darwin" else 1024
        return {"ended": {"peak_memory_bytes": usage.ru_maxrss * scale} | self._verdict(status)}

    def kill(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):  # it has ended and was waited for
            return
        self._drain()
        self._close()

    def _verdict(self, status: int) -> dict[str, Any]:
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
        room = LOG_LIMIT - self._log.tell()
        self._log.write(data[: max(0, room)])
        if 0 < room <= len(data):
            self._log.write(b"\n... the rest is not kept\n")
        self._log.flush()

    def _take_answer(self, data: bytes) -> None:
        self._answer += data

    def _close(self) -> None:
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes = {}
        self._log.close()


def _code(status: int) -> str:
    """A crash is the converter's own doing and comes again. Somebody else kills, the kernel without memory first."""
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
    return ConverterLost.code if killed else ConversionFailed.code


def _ending(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return f"ended with exit code {os.waitstatus_to_exitcode(status)} and no answer"
    number = os.WTERMSIG(status)
    return f"was killed by {signal.Signals(number).name}" + (
        " (out of memory?)" if number == signal.SIGKILL else ""
    )


def _be_the_job(order: Order, work: Work, to_print: int, to_answer: int) -> NoReturn:
    """Never returns into the worker's own loop, whatever happens."""
    code = 1
    try:
        _die_with_the_worker()
        os.dup2(to_print, 1)
        os.dup2(to_print, 2)
        answer = answer_of(order, work)
        with os.fdopen(to_answer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answer_of(order: Order, work: Work) -> dict[str, Any]:
    try:
        return work(order) or {}
    except BaseException as error:  # noqa: BLE001 - it must reach the other side, whatever it is
        traceback.print_exc()
        code = error.code if isinstance(error, ReconcilerError) else "ConversionFailed"
        hint = error.hint if isinstance(error, ReconcilerError) else ""
        return {"error": {"code": code, "message": str(error) or type(error).__name__, "hint": hint}}


def _die_with_the_worker() -> None:
    """Elsewhere than on Linux the worker's whole process group is killed, and that is us too."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
