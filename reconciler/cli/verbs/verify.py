"""Check this machine completely: read every byte of the store and of the served models, and compare catalog,
release.json, records and store with each other. Works offline, changes nothing, needs no manifests. Each
finding is one line that begins with a stable code (docs/reference.md). `plan` checks only the time stamps
of files; this is the full check, at the speed of the disk.
"""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import note, say, show
from reconciler.cli.progress import byte_bar
from reconciler.domain.text.quoting import count_of
from reconciler.host.lock import holder
from reconciler.operations.verify import verify
from reconciler.reports.checks import findings_text, findings_view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    with byte_bar(quiet=arguments.quiet) as progress:
        findings = verify(machine, progress, thorough=True)
    working = holder(machine.layout.lock)
    if findings and working:
        note(arguments, f"note: the root is {working}: its unfinished work may be listed")
    show(findings_view(findings), arguments.output, text=findings_text)
    if arguments.output == "text":
        say(arguments, count_of(len(findings), "finding") if findings else "everything is as it must be")
    return ERROR if findings else OK
