"""Progress on stderr: bars on a terminal, one line a step in logs and pipes, only failures with --quiet."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from reconciler.domain.changes import Change, LongWork, PruneSource, word_of
from reconciler.domain.plan import Outcome
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.units import size_text
from reconciler.engine.options import Reporter


@contextmanager
def reporter_for(*, quiet: bool) -> Iterator[Reporter]:
    if quiet or not sys.stderr.isatty():
        yield _Lines(quiet=quiet)
    else:
        doing = TextColumn("{task.fields[doing]}", markup=False)
        with _progress(doing, TimeElapsedColumn()) as progress:
            yield _Bars(progress)


@contextmanager
def byte_bar(*, quiet: bool, doing: str = "reading") -> Iterator[Callable[[int, int], None]]:
    """A bar of bytes, of a total; only on a terminal."""
    with _progress(DownloadColumn(), TimeRemainingColumn(), shown=not quiet and sys.stderr.isatty()) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def run_bar(total: int, *, quiet: bool) -> Iterator[Callable[[str, str], None]]:
    """A bar of `total` runs: the function takes a variant and what is done with it."""
    if quiet:
        yield lambda variant, what: None
    elif not sys.stderr.isatty():
        yield lambda variant, what: _write(f"{variant}: {what}")
    else:
        with _progress(TimeElapsedColumn()) as bar:
            task = bar.add_task("", total=total)

            def advance(variant: str, what: str) -> None:
                bar.update(task, description=for_terminal(f"{variant}: {what}"))
                bar.advance(task, what.startswith("run"))

            yield advance


def _progress(*columns: ProgressColumn, shown: bool = True) -> Progress:
    """Bars with a description, and `columns` behind them."""
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    parts = SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=24)
    return Progress(*parts, *columns, console=console, transient=True, disable=not shown)


def _title(change: Change) -> str:
    kind = "source" if isinstance(change, PruneSource) else "artifact"
    what = change.variant or f"{kind} {change.build_key[7:19]}"
    number = f":{change.number}" if change.number else ""
    return f"{word_of(change)} {what}{number}"


def _ending(outcome: Outcome) -> str:
    """`register capitals-int4:1 (ReleaseMissing): done in 0.4 s`"""
    head = f"{_title(outcome.change)} ({outcome.change.reason}): {outcome.status}"
    if outcome.status == "done":
        return f"{head} in {outcome.seconds:.1f} s"
    hint = f"\n  hint: {outcome.hint}" if outcome.hint else ""
    return f"{head}: {outcome.message}{hint}"


def _write(line: str) -> None:
    sys.stderr.write(for_terminal(line) + "\n")
    sys.stderr.flush()


class _Lines(Reporter):
    """A line when a step ends, and one when a long step begins; with `quiet` only for what is not done."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def started(self, change: Change) -> None:
        if isinstance(change, LongWork) and not self._quiet:
            _write(f"{_title(change)} ({change.reason}): started")

    def finished(self, outcome: Outcome) -> None:
        if outcome.status != "done" or not self._quiet:
            _write(_ending(outcome))


class _Bars(Reporter):
    """A bar for each running step; a finished step leaves its line above the bars."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[tuple[str, str, int], TaskID] = {}

    def started(self, change: Change) -> None:
        total = 1.0 if isinstance(change, LongWork) else None
        self._tasks[_key(change)] = self._progress.add_task(_title(change), total=total, doing="")

    def progressed(self, change: Change, fraction: float, text: str) -> None:
        task = self._tasks.get(_key(change))
        if task is not None:
            self._progress.update(task, completed=fraction, doing=text)

    def finished(self, outcome: Outcome) -> None:
        task = self._tasks.pop(_key(outcome.change), None)
        if task is not None:
            self._progress.remove_task(task)
        self._progress.console.print(for_terminal(_ending(outcome)), markup=False)

    @contextmanager
    def moving(self, what: str) -> Iterator[Callable[[int, int], None]]:
        task = self._progress.add_task(for_terminal(what), total=None, doing="")

        def moved(done: int, total: int) -> None:
            text = f"{size_text(done)} of {size_text(total)}"
            self._progress.update(task, completed=done, total=total, doing=text)

        try:
            yield moved
        finally:
            self._progress.remove_task(task)


def _key(change: Change) -> tuple[str, str, int]:
    return change.action, change.variant or change.build_key, change.number
