"""Make one pass now, under the lock: bring this machine to what the manifests declare."""

import argparse
import sys
from dataclasses import replace

from reconciler.cli import options
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import json_text, show_resolution
from reconciler.cli.progress import reporter_for
from reconciler.cli.reports import reader_of
from reconciler.cli.signals import interrupt_on_signals
from reconciler.cli.verbs import plan
from reconciler.engine import log
from reconciler.engine.machine import at_any_time
from reconciler.engine.pass_result import PassResult
from reconciler.engine.reconciler import run_pass
from reconciler.engine.scrub import scrub_now
from reconciler.reports import render
from reconciler.reports.view import pass_view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser, repository=True)
    options.add_flag(parser, "--dry-run", "show the plan and change nothing (as `plan`)")
    options.add_confirm(parser)
    options.add_conversions(parser)
    options.add_flag(parser, "--retry", "retry what failed here before, although nothing about it changed")
    options.add_flag(
        parser, "--scrub", "first read every byte of the store and of served models, and repair silent corruption"
    )
    options.add_at_any_time(parser)
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        arguments.detailed_exitcode, arguments.assume_runtime = False, {}
        return plan.run(arguments)
    result = _apply(arguments)
    problems = result.resolution.problems
    show_resolution(arguments, result.resolution.warnings, problems)
    view = pass_view(result.outcomes, result.remaining, problems, result.converged)
    if arguments.output == "json":
        sys.stdout.write(json_text(view))
    elif not (arguments.quiet and result.converged):
        (sys.stderr if arguments.quiet else sys.stdout).write(render.pass_text(view))
    return OK if result.converged else PARTLY


def _apply(arguments: argparse.Namespace) -> PassResult:
    interrupt_on_signals()
    if arguments.verbose:
        log.talk()
    with options.machine_under_lock(arguments, "apply") as held:
        machine = at_any_time(held) if arguments.at_any_time else held
        parsed = load_manifests(arguments, machine, accept=True)
        if arguments.scrub:
            scrub_now(machine)
        chosen = options.pass_options(arguments, confirm=arguments.confirm, retry=arguments.retry)
        chosen = replace(chosen, reports=reader_of(arguments, machine))
        with reporter_for(quiet=arguments.quiet) as reporter:
            return run_pass(machine, parsed, reporter, chosen)
