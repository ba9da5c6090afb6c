"""Try again what failed here and is held back (FailedBefore, RetriesExceeded, BackoffActive), although nothing about it
changed. The next pass does it, at once where a daemon runs; its attempts then count from zero. A conversion that
several models share stands under the one that `reconciler events` names.
"""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import say
from reconciler.domain.errors import UsageError
from reconciler.operations.retry import retry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="a model (capitals) or a variant")
    options.add_flag(parser, "--all", "of all models")
    options.add_flag(parser, "--dry-run", "show what would be tried again and change nothing")
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    if bool(arguments.name) == arguments.all:
        raise UsageError("expected the name of a model or variant, or --all")
    with options.machine_under_lock(arguments, "retry", suspends=True) as machine:
        asked = retry(machine, arguments.name, dry_run=arguments.dry_run)
    would = "would be" if arguments.dry_run else "is"
    for one in asked:
        say(
            arguments,
            f"{one.variant or one.key}: {one.action} {would} tried again; it failed at {one.last}: {one.message}",
        )
    if not asked:
        named = f" of {arguments.name}" if arguments.name else ""
        say(arguments, f"nothing{named} waits for another try (FailedBefore, RetriesExceeded, BackoffActive)")
        say(arguments, "what is held for other reasons, and what would lift them: `reconciler status`")
    return OK
