"""End a suspension made with `reconciler suspend`; the next apply brings the model to what git declares.
Give the name that was suspended: the variants of a suspended model are not resumed one by one.
A suspension by a manifest (spec.suspend) is ended in git.
"""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import say
from reconciler.operations.suspend import resume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the model or variant that was suspended")
    options.add_flag(parser, "--dry-run", "show whether it is suspended and change nothing")
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    with options.machine_under_lock(arguments, "resume", suspends=True) as machine:
        ended = resume(machine, arguments.name, dry_run=arguments.dry_run)
    say(arguments, f"{arguments.name} is {f'resumed; it was {ended}' if ended else 'not suspended'}")
    return OK
