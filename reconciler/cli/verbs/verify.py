"""`reconciler verify`: every byte and every promise, checked offline. Reads only, takes no lock."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import show
from reconciler.host.lock import holder
from reconciler.operations.verify import verify
from reconciler.reports.findings import findings_text, findings_view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check everything that must be true of this machine: reads every byte of the store and of what is\n"
        "served, and holds catalog, release.json, records and store against each other. Offline, changes\n"
        "nothing, needs no manifests. Each finding is one line that begins with a stable code (docs/reference.md).\n"
        "`plan` looks at the time stamps of files only; this is the full check, at the speed of the disk."
    )
    options.add_machine(parser)
    options.add_output(parser, "text", "json")
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    with _bar(wanted=not arguments.quiet and sys.stderr.isatty()) as progress:
        findings = verify(machine, progress, thorough=True)
    working = holder(machine.layout.lock)
    if findings and working and not arguments.quiet:
        sys.stderr.write(f"note: the root is {working}: what that is just making may be listed\n")
    show(findings_view(findings), arguments.output, {"text": findings_text})
    if not arguments.quiet and arguments.output == "text":
        sys.stdout.write(f"{len(findings)} finding(s)\n" if findings else "everything is as it must be\n")
    return ERROR if findings else OK


@contextlib.contextmanager
def _bar(*, wanted: bool) -> Iterator[Callable[[int, int], None]]:
    if not wanted:
        yield lambda done, total: None
        return
    columns = (TextColumn("reading"), BarColumn(bar_width=24), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
