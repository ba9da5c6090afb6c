"""Leave a model or variant as it is on this machine: it keeps serving, and is not converted, replaced,
repaired or pruned, whatever git declares. `plan` still shows what would be done, `status` shows since when
and why. For all machines, set spec.suspend in the manifest instead. After 30 days the variant is reported
as Stalled, so that no suspension is forgotten.
"""

import argparse
from datetime import UTC, datetime, timedelta

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import say
from reconciler.domain.errors import UsageError
from reconciler.domain.recorded import Suspension
from reconciler.domain.text.units import FORM
from reconciler.host.clock import now
from reconciler.operations.suspend import suspend


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a model (capitals) or one variant (capitals-int4)")
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why, shown in status and events (one line)")
    parser.add_argument(
        "--until",
        metavar="TIME",
        type=end,
        help="end by itself after 90m or 12h, or at an RFC 3339 time such as 2026-12-01T08:00:00Z (default: until "
        "`reconciler resume`)",
    )
    options.add_flag(parser, "--dry-run", "check the name and change nothing")
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    reason = " ".join(arguments.reason.split())
    if not reason:
        raise UsageError("--reason is empty", hint="give the reason that status and events will show")
    since = now()
    if arguments.until and arguments.until <= since:
        raise UsageError(f"--until {arguments.until} is over (it is {since})", hint="name a time to come")
    suspension = Suspension(name=arguments.name, reason=reason, since=since, until=arguments.until or "")
    with options.machine_under_lock(arguments, "suspend", suspends=True) as machine:
        suspend(machine, suspension, dry_run=arguments.dry_run)
    say(arguments, f"{arguments.name} is {suspension}")
    return OK


def end(text: str) -> str:
    """RFC 3339 in UTC with whole seconds, of a time or of a duration from now. A time without an offset is refused as
    ambiguous."""
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            raise argparse.ArgumentTypeError(f"expected an offset from UTC in {text!r}: add Z or +01:00")
    except ValueError:
        when = datetime.now(UTC) + timedelta(seconds=options.duration(text))
    return when.astimezone(UTC).strftime(FORM)
