"""One job as a fork of the worker, in which everything is imported already: it begins after 0.4 s instead of 10.

On Linux only (`host.system.FORKS`). Its output and its answer come through two pipes, which are read without waiting.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from reconciler.conversion.order import Order
from reconciler.conversion.worker.running import Work, answer_of, confined
from reconciler.host import confine

assert sys.platform != "win32"

READ_AT_ONCE = 1 << 16
READS_A_POLL = 64  # a job that prints without end must not keep us from its time limit


class Forked:
    """A fork of this process."""

    def __init__(self, order: Order, work: Work) -> None:
        printed, to_print = os.pipe()
        answered, to_answer = os.pipe()
        sys.stdout.flush()  # or the job would print it again
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_job(order, work, to_print, to_answer)
        os.close(to_print)
        os.close(to_answer)
        self._pipes: tuple[int, ...] = (printed, answered)
        for pipe in self._pipes:
            os.set_blocking(pipe, False)

    def poll(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def drain(self, take_output: Callable[[bytes], None], take_answer: Callable[[bytes], None]) -> None:
        for pipe, take in zip(self._pipes, (take_output, take_answer), strict=False):
            with suppress(BlockingIOError):
                for _ in range(READS_A_POLL):
                    take(os.read(pipe, READ_AT_ONCE))

    def wait(self) -> None:
        os.waitpid(self.pid, 0)

    def close(self) -> None:
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes = ()


def _be_the_job(order: Order, work: Work, to_print: int, to_answer: int) -> NoReturn:
    """Never returns into the worker's loop, whatever happens."""
    code = 1
    try:
        _die_with_the_worker()
        os.dup2(to_print, 1)
        os.dup2(to_print, 2)
        confine.forget_open_files(to_answer)  # the worker's own answers, and the pipes of other jobs
        answer = answer_of(order, lambda order: confined(order, work))
        with os.fdopen(to_answer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        code = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _die_with_the_worker() -> None:
    """On other systems than Linux the worker's whole process group is killed, with this process in it."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
