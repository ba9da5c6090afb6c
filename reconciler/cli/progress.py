"""Who watches a pass: bars on a terminal, one line a step elsewhere, only failures with --quiet."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from reconciler.domain.changes import Change, LongWork, Outcome, PruneSource
from reconciler.domain.escape import for_terminal
from reconciler.engine.report import Reporter, Silent


def reporter_for(*, quiet: bool) -> AbstractContextManager[Reporter]:
    if quiet:
        return _Failures()
    return _Bars() if sys.stderr.isatty() else _Lines()


def title(change: Change) -> str:
    kind = "source" if isinstance(change, PruneSource) else "artifact"
    what = change.variant or f"{kind} {change.build_key[7:19]}"
    number = f":{change.number}" if change.number else ""
    return f"{change.action} {what}{number}"


def ending(outcome: Outcome) -> str:
    """`register capitals-int4:1 (ReleaseMissing): done in 0.4 s`"""
    head = f"{title(outcome.change)} ({outcome.change.reason}): {outcome.status}"
    if outcome.status == "done":
        return f"{head} in {outcome.seconds:.1f} s"
    hint = f"\n  hint: {outcome.hint}" if outcome.hint else ""
    return f"{head}: {outcome.message}{hint}"


class _Nobody(Silent):
    def __enter__(self) -> Reporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Lines(_Nobody):
    """For logs and pipes: a line when a step ends, and one when a long one begins."""

    def started(self, change: Change) -> None:
        if isinstance(change, LongWork):
            self._write(f"{title(change)} ({change.reason}): started")

    def finished(self, outcome: Outcome) -> None:
        self._write(ending(outcome))

    @staticmethod
    def _write(line: str) -> None:
        sys.stderr.write(for_terminal(line) + "\n")
        sys.stderr.flush()


class _Failures(_Lines):
    """Quiet: only what went wrong."""

    def started(self, change: Change) -> None: ...

    def finished(self, outcome: Outcome) -> None:
        if outcome.status != "done":
            super().finished(outcome)


class _Bars(_Nobody):
    """A bar for each step that runs; finished ones leave their line above."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[doing]}", markup=False),
            TimeElapsedColumn(),
            console=Console(stderr=True, markup=False, highlight=False, emoji=False),
            transient=True,
        )
        self._tasks: dict[tuple[str, str, int], TaskID] = {}

    def __enter__(self) -> Reporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, change: Change) -> None:
        total = 1.0 if isinstance(change, LongWork) else None
        self._tasks[_key(change)] = self._progress.add_task(title(change), total=total, doing="")

    def progressed(self, change: Change, fraction: float, text: str) -> None:
        task = self._tasks.get(_key(change))
        if task is not None:
            self._progress.update(task, completed=fraction, doing=text)

    def finished(self, outcome: Outcome) -> None:
        task = self._tasks.pop(_key(outcome.change), None)
        if task is not None:
            self._progress.remove_task(task)
        self._progress.console.print(for_terminal(ending(outcome)), markup=False)


def _key(change: Change) -> tuple[str, str, int]:
    return change.action, change.variant or change.build_key, change.number
