"""`reconciler apply`: one pass, now, under the lock."""

from __future__ import annotations

import argparse
import signal
import sys

from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import json_text, show_problems
from reconciler.cli.progress import reporter_for
from reconciler.engine import log
from reconciler.engine.apply_once import Options, PassResult, run_pass
from reconciler.engine.machine import locked_machine
from reconciler.engine.scrub import scrub_now
from reconciler.reports import render
from reconciler.reports.view import pass_view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser)
    options.add_repository(parser)
    options.add_machine(parser)
    options.add_output(parser, "text", "json")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and change nothing (as `plan`)")
    parser.add_argument(
        "--confirm",
        action="store_true",
        help="allow what asks for a confirmation: pruning everything, more than half or more than five models",
    )
    options.add_conversions(parser)
    parser.add_argument(
        "--retry",
        action="store_true",
        help="forget what failed here before and try it again, though nothing about it changed",
    )
    parser.add_argument(
        "--scrub",
        action="store_true",
        help="first read every byte of the store and of what is served, and mend what rotted without a trace",
    )
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        from reconciler.cli.verbs import plan

        arguments.detailed_exitcode, arguments.assume_runtime = False, {}
        return plan.run(arguments)
    result = apply(arguments)
    if not arguments.quiet:
        show_problems(result.resolution.warnings, "warning")
    show_problems(result.resolution.problems)
    _show(result, arguments)
    return OK if result.converged else PARTLY


def apply(arguments: argparse.Namespace) -> PassResult:
    _end_gently()
    if arguments.verbose:
        log.talk()
    root, cache = options.root_of(arguments), options.cache_of(arguments)
    with locked_machine(root, cache, command="apply", traits=configuration.traits()) as machine:
        parsed = load_manifests(arguments, machine, accept=True)
        if getattr(arguments, "scrub", False):
            scrub_now(machine)
        chosen = Options(
            confirm=arguments.confirm,
            jobs=arguments.jobs,
            conversion_timeout=arguments.conversion_timeout,
            conversion_memory=arguments.conversion_memory,
            cage=arguments.cage,
            retry=arguments.retry,
            hf_token_file=options.token_file_of(arguments),
        )
        with reporter_for(quiet=arguments.quiet) as reporter:
            result = run_pass(machine, parsed, reporter, chosen)
    return result


def _end_gently() -> None:
    """A service manager's SIGTERM and a closed terminal end a pass as Ctrl-C does: children first, then 130."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)


def _show(result: PassResult, arguments: argparse.Namespace) -> None:
    view = pass_view(result.outcomes, result.remaining, result.resolution.problems, result.converged)
    if arguments.output == "json":
        sys.stdout.write(json_text(view))
    elif not arguments.quiet:
        sys.stdout.write(render.pass_text(view))
    elif not result.converged:
        sys.stderr.write(render.pass_text(view))
