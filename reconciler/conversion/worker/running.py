"""One job in a process of its own, forked from the worker: everything is imported already (0.4 s instead of 10), and
the job's memory, hangs and crashes do not touch the worker.

Before it reads a foreign byte it gives up its rights (`host.confine`, and Landlock where there is one). Its output and
its answer come through two pipes. The output is limited, because a converter may print without end, and it also tells
the progress. The worker never waits for a job: it polls.
"""

import base64
import errno
import json
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from reconciler.conversion.order import DISK_LIMIT, Order
from reconciler.conversion.worker.staging import model_config
from reconciler.domain.errors import ConversionFailed, ConverterLost, ReconcilerError
from reconciler.host import confine, processes
from reconciler.host.cage import DEVICES, SYSTEM
from reconciler.host.child_side import MESSAGE_LIMIT

Work = Callable[[Order], dict[str, Any] | None]
Breach = tuple[str, str]  # of a limit: code and message

LOG_LIMIT = 4 << 20  # bytes
ANSWER_LIMIT = 1 << 20  # bytes; MESSAGE_LIMIT characters of it may be escaped
READ_AT_ONCE = 1 << 16
READS_A_POLL = 64  # a job that prints without end must not keep us from its time limit

_LAYER = re.compile(rb"Reading layer (\d+)")
_STEPS = (  # what the builder prints
    (b"Reading embedding layer", 0.10, "reading weights"),
    (b"Reading final norm", 0.80, "reading weights"),
    (b"Reading LM head", 0.82, "reading weights"),
    (b"Saving ONNX model", 0.85, "writing the model"),
    (b"Saving GenAI config", 0.95, "writing the model"),
)
_COMPARING = b"Comparing "  # what `fidelity.compare` prints at each of its four steps at most


class Progress:
    """Takes output in any pieces; `fraction` never falls."""

    def __init__(self, source: str) -> None:
        self.fraction = 0.0
        self.text = "loading"
        count = model_config(source).get("num_hidden_layers")
        self._layers = count if isinstance(count, int) and count > 0 else 1
        self._rest = b""

    def read(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-1000:]
        for line in lines:
            if layer := _LAYER.match(line):
                number = int(layer[1]) + 1
                self._advance(0.1 + 0.7 * min(1.0, number / self._layers), f"layer {number} of {self._layers}")
            if line.startswith(_COMPARING):
                self._advance(self.fraction + 0.2, line.decode(errors="replace").strip())
            for beginning, fraction, text in _STEPS:
                if line.startswith(beginning):
                    self._advance(fraction, text)

    def _advance(self, fraction: float, text: str) -> None:
        if fraction > self.fraction:
            self.fraction, self.text = round(fraction, 3), text


class Running:
    """One forked job. The guard sets `breach` and ends it."""

    def __init__(self, order: Order, work: Work) -> None:
        self.scratch, self.bounds = order.scratch, order.bounds
        self.breach: Breach | None = None
        self._unsent = bytearray()
        self._printed = 0
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
        """{"fraction", "text"} while it runs; then {"ended": {"peak_memory_bytes"}} or {"ended": {"error": ...}}; each
        with {"output"} for the log, in base 64."""
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)  # before the pipes: what it wrote before its end is in them
        self._drain()
        if not pid:
            return {"fraction": self._progress.fraction, "text": self._progress.text} | self._output()
        self._close()
        scale = 1 if sys.platform == "darwin" else 1024
        ended = {"peak_memory_bytes": usage.ru_maxrss * scale} | self._answered(status)
        return {"ended": ended} | self._output()

    def kill(self) -> dict[str, Any]:
        """Returns {"output"} for the log, if there is more."""
        try:
            processes.end(self.pid)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):  # it has ended and was waited for
            return {}
        self._drain()
        self._close()
        return self._output()

    def _output(self) -> dict[str, str]:
        output = base64.b64encode(self._unsent).decode()
        self._unsent.clear()
        return {"output": output} if output else {}

    def _answered(self, status: int) -> dict[str, Any]:
        if self.breach is not None:
            code, message = self.breach
            return {"error": {"code": code, "message": f"the converter was ended: {message}"}}
        try:
            answer: dict[str, Any] = json.loads(self._answer)
            return answer
        except ValueError:
            return {"error": _error(status)}

    def _drain(self) -> None:
        for pipe, take in self._pipes.items():
            with suppress(BlockingIOError):
                for _ in range(READS_A_POLL):
                    take(os.read(pipe, READ_AT_ONCE))

    def _take_output(self, data: bytes) -> None:
        self._progress.read(data)
        room = LOG_LIMIT - self._printed
        self._unsent += data[: max(0, room)]
        self._printed += len(data)
        if 0 < room <= len(data):
            self._unsent += b"\n... the rest is not kept\n"

    def _take_answer(self, data: bytes) -> None:
        self._answer += data[: max(0, ANSWER_LIMIT - len(self._answer))]

    def _close(self) -> None:
        for pipe in self._pipes:
            os.close(pipe)
        self._pipes = {}


def _error(status: int) -> dict[str, str]:
    """Of a job that ended without an answer. A crash comes from the converter and comes again; these signals come from
    others, first of all from a kernel without memory."""
    if not os.WIFSIGNALED(status):
        ending = f"ended with exit code {os.waitstatus_to_exitcode(status)} and no answer"
        return {"code": ConversionFailed.code, "message": f"the converter {ending}"}
    number = signal.Signals(os.WTERMSIG(status))
    killed = number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
    hint = " (out of memory?)" if number == signal.SIGKILL else ""
    code = (ConverterLost if killed else ConversionFailed).code
    return {"code": code, "message": f"the converter was killed by {number.name}{hint}"}


def _be_the_job(order: Order, work: Work, to_print: int, to_answer: int) -> NoReturn:
    """Never returns into the worker's loop, whatever happens."""
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
        confine.limit(RLIMIT_FSIZE=bounds.disk_bytes)
    os.environ.update(dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), order.scratch))
    # The worker may have asked for both before there was a job; the convolutions of LFM2 write there.
    os.environ["TORCHINDUCTOR_CACHE_DIR"], tempfile.tempdir = os.path.join(order.scratch, "inductor"), None
    if bounds.readable:
        confine.restrict(readable=(*SYSTEM, "/proc", *bounds.readable), writable=(order.scratch,), devices=DEVICES)
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
        code = error.code if isinstance(error, ReconcilerError) else ConversionFailed.code
        return {"error": {"code": code, "message": str(error)[:MESSAGE_LIMIT] or type(error).__name__}}


def _die_with_the_worker() -> None:
    """On other systems than Linux the worker's whole process group is killed, with this process in it."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
