"""The parent's side of conversions: one warm worker for a whole batch, and an honest end for each of them.

The worker imports for seconds, so it is started as soon as a plan shows that it will be needed. It carries several
conversions at once; each has a time limit, a log and a scratch folder of its own, and nothing is left of the scratch
folder afterwards. When the worker dies, what ran in it fails and the next conversion gets a new one.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from reconciler.conversion.order import Order
from reconciler.conversion.scratch import attempt_log, fresh_folder
from reconciler.core.errors import (
    Cancelled,
    ConversionFailed,
    ConverterLost,
    DiskFull,
    Disturbed,
    ReconcilerError,
)
from reconciler.core.escape import one_line
from reconciler.core.measured import Fidelity
from reconciler.core.value import field_names, value
from reconciler.host.child import Child, ChildDied, ChildFailed, ChildTimedOut
from reconciler.host.durable import full_disk_named
from reconciler.host.environment import private_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from reconciler.core.release import Recipe

OnProgress = Callable[[float, str], None]

WORKER = "reconciler.conversion.worker"
INSTALL = "pip install 'foundry-reconciler[convert]'"
HINTS = {  # elsewhere the log says most
    "ToolsMissing": INSTALL,
    "SourceChanged": "run `reconciler apply` again, once nobody writes to the source",
}
# What another attempt may get past, though the recipe stays the same.
PASSING: dict[str, type[ConverterLost | Disturbed]] = {
    ConverterLost.code: ConverterLost,
    "ToolsMissing": ConverterLost,
    "SourceChanged": Disturbed,
}

IMPORT_SECONDS = 300.0  # on a slow disk the first import of torch alone takes a minute
ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.02


class Attempt:
    """A handle on one conversion, for whoever may cancel it from another thread."""

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


@value
class Conversion:
    """A finished one. `output_dir` holds the artifact's files and nothing else."""

    output_dir: str
    seconds: float
    peak_memory_bytes: int
    log: str


class Converter:
    """`scratch` is a folder whose content may be swept, on the file system where outputs go. Safe from many threads;
    `jobs` of them convert at a time."""

    def __init__(self, scratch: str, logs: str, *, jobs: int = 1, module: str = WORKER) -> None:
        self._scratch = os.path.abspath(scratch)
        self._logs = os.path.abspath(logs)
        self._module = module
        self._places = threading.BoundedSemaphore(jobs)
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._home = ""
        self._cancelled = False

    def start(self, *purposes: str) -> None:
        """Begin the imports in the background. `purposes`: precisions, "adapter". Optional, and never fails: what is
        wrong with the worker shows in the first conversion."""
        with suppress(ReconcilerError, OSError):
            child = self._worker()  # here: a thread that came late would start one that nobody ends
            threading.Thread(target=self._prepare, args=(child, purposes), daemon=True).start()

    @staticmethod
    def _prepare(child: Child, purposes: tuple[str, ...]) -> None:
        with suppress(ReconcilerError, OSError):
            child.call("prepare", {"purposes": list(purposes)}, timeout=IMPORT_SECONDS)

    def convert(
        self,
        recipe: Recipe,
        source: str,
        output_dir: str,
        *,
        adapter: str | None = None,
        on_progress: OnProgress = lambda fraction, text: None,
        timeout: float = 6 * 3600.0,
        attempt: Attempt | None = None,
    ) -> Conversion:
        """Raises ConversionFailed (with the log as hint), ConverterLost, Disturbed, DiskFull or Cancelled; then
        `output_dir` does not exist. `attempt` lets another thread cancel this one."""
        attempt = attempt or Attempt()
        with self._places, self._attempt(recipe) as (scratch, log):
            order = Order(
                recipe=recipe,
                source=os.path.abspath(source),
                adapter=os.path.abspath(adapter) if adapter else None,
                output=os.path.abspath(output_dir),
                scratch=scratch,
                log=log,
                timeout=timeout,
            )
            started = time.monotonic()
            ended = self._carry_out(order, on_progress, attempt)
        return Conversion(
            output_dir=order.output,
            seconds=time.monotonic() - started,
            peak_memory_bytes=ended["peak_memory_bytes"],
            log=log,
        )

    def compare(
        self,
        recipe: Recipe,
        source: str,
        artifact: str,
        *,
        adapter: str | None = None,
        timeout: float = 3600.0,
        attempt: Attempt | None = None,
    ) -> Fidelity:
        """How near the converted folder is to its source. Raises what `convert` raises; ConversionFailed means here
        that it could not be measured."""
        with self._places, self._attempt(recipe) as (scratch, log):
            order = Order(
                recipe=recipe,
                source=os.path.abspath(source),
                adapter=os.path.abspath(adapter) if adapter else None,
                output=os.path.join(scratch, "output"),
                scratch=scratch,
                log=log,
                timeout=timeout,
                compared=os.path.abspath(artifact),
            )
            ended = self._carry_out(order, lambda fraction, text: None, attempt or Attempt())
        return Fidelity(**{name: ended[name] for name in field_names(Fidelity)})

    def cancel(self) -> None:
        """End everything that runs, from any thread; nothing more is converted."""
        self._cancelled = True
        self._end_worker()

    def rest(self) -> None:
        """End the worker, also in the middle of its imports. The next conversion gets a new one."""
        self._end_worker()
        if self._home:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = ""

    def close(self) -> None:
        self.rest()

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _attempt(self, recipe: Recipe) -> Iterator[tuple[str, str]]:
        """A scratch folder that does not outlive the attempt, and a log that does."""
        with full_disk_named(self._scratch):
            scratch = fresh_folder(self._scratch, "conversion")
        try:
            yield scratch, attempt_log(self._logs, recipe)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _carry_out(self, order: Order, on_progress: OnProgress, attempt: Attempt) -> dict[str, Any]:
        attempt.require()
        child = self._worker()
        try:
            attempt.require()  # whoever cancels after this finds the worker that is to be ended
            return _follow(child, order, on_progress, attempt)
        except BaseException as error:
            shutil.rmtree(order.output, ignore_errors=True)
            if self._cancelled or attempt.cancelled:
                raise Cancelled("the conversion was cancelled", delay=0) from None
            if isinstance(error, ChildDied | ChildTimedOut):
                self._end_worker(child)
                raise _failure(ConverterLost.code, str(error), order) from None
            if isinstance(error, ChildFailed):
                raise _failure(error.kind, error.message, order) from None
            raise

    def _worker(self) -> Child:
        """The one that runs, or a new one."""
        with self._lock:
            if self._cancelled:
                raise Cancelled("the conversion was cancelled", delay=0)
            if self._child is None:
                self._child = self._new_worker()
            return self._child

    def _new_worker(self) -> Child:
        self._home = self._home or fresh_folder(self._scratch, "converter")
        os.makedirs(self._logs, exist_ok=True)
        log = os.path.join(self._logs, "converter.log")
        environment = private_environment(self._home)
        return Child(module=self._module, environment=environment, log=log, directory=self._home)

    def _end_worker(self, only: Child | None = None) -> None:
        """`only` this one: another thread may already have got a new one."""
        with self._lock:
            child = self._child if only in (None, self._child) else None
            self._child = None if child is not None else self._child
        if child is not None:
            child.kill()  # it has nothing to tidy up: its folders are ours
            child.close()


