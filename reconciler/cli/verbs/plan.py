"""`reconciler plan`: what apply would do. Reads only, takes no lock, loads nothing heavy."""

from __future__ import annotations

import argparse
import gc

from reconciler.cli import options
from reconciler.cli.exit_codes import CHANGES, ERROR, OK
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import show, show_problems
from reconciler.engine.job_progress import who_works
from reconciler.engine.planning import take_snapshot
from reconciler.reports import render, view
from reconciler.reports.pull_request import plan_comment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser)
    options.add_repository(parser)
    options.add_machine(parser)
    options.add_output(parser, "text", "json", "markdown", "github")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit 2 when there are changes")
    parser.add_argument("--confirm", action="store_true", help="plan as if large prunes were confirmed")
    parser.add_argument(
        "--assume-runtime",
        metavar="NAME=VERSION,...",
        type=options.versions,
        default={},
        help="plan as if these were installed, e.g. foundry-local-sdk=2.3.0: what an upgrade touches",
    )
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    gc.disable()  # we are gone before there is any garbage worth looking for: 4 ms of 100
    machine = options.opened_machine(arguments)
    seen = take_snapshot(
        machine,
        load_manifests(arguments, machine),
        confirm=arguments.confirm,
        assumed=arguments.assume_runtime,
    )
    plan, resolution = seen.plan, seen.resolution
    if arguments.output == "text":
        if not arguments.quiet:
            show_problems(resolution.warnings, "warning")
        show_problems(resolution.problems)
    show(
        view.plan_view(plan, resolution.problems, resolution.warnings)
        | {"working": who_works(machine.layout)},
        arguments.output,
        {"text": render.plan_text, "markdown": plan_comment, "github": render.plan_github},
    )
    if resolution.problems:
        return ERROR
    return CHANGES if plan and arguments.detailed_exitcode else OK
