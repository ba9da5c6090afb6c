"""Conversions of one pass, beside everything else: a slow one must not hold up a template change to another model."""

from __future__ import annotations

import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from reconciler.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.conversion.converter import Conversion
    from reconciler.core.changes import Change
    from reconciler.engine.carry_out import Execution
    from reconciler.engine.report import Reporter


@value
class Converted:
    """A conversion that ended: its change, the folder with the tree, and either the result or what went wrong."""

    change: Change
    tree: str
    conversion: Conversion | None
    error: BaseException | None
    seconds: float


class Conversions:
    """Runs up to `jobs` conversions at a time and yields them in the order in which they end."""

    def __init__(self, execution: Execution, reporter: Reporter, *, jobs: int, timeout: float) -> None:
        self._execution = execution
        self._reporter = reporter
        self._timeout = timeout
        self._pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="convert")
        self._running: dict[Future[Converted], Change] = {}

    def submit(self, change: Change) -> None:
        tree = os.path.join(self._execution.fresh_staging(), "tree")
        self._running[self._pool.submit(self._convert, change, tree)] = change

    def finished(self) -> Iterator[Converted]:
        while self._running:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in done:
                del self._running[future]
                yield future.result()

    def _convert(self, change: Change, tree: str) -> Converted:
        source = self._execution.source(change.build_key)
        started = time.monotonic()
        self._reporter.started(change)
        self._reporter.progressed(change, 0.0, "starting Olive, its imports take some seconds")
        try:
            conversion = self._execution.workers.converter.convert(
                source.recipe,
                source.path,
                tree,
                adapter=source.adapter,
                on_progress=lambda fraction, text: self._reporter.progressed(change, fraction, text),
                timeout=self._timeout,
            )
        except BaseException as error:  # noqa: BLE001 - carried to the pass's own thread, which judges it
            return self._ended(change, tree, None, error, started)
        return self._ended(change, tree, conversion, None, started)

    @staticmethod
    def _ended(
        change: Change, tree: str, result: Conversion | None, error: BaseException | None, started: float
    ) -> Converted:
        seconds = time.monotonic() - started
        return Converted(change=change, tree=tree, conversion=result, error=error, seconds=seconds)

    def cancel(self) -> None:
        """Stop what runs, drop what waits. Called when the pass is interrupted."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._execution.workers.converter.cancel()
        self._pool.shutdown(wait=True)

    def close(self) -> None:
        self._pool.shutdown(wait=True)
