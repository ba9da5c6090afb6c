"""One job, followed from outside: begun, asked how far it is, stopped; and what its end means to those who plan."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from reconciler.conversion.client.collect_result import take_result, write_down
from reconciler.conversion.order import MEMORY_LIMIT, ORDER, Order
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

OnProgress = Callable[[float, str], None]

INSTALL = "pip install 'foundry-reconciler[convert]'"
HINTS = {  # elsewhere the log says most
    "ToolsMissing": INSTALL,
    "SourceChanged": "run `reconciler apply` again, once nobody writes to the source",
    MEMORY_LIMIT: "raise --conversion-memory if this machine can spare more, or convert on a larger one",
    cage.CageMissing.code: cage.ADVICE,
}
# What another attempt may get past, though the recipe stays the same.
PASSING: dict[str, type[ConverterLost | Disturbed]] = {
    ConverterLost.code: ConverterLost,
    "ToolsMissing": ConverterLost,
    "SourceChanged": Disturbed,
    MEMORY_LIMIT: ConverterLost,
    cage.CageMissing.code: ConverterLost,
}
REFUSALS = frozenset({"DiskFailing", "DiskReadOnly", "AccessDenied", "OutOfResources"})  # as domain.errors says

IMPORT_SECONDS = 300.0  # on a slow disk the first import of torch alone takes a minute
ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.02


class Attempt:
    """A handle on one conversion, to cancel it from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0  # of the forked job, until we hear that the worker has waited for it
        self.begun = False
        self.cancelled = False

    def cancel(self) -> None:
        """Kills the job if there is one; one that has not begun will not."""
        with self._lock:
            self.cancelled = True
            if self._pid:
                with suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)

    def running_as(self, pid: int) -> None:
        with self._lock:
            self._pid, self.begun = pid, True
        if self.cancelled:
            self.cancel()

    def ending(self) -> None:
        """Somebody is about to wait for the process."""
        with self._lock:
            self._pid = 0

    def require(self) -> None:
        if self.cancelled:
            raise Cancelled("the conversion was cancelled", delay=0)


def follow(child: Child, order: Order, on_progress: OnProgress, attempt: Attempt) -> dict[str, Any]:
    """Begin the job and ask now and then, until it ends or its time is over."""
    job = {"job": order.scratch}
    # Where jobs cannot be forked, the whole conversion happens before `begin` is answered.
    begun = child.call("begin", {"order": ORDER.write(order)}, timeout=IMPORT_SECONDS + order.timeout)
    # In a process namespace of its own the worker's process ids are those of other processes here.
    attempt.running_as(begun["pid"] if begun.get("worker") == child.pid else 0)
    deadline = time.monotonic() + order.timeout
    try:
        while time.monotonic() < deadline:
            attempt.require()
            state = child.call("poll", job, timeout=ANSWER_SECONDS)
            write_down(state, order.log)
            if "ended" in state:
                attempt.ending()
                return _judged(state["ended"], order)
            on_progress(state["fraction"], state["text"])
            time.sleep(POLL_SECONDS)
        raise failure("ConversionTimedOut", f"no result within {order.timeout:g} s", order)
    finally:
        attempt.ending()
        with suppress(ReconcilerError):  # it has ended, or died with its worker
            write_down(child.call("stop", job, timeout=ANSWER_SECONDS), order.log)


def _judged(ended: dict[str, Any], order: Order) -> dict[str, Any]:
    if "error" in ended:
        raise failure(ended["error"]["code"], ended["error"]["message"], order)
    return ended


def take(order: Order, destination: str) -> None:
    """The second look, our own."""
    try:
        take_result(order, destination)
    except ConversionFailed as error:
        raise failure(error.code, str(error), order) from None


def failure(code: str, message: str, order: Order) -> ReconcilerError:
    line = one_line((message.strip().splitlines() or ["no cause was named"])[0])
    log = f"the log of this attempt is {order.log}"
    if code == DiskFull.code:
        return DiskFull(line, hint=log)
    if code in REFUSALS:
        return HostRefused(line, code=code, hint=log)
    if code in PASSING:
        return PASSING[code](line, code=code, hint=HINTS.get(code, log))
    return ConversionFailed(line, code=code, hint=HINTS.get(code, log))
