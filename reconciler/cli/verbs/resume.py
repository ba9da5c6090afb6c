"""`reconciler resume NAME`: the end of `reconciler suspend`."""

from __future__ import annotations

import argparse
import sys

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.domain.escape import for_terminal
from reconciler.engine.machine import machine_to_suspend
from reconciler.operations.suspend import resume


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "End a suspension made with `reconciler suspend`; the next apply brings the model to what git declares.\n"
        "Give the name that was suspended: a suspended model is not resumed one variant at a time.\n"
        "What a manifest suspends (spec.suspend) is resumed in git."
    )
    parser.add_argument("name", metavar="NAME", help="the model or variant that was suspended")
    parser.add_argument(
        "--dry-run", action="store_true", help="tell whether it is suspended and change nothing"
    )
    options.add_machine(parser)
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    root, cache = options.root_of(arguments), options.cache_of(arguments)
    with machine_to_suspend(root, cache, command="resume") as machine:
        ended = resume(machine, arguments.name, dry_run=arguments.dry_run)
    if not arguments.quiet:
        text = (
            f"{arguments.name} is resumed; it was {ended}" if ended else f"{arguments.name} is not suspended"
        )
        sys.stdout.write(for_terminal(text) + "\n")
    return OK
