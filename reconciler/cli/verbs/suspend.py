"""`reconciler suspend NAME`: this machine leaves it as it is, until somebody resumes it or the time is over."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.domain.errors import UsageError
from reconciler.domain.escape import for_terminal
from reconciler.domain.suspension import Suspension
from reconciler.engine.machine import machine_to_suspend
from reconciler.host.clock import now
from reconciler.operations.suspend import suspend


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Leave a model or variant as it is on this machine: what it serves keeps serving, and nothing of it is\n"
        "converted, replaced, repaired or pruned, whatever git says. `plan` goes on showing what would be done,\n"
        "`status` shows since when and why. For all machines, set spec.suspend in its manifest instead.\n"
        "More than 30 days make the variant Stalled, so that no suspension is forgotten."
    )
    parser.add_argument("name", metavar="NAME", help="a model (capitals) or one variant (capitals-int4)")
    parser.add_argument(
        "--reason", metavar="TEXT", required=True, help="the reason, one line, shown in events and history"
    )
    parser.add_argument(
        "--until",
        metavar="TIME",
        type=end,
        help="end by itself after 90m or 12h, or at an RFC 3339 time such as 2026-12-01T08:00:00Z (default: until "
        "`reconciler resume`)",
    )
    parser.add_argument("--dry-run", action="store_true", help="check the name and change nothing")
    options.add_machine(parser)
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    reason = " ".join(arguments.reason.split())
    if not reason:
        raise UsageError("--reason is empty", hint="give the reason in one line")
    since = now()
    if arguments.until and arguments.until <= since:
        raise UsageError(f"--until {arguments.until} is over (it is {since})", hint="name a time to come")
    suspension = Suspension(name=arguments.name, reason=reason, since=since, until=arguments.until or "")
    root, cache = options.root_of(arguments), options.cache_of(arguments)
    with machine_to_suspend(root, cache, command="suspend") as machine:
        suspend(machine, suspension, dry_run=arguments.dry_run)
    if not arguments.quiet:
        sys.stdout.write(for_terminal(f"{arguments.name} is {suspension}") + "\n")
    return OK


def end(text: str) -> str:
    """RFC 3339 in UTC, whole seconds, of a time or of a duration from now. A time without an offset is none: nobody
    could tell when it is."""
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            raise argparse.ArgumentTypeError(f"expected an offset from UTC in {text!r}: add Z or +01:00")
    except ValueError:
        when = datetime.now(UTC) + timedelta(seconds=options.duration(text))
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
