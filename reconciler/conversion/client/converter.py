"""The parent's side of conversions: one warm worker for a whole batch, and an honest end for each of them.

The worker imports for seconds, so it is started as soon as a plan shows that it will be needed. It carries several
conversions at once; each has bounds, a log and a scratch folder of its own, and nothing is left of that folder
afterwards. When the worker dies, what ran in it fails and the next conversion gets a new one.

The worker sits in the best cage that the machine has (`host.cage`): it sees the folders where sources come to lie, and
what else was to be converted when it started. Only one that is asked for more is replaced; what runs in it goes on.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from reconciler.conversion.client.job_client import IMPORT_SECONDS, Attempt, OnProgress, failure, follow, take
from reconciler.conversion.client.scratch import attempt_log, fresh_folder
from reconciler.conversion.order import NO_NETWORK, Bounds, Order
from reconciler.domain.errors import Cancelled, ConverterLost, ReconcilerError
from reconciler.domain.measured import Fidelity
from reconciler.domain.plain_data import field_names
from reconciler.domain.release import Recipe
from reconciler.host import cage
from reconciler.host.child import Child, ChildDied, ChildFailed, ChildTimedOut
from reconciler.host.clock import now
from reconciler.host.durable import full_disk_named
from reconciler.host.environment import private_environment
from reconciler.host.facts import memory_bytes

WORKER = "reconciler.conversion.worker.main"
COMPARING_DISK = 1 << 30  # bytes; it writes next to nothing
RESULT = "result"  # in a scratch folder
SHARE_OF_MEMORY = 0.8  # of what the machine has, for one conversion


def say_cage(wish: str) -> dict[str, str]:
    """For the log."""
    try:
        found = cage.find(wish)
    except cage.CageMissing as error:
        return {"cage": "missing", "why": str(error)}
    return {"cage": found.name} | ({"why": found.why} if found.why else {})


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A finished one. `output_dir` holds the artifact's files and nothing else."""

    output_dir: str
    seconds: float
    peak_memory_bytes: int
    log: str


