"""One job in a process of its own: its memory, hangs and crashes do not touch the worker. It is a fork of the
worker where that is safe (`forked`), and else a new interpreter (`spawned`).

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
from typing import Any, Protocol

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
# By TerminateProcess, as the task manager and psutil do it; no memory; no room in the paging file.
ENDED_BY_OTHERS = (1, 15, 0xC0000017, 0xC000012D)

# What our extra brings, as it is imported. A model may ask for others, and no installation of ours has them.
IMPORTED = ("olive", "onnxruntime_genai", "onnxruntime", "onnx", "torch", "transformers", "peft", "safetensors")

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


class JobProcess(Protocol):
    pid: int

    def poll(self) -> int | None:
        """None while it runs; then its exit code (negative: the signal)."""

    def drain(self, take_output: Callable[[bytes], None], take_answer: Callable[[bytes], None]) -> None:
        """What it has written since the last call. Never waits."""

    def wait(self) -> None:
        """Until it has ended, which it is about to do."""

    def close(self) -> None: ...


class Running:
    """One job. The guard sets `breach` and ends it."""

    def __init__(self, order: Order, process: JobProcess) -> None:
        self.scratch, self.bounds = order.scratch, order.bounds
        self.breach: Breach | None = None
        self.pid = process.pid
        self._process = process
        self._unsent = bytearray()
        self._printed = 0
        self._progress = Progress(order.source)
        self._answer = b""

    def poll(self) -> dict[str, Any]:
        """{"fraction", "text"} while it runs; then {"ended": ...} with its answer, or with {"error": ...}; each with
        {"output"} for the log, in base 64."""
        code = self._process.poll()  # before the pipes: what it wrote before its end is in them
        self._drain()
        if code is None:
            return {"fraction": self._progress.fraction, "text": self._progress.text} | self._output()
        self._process.close()
        return {"ended": self._answered(code)} | self._output()

    def kill(self) -> dict[str, Any]:
        """Returns {"output"} for the log, if there is more."""
        try:
            processes.end(self.pid)
            self._process.wait()
        except (ProcessLookupError, ChildProcessError):  # it has ended and was waited for
            return {}
        self._drain()
        self._process.close()
        return self._output()

    def _output(self) -> dict[str, str]:
        output = base64.b64encode(self._unsent).decode()
        self._unsent.clear()
        return {"output": output} if output else {}

    def _answered(self, code: int) -> dict[str, Any]:
        if self.breach is not None:
            breached, message = self.breach
            return {"error": {"code": breached, "message": f"the converter was ended: {message}"}}
        try:
            answer: dict[str, Any] = json.loads(self._answer)
            return answer
        except ValueError:
            return {"error": _error(code)}

    def _drain(self) -> None:
        self._process.drain(self._take_output, self._take_answer)

    def _take_output(self, data: bytes) -> None:
        self._progress.read(data)
        room = LOG_LIMIT - self._printed
        self._unsent += data[: max(0, room)]
        self._printed += len(data)
        if 0 < room <= len(data):
            self._unsent += b"\n... the rest is not kept\n"

    def _take_answer(self, data: bytes) -> None:
        self._answer += data[: max(0, ANSWER_LIMIT - len(self._answer))]


def _error(code: int) -> dict[str, str]:
    """Of a job that ended without an answer. A crash comes from the converter and comes again; these signals, and on
    Windows these exit codes, come from others, first of all from a system without memory."""
    if code >= 0:
        kind = ConverterLost if sys.platform == "win32" and code in ENDED_BY_OTHERS else ConversionFailed
        return {"code": kind.code, "message": f"the converter ended with exit code {code} and no answer"}
    number = signal.Signals(-code)
    killed = number.name in ("SIGKILL", "SIGTERM", "SIGHUP")
    hint = " (out of memory?)" if number.name == "SIGKILL" else ""
    kind = ConverterLost if killed else ConversionFailed
    return {"code": kind.code, "message": f"the converter was killed by {number.name}{hint}"}


def confined(order: Order, work: Work) -> dict[str, Any] | None:
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
        lacks_tool = isinstance(error, ImportError) and (error.name or "").partition(".")[0] in IMPORTED
        usual = "ToolsMissing" if lacks_tool else ConversionFailed.code
        code = error.code if isinstance(error, ReconcilerError) else usual
        return {"error": {"code": code, "message": str(error)[:MESSAGE_LIMIT] or type(error).__name__}}
