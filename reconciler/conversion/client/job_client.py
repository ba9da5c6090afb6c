"""One job of the worker: begin it, poll its progress and its log, stop it, take its result, and map its errors.

Nothing that a job gives is trusted. The log ends at a limit of our own, and of the result only plain files with the
names of an artifact are taken: a link could lead anywhere.
"""

import base64
import errno
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from reconciler.conversion.order import ARTIFACT_FILES, MEMORY_LIMIT, ORDER, Order
from reconciler.domain.errors import (
    Cancelled,
    ConversionFailed,
    ConverterLost,
    DiskFull,
    Disturbed,
    HostRefused,
    ReconcilerError,
)
from reconciler.domain.text.escape import one_line
from reconciler.host import cage
from reconciler.host.child import Child
from reconciler.host.places import install_command
from reconciler.host.system import kill

OnProgress = Callable[[float, str], None]

HINTS = {  # for all others: the log, or what to install
    "SourceChanged": "run `reconciler apply` again, when the source no longer changes",
    MEMORY_LIMIT: "raise --conversion-memory if this machine can spare more, or convert on a larger one",
    cage.CageMissing.code: cage.ADVICE,
}
# All others are a ConversionFailed: another attempt with the same recipe meets them again.
KINDS: dict[str, type[ReconcilerError]] = {
    DiskFull.code: DiskFull,
    **dict.fromkeys(("DiskFailing", "DiskReadOnly", "AccessDenied", "OutOfResources"), HostRefused),
    **dict.fromkeys((ConverterLost.code, "ToolsMissing", MEMORY_LIMIT, cage.CageMissing.code), ConverterLost),
    "SourceChanged": Disturbed,
}

# What a worker raises where a package is there by its version and cannot be imported: installing it anew mends that.
LACKING = frozenset({"ModuleNotFoundError", "ImportError"})

IMPORT_SECONDS = 300.0  # on a slow disk the first import of torch alone takes a minute
ANSWER_SECONDS = 60.0
# Between two looks at a job: a share of the time that it runs already, since each costs as much for a job of hours.
PAUSES, PAUSE_SHARE = (0.02, 0.5), 0.02  # seconds
LONGEST_CODE = 60  # letters
LONGEST_LOG = (4 << 20) + (1 << 10)  # bytes; the worker ends it a little earlier, with a note


class Attempt:
    """A handle on one conversion, to cancel it from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0  # of the job, until the worker has waited for it
        self.begun = False
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def wait(self, seconds: float) -> None:
        """Shorter when it is cancelled."""
        self._cancelled.wait(seconds)

    def cancel(self) -> None:
        """Kills the job, or prevents that it begins."""
        with self._lock:
            self._cancelled.set()
            if self._pid:
                kill(self._pid)

    def running_as(self, pid: int) -> None:
        with self._lock:
            self._pid, self.begun = pid, True
        if self.cancelled:
            self.cancel()

    def ending(self) -> None:
        """The process is about to be waited for: its id may be given to another one then."""
        with self._lock:
            self._pid = 0

    def require(self) -> None:
        if self.cancelled:
            raise Cancelled("the conversion was cancelled", delay=0)


def follow(child: Child, order: Order, on_progress: OnProgress, attempt: Attempt) -> dict[str, Any]:
    """Begin the job and poll it until it ends or its time is over."""
    job = {"job": order.scratch}
    begun = child.call("begin", {"order": ORDER.write(order)}, timeout=IMPORT_SECONDS)
    # In a process namespace of its own the worker's process ids are those of other processes here.
    attempt.running_as(begun["pid"] if begun.get("worker") == child.pid else 0)
    since = time.monotonic()
    deadline = since + order.timeout
    try:
        while time.monotonic() < deadline:
            attempt.require()
            state = child.call("poll", job, timeout=ANSWER_SECONDS)
            _write_log(state, order.log)
            if "ended" in state:
                attempt.ending()
                return _answer(state["ended"], order)
            on_progress(state["fraction"], state["text"])
            attempt.wait(min(max(PAUSE_SHARE * (time.monotonic() - since), PAUSES[0]), PAUSES[1]))
        raise failure("ConversionTimedOut", f"no result within {order.timeout:g} s", order)
    finally:
        attempt.ending()
        with suppress(ReconcilerError):  # it has ended, or died with its worker
            _write_log(child.call("stop", job, timeout=ANSWER_SECONDS), order.log)


def _answer(ended: Any, order: Order) -> dict[str, Any]:
    """What a job gave. Anything that runs in its process may have written that."""
    if not isinstance(ended, dict):  # guard: a job's answer is not trusted
        raise failure(ConversionFailed.code, "the converter answered with something else than a mapping", order)
    if "error" in ended:
        error = ended["error"] if isinstance(ended["error"], dict) else {}
        code = str(error.get("code", ""))[:LONGEST_CODE]
        raise failure(code if code.isidentifier() else ConversionFailed.code, str(error.get("message", "")), order)
    return ended


def _write_log(state: dict[str, Any], log: str) -> None:
    """What the job has printed since the last call."""
    printed = base64.b64decode(state.pop("output", ""))
    if printed:
        with suppress(OSError), open(log, "ab") as file:  # a full disk: the conversion may yet succeed
            file.write(printed[: max(0, LONGEST_LOG - file.tell())])


def take_result(order: Order, destination: str) -> None:
    """Check the result once more, on our side, and move it to `destination`. Raises ConversionFailed."""
    try:
        _check_result(order.output)
    except ConversionFailed as error:
        raise failure(error.code, str(error), order) from None
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    try:
        os.rename(order.output, destination)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(order.output, destination)


def _check_result(folder: str) -> None:
    for name in ("model.onnx", "genai_config.json"):
        path = os.path.join(folder, name)
        if not os.path.lexists(path) or not os.lstat(path).st_size:
            raise ConversionFailed(f"the converter reported success and left no {name}")
    if os.path.islink(folder):
        raise ConversionFailed("the converter left a link in place of its result")
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        status = entry.stat(follow_symlinks=False)
        if entry.name not in ARTIFACT_FILES:
            raise ConversionFailed(f"the converter left {one_line(entry.name)}, which no artifact holds")
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise ConversionFailed(f"the converter left a {entry.name} that is no plain file of its own")


def failure(code: str, message: str, order: Order) -> ReconcilerError:
    line = one_line((message.strip().splitlines() or ["no cause was named"])[0])
    code = "ToolsMissing" if code in LACKING else code
    usual = install_command("convert") if code == "ToolsMissing" else f"the log of this attempt is {order.log}"
    return KINDS.get(code, ConversionFailed)(line, code=code, hint=HINTS.get(code, usual))
