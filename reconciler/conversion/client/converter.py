"""The parent's side of conversions: one warm worker process for all of them, and a clear result or error for each.

The worker needs seconds for its imports, so it is started as soon as a plan shows that it will be needed. It runs
several conversions at once; each has limits, a log and a scratch folder, and the scratch folder is always removed. When
the worker dies, its conversions fail and the next one gets a new worker.

The worker runs in the best cage of this machine (`host.cage`) and sees the folders of sources, and what else was to be
converted when it started. To read another folder a new worker is started; running jobs end in the old one.
"""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any

from reconciler.conversion.client.job_client import IMPORT_SECONDS, Attempt, OnProgress, failure, follow, take_result
from reconciler.conversion.order import NO_NETWORK, Bounds, Order
from reconciler.domain.errors import Cancelled, ConverterLost, ReconcilerError
from reconciler.domain.machine.facts import conversion_limit
from reconciler.domain.measured import Fidelity
from reconciler.domain.plain_data import field_names
from reconciler.domain.reference import Comparison, from_plain
from reconciler.domain.release import Recipe
from reconciler.host import cage
from reconciler.host.child import Child, ChildDied, ChildFailed, ChildTimedOut
from reconciler.host.clock import now
from reconciler.host.durable import full_disk_named
from reconciler.host.environment import private_environment
from reconciler.host.memory import memory_bytes
from reconciler.host.stamps import stamp_of

WORKER = "reconciler.conversion.worker.main"
COMPARING_DISK = 1 << 30  # bytes; a comparison writes next to nothing
KEPT_LOGS = 50
_LOG_PREFIX = "convert-"


def say_cage(mode: str) -> dict[str, str]:
    """For the log."""
    try:
        found = cage.find(mode)
    except cage.CageMissing as error:
        return {"cage": "missing", "why": str(error)}
    return {"cage": found.name} | ({"why": found.why} if found.why else {})