def _follow(child: Child, order: Order, on_progress: OnProgress, attempt: Attempt) -> dict[str, Any]:
    """Begin the job and ask now and then, until it ends or its time is over."""
    job = {"job": order.scratch}
    # Where jobs cannot be forked, the whole conversion happens before `begin` is answered.
    begun = child.call("begin", {"order": order.as_json()}, timeout=IMPORT_SECONDS + order.timeout)
    attempt.running_as(begun.get("pid", 0))
    deadline = time.monotonic() + order.timeout
    try:
        while time.monotonic() < deadline:
            attempt.require()
            state = child.call("poll", job, timeout=ANSWER_SECONDS)
            if "ended" in state:
                attempt.ending()
                return _judged(state["ended"], order)
            on_progress(state["fraction"], state["text"])
            time.sleep(POLL_SECONDS)
        raise _failure("ConversionTimedOut", f"no result within {order.timeout:g} s", order)
    finally:
        attempt.ending()
        with suppress(ReconcilerError):  # it has ended, or died with its worker
            child.call("stop", job, timeout=ANSWER_SECONDS)


def _judged(ended: dict[str, Any], order: Order) -> dict[str, Any]:
    """The worker's word, and a second look of our own."""
    if "error" in ended:
        raise _failure(ended["error"]["code"], ended["error"]["message"], order)
    for name in ("model.onnx", "genai_config.json") if order.compared is None else ():
        path = os.path.join(order.output, name)
        if not os.path.isfile(path) or not os.path.getsize(path):
            raise _failure("ConversionFailed", f"the converter reported success and left no {name}", order)
    return ended


def _failure(code: str, message: str, order: Order) -> ReconcilerError:
    line = one_line((message.strip().splitlines() or ["no cause was named"])[0])
    log = f"the log of this attempt is {order.log}"
    if code == DiskFull.code:
        return DiskFull(line, hint=log)
    if code in PASSING:
        return PASSING[code](line, code=code, hint=HINTS.get(code, log))
    return ConversionFailed(line, code=code, hint=HINTS.get(code, log))