class Converter:
    """`scratch` is a folder whose content may be swept, on the file system where outputs go. Safe from many threads;
    `jobs` of them convert at a time. `wish` is for a cage ("auto", "require", "off"); `memory` is what one
    conversion may use, in bytes (0: most of what the machine has). `shown` are folders that a worker may read, whatever
    comes to lie there."""

    def __init__(
        self,
        scratch: str,
        logs: str,
        *,
        jobs: int = 1,
        module: str = WORKER,
        wish: str = "auto",
        memory: int = 0,
        shown: tuple[str, ...] = (),
    ) -> None:
        self._shown = tuple(map(os.path.abspath, shown))
        self._wish = wish
        self._memory = memory or int(memory_bytes() * SHARE_OF_MEMORY)
        self._scratch = os.path.abspath(scratch)
        self._logs = os.path.abspath(logs)
        self._module = module
        self._places = threading.BoundedSemaphore(jobs)
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._replaced: list[Child] = []  # some job still runs in them
        self._at_work: list[Child] = []  # one for each job
        self._visible: tuple[str, ...] = ()  # to the worker
        self._home = ""
        self._cancelled = False

    def start(self, *purposes: str, sources: tuple[str, ...] = ()) -> None:
        """Begin the imports in the background. `purposes`: precisions, "adapter"; `sources`: folders that will be read.
        Optional, and never fails: what is wrong with the worker shows in the first conversion."""
        with suppress(ReconcilerError, OSError):
            child = self._worker(*sources)  # here: started later by the thread, it would not be ended
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
        disk: int = 0,
        attempt: Attempt | None = None,
    ) -> Conversion:
        """Raises ConversionFailed (with the log as hint), ConverterLost, Disturbed, DiskFull or Cancelled; then
        `output_dir` does not exist. `disk` is what it may write, in bytes (0: no limit). `attempt` lets another thread
        cancel this one."""
        attempt = attempt or Attempt()
        with self._places, self._attempt(recipe) as (scratch, log):
            order = Order(
                recipe=recipe,
                source=os.path.abspath(source),
                adapter=os.path.abspath(adapter) if adapter else None,
                output=os.path.join(scratch, RESULT),
                scratch=scratch,
                log=log,
                timeout=timeout,
                bounds=Bounds(memory_bytes=self._memory, disk_bytes=disk),
            )
            started = time.monotonic()
            ended = self._carry_out(order, on_progress, attempt)
            take(order, os.path.abspath(output_dir))
        return Conversion(
            output_dir=os.path.abspath(output_dir),
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
                output=os.path.join(scratch, RESULT),
                scratch=scratch,
                log=log,
                timeout=timeout,
                compared=os.path.abspath(artifact),
                bounds=Bounds(memory_bytes=self._memory, disk_bytes=COMPARING_DISK),
            )
            ended = self._carry_out(order, lambda fraction, text: None, attempt or Attempt())
        found = {name: ended[name] for name in field_names(Fidelity) if name != "when"}
        return Fidelity(**found, when=now())

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

    def __enter__(self) -> "Converter":
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
            log = attempt_log(self._logs, recipe)
            with full_disk_named(log), open(log, "ab"):  # it is there from the beginning, so that it can be followed
                pass
            yield scratch, log
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _carry_out(self, order: Order, on_progress: OnProgress, attempt: Attempt) -> dict[str, Any]:
        attempt.require()
        child, order = self._caged(order)
        try:
            attempt.require()  # a cancel after this finds the worker to end
            return follow(child, order, on_progress, attempt)
        except BaseException as error:
            if self._cancelled or attempt.cancelled:
                raise Cancelled("the conversion was cancelled", delay=0) from None
            if isinstance(error, ChildDied | ChildTimedOut):
                self._end_worker(child)
                raise failure(ConverterLost.code, str(error), order) from None
            if isinstance(error, ChildFailed):
                raise failure(error.kind, error.message, order) from None
            raise
        finally:
            self._leave(child)

    def _caged(self, order: Order) -> tuple[Child, Order]:
        """A worker that sees the order's sources, and the order with what its job may read."""
        sources = [folder for folder in (order.source, order.adapter, order.compared) if folder]
        try:
            child = self._worker(*sources, for_a_job=True)
            if not cage.find(self._wish).has_landlock:
                return child, order
        except cage.CageMissing as error:
            raise failure(error.code, str(error), order) from None
        needed = [*cage.what_python_needs(self._module), self._home]
        readable = [*needed, *(path for folder in sources for path in cage.with_what_it_leads_to(folder))]
        return child, replace(order, bounds=replace(order.bounds, readable=tuple(readable)))

    def _worker(self, *sources: str, for_a_job: bool = False) -> Child:
        """The one that runs, or a new one. After a job call `_leave`."""
        wanted = {path for folder in sources for path in cage.with_what_it_leads_to(folder)}
        with self._lock:
            if self._cancelled:
                raise Cancelled("the conversion was cancelled", delay=0)
            unseen = {path for path in wanted if not self._is_visible(path)}
            if self._child is not None and unseen:
                self._replaced.append(self._child)
                self._child = None
            if self._child is None:
                more = filter(os.path.exists, (*self._shown, *unseen))  # what comes later is not seen
                self._visible = tuple(sorted({*self._visible, *more}))
                self._child = self._new_worker()
            if for_a_job:
                self._at_work.append(self._child)
            child = self._child
        self._end_idle()
        return child

    def _leave(self, child: Child) -> None:
        with self._lock:
            self._at_work.remove(child)
        self._end_idle()

    def _end_idle(self) -> None:
        """A warm worker holds half a gigabyte: one that was replaced ends with its last job."""
        with self._lock:
            idle = [child for child in self._replaced if child not in self._at_work]
            self._replaced = [child for child in self._replaced if child in self._at_work]
        for child in idle:
            child.kill()
            child.close()

    def _is_visible(self, path: str) -> bool:
        return any(path == one or path.startswith(one + os.sep) for one in self._visible)

    def _new_worker(self) -> Child:
        found = cage.find(self._wish)
        self._home = self._home or fresh_folder(self._scratch, "converter")
        os.makedirs(self._logs, exist_ok=True)
        log = os.path.join(self._logs, "converter.log")
        wishes = {NO_NETWORK: "1"} if found.cuts_network else {}
        readable = (*cage.what_python_needs(self._module), *self._visible)
        return Child(
            module=self._module,
            environment=private_environment(self._home, **wishes),
            log=log,
            directory=self._home,
            wrap=lambda command: found.command(command, readable=readable, writable=self._scratch),
        )

    def _end_worker(self, only: Child | None = None) -> None:
        """`only` this one: another thread may already have got a new one."""
        with self._lock:
            ending = [child for child in (self._child, *self._replaced) if child and only in (None, child)]
            self._replaced = [child for child in self._replaced if child not in ending]
            if self._child in ending:
                self._child, self._visible = None, ()
        for child in ending:
            child.kill()  # it has nothing to tidy up: its folders are ours
            child.close()