class Converter(AbstractContextManager["Converter"]):
    """`scratch` is a folder whose content may be swept, on the file system of the outputs. Safe from many threads;
    `jobs` of them convert at a time. `cage_mode` is "auto", "require" or "off"; `memory` limits one conversion, in
    bytes (0: most of the machine's). The worker may read the folders `shown` and whatever is added to them later.
    `remembered` gives the digest of a file with this status, where it is known."""

    def __init__(
        self,
        scratch: str,
        logs: str,
        *,
        jobs: int = 1,
        module: str = WORKER,
        cage_mode: str = "auto",
        memory: int = 0,
        shown: tuple[str, ...] = (),
        remembered: Callable[[os.stat_result], str | None] = lambda status: None,
    ) -> None:
        self._remembered = remembered
        self._shown = tuple(map(os.path.abspath, shown))
        self._cage_mode = cage_mode
        self._memory = conversion_limit(memory, memory_bytes())
        self._scratch = os.path.abspath(scratch)
        self._logs = os.path.abspath(logs)
        self._module = module
        self._places = threading.BoundedSemaphore(jobs)
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._replaced: list[Child] = []  # with jobs that still run
        self._at_work: list[Child] = []  # one for each job
        self._visible: tuple[str, ...] = ()  # to the worker
        self._home = ""
        self._cancelled = False

    def start(self, *purposes: str, sources: tuple[str, ...] = ()) -> None:
        """Begin the imports in the background. `purposes`: precisions, "adapter"; `sources`: folders that will be read.
        Optional, and never fails: an error of the worker is reported by the first conversion."""
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
    ) -> str:
        """The path of the log; `output_dir` holds the artifact's files and nothing else. Raises ConversionFailed (with
        the log as hint), ConverterLost, Disturbed, DiskFull or Cancelled; then `output_dir` does not exist. `disk` is
        what it may write, in bytes (0: no limit). `attempt` lets another thread cancel this one."""
        with self._order(recipe, source, adapter, timeout, disk) as order:
            self._carry_out(order, on_progress, attempt or Attempt())
            take_result(order, os.path.abspath(output_dir))
            return order.log

    def compare(
        self,
        recipe: Recipe,
        source: str,
        artifact: str,
        *,
        adapter: str | None = None,
        on_progress: OnProgress = lambda fraction, text: None,
        timeout: float = 3600.0,
        attempt: Attempt | None = None,
    ) -> Comparison:
        """How near the converted folder is to its source. Raises what `convert` raises; ConversionFailed means here
        that it could not be measured."""
        with self._order(recipe, source, adapter, timeout, COMPARING_DISK, compared=artifact) as order:
            ended = self._carry_out(order, on_progress, attempt or Attempt())
        found = {name: ended[name] for name in field_names(Fidelity) if name in ended}
        reference = ended.get("reference")
        return Comparison(
            fidelity=Fidelity(**found, when=now()), reference=from_plain(reference) if reference else None
        )

    def cancel(self) -> None:
        """End everything that runs, from any thread; nothing more is converted."""
        self._cancelled = True
        self._end_worker()

    def close(self) -> None:
        """End the worker, also in the middle of its imports. The next conversion gets a new one."""
        self._end_worker()
        if self._home:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = ""

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _order(
        self, recipe: Recipe, source: str, adapter: str | None, timeout: float, disk: int, compared: str | None = None
    ) -> Iterator[Order]:
        """Waits for a place. The scratch folder is removed at the end; the log is kept."""
        with self._places:
            with full_disk_named(self._scratch):
                scratch = _fresh_folder(self._scratch, "conversion")
            try:
                log = _new_log(self._logs, recipe)
                with full_disk_named(log), open(log, "ab"):  # it exists from the beginning, so it can be followed
                    pass
                yield Order(
                    recipe=recipe,
                    source=os.path.abspath(source),
                    adapter=os.path.abspath(adapter) if adapter else None,
                    output=os.path.join(scratch, "result"),
                    scratch=scratch,
                    log=log,
                    timeout=timeout,
                    compared=os.path.abspath(compared) if compared else None,
                    bounds=Bounds(memory_bytes=self._memory, disk_bytes=disk),
                    digests=self._digests(source, *([adapter] if adapter else [])),
                )
            finally:
                shutil.rmtree(scratch, ignore_errors=True)

    def _digests(self, *folders: str) -> dict[str, str]:
        """What is known of their files, by stamp."""
        with suppress(OSError):
            looks = [entry.stat() for folder in folders for entry in os.scandir(folder)]
            known = {stamp_of(look): self._remembered(look) for look in looks}
            return {stamp: digest for stamp, digest in known.items() if digest}
        return {}

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
            with self._lock:
                self._at_work.remove(child)
            self._end_idle()

    def _caged(self, order: Order) -> tuple[Child, Order]:
        """A worker that sees the order's sources, and the order with what its job may read."""
        sources = [folder for folder in (order.source, order.adapter, order.compared) if folder]
        try:
            child = self._worker(*sources, for_a_job=True)
            if not cage.find(self._cage_mode).has_landlock:
                return child, order
        except cage.CageMissing as error:
            raise failure(error.code, str(error), order) from None
        needed = [*cage.what_python_needs(self._module), self._home]
        readable = [*needed, *(path for folder in sources for path in cage.with_what_it_leads_to(folder))]
        return child, replace(order, bounds=replace(order.bounds, readable=tuple(readable)))

    def _worker(self, *sources: str, for_a_job: bool = False) -> Child:
        """The one that runs, or a new one. `for_a_job`: the caller removes it from `_at_work` later."""
        wanted = {path for folder in sources for path in cage.with_what_it_leads_to(folder)}
        with self._lock:
            if self._cancelled:
                raise Cancelled("the conversion was cancelled", delay=0)
            unseen = {path for path in wanted if not self._is_visible(path)}
            if self._child is not None and unseen:
                self._replaced.append(self._child)
                self._child = None
            if self._child is None:
                for folder in self._shown:  # made now: what is made later, the worker does not see
                    os.makedirs(folder, exist_ok=True)
                self._visible = tuple(sorted({*self._visible, *self._shown, *filter(os.path.exists, unseen)}))
                self._child = self._new_worker()
            if for_a_job:
                self._at_work.append(self._child)
            child = self._child
        self._end_idle()
        return child

    def _end_idle(self) -> None:
        """A warm worker holds half a gigabyte: one that was replaced ends with its last job."""
        with self._lock:
            idle = [child for child in self._replaced if child not in self._at_work]
            self._replaced = [child for child in self._replaced if child in self._at_work]
        _end(idle)

    def _is_visible(self, path: str) -> bool:
        return any(path == one or path.startswith(one + os.sep) for one in self._visible)

    def _new_worker(self) -> Child:
        found = cage.find(self._cage_mode)
        self._home = self._home or _fresh_folder(self._scratch, "converter")
        os.makedirs(self._logs, exist_ok=True)
        readable = (*cage.what_python_needs(self._module), *self._visible)
        # Threads that wait for work sleep: spinning, they cost most of a comparison on a busy machine.
        changes = {"OMP_WAIT_POLICY": "PASSIVE"} | ({NO_NETWORK: "1"} if found.cuts_network else {})
        return Child(
            module=self._module,
            environment=private_environment(self._home, **changes),
            log=os.path.join(self._logs, "converter.log"),
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
        _end(ending)


def _end(children: list[Child]) -> None:
    for child in children:
        child.kill()  # it has nothing to tidy up: its folders are ours
        child.close()


def _fresh_folder(parent: str, kind: str) -> str:
    os.makedirs(parent, exist_ok=True)
    return tempfile.mkdtemp(prefix=f"{kind}-", dir=parent)


def _new_log(folder: str, recipe: Recipe) -> str:
    """Its path. The oldest logs are removed; the names sort by time."""
    os.makedirs(folder, exist_ok=True)
    older = sorted(name for name in os.listdir(folder) if name.startswith(_LOG_PREFIX))
    for name in older[: max(0, len(older) - KEPT_LOGS + 1)]:
        with suppress(OSError):  # another process was faster
            os.remove(os.path.join(folder, name))
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"{time.time_ns() % 10**9:09d}"
    key = recipe.build_key.rpartition(":")[2][:12]
    return os.path.join(folder, f"{_LOG_PREFIX}{moment}-{recipe.precision}-{key}.log")
