"""`reconciler rollback NAME`: what served before serves again; what serves now is refused until it changes."""

from __future__ import annotations

import argparse
import sys

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK, PARTLY
from reconciler.cli.main import say_error
from reconciler.cli.progress import reporter_for
from reconciler.domain.errors import ReconcilerError, UsageError
from reconciler.domain.escape import for_terminal
from reconciler.domain.history import Rollback
from reconciler.engine.machine import machine_to_suspend, observe, open_machine
from reconciler.operations.rollback_executor import carry_out_now, is_served, judge_undone, wait_until_served
from reconciler.operations.rollback_requests import ask_for, decide, undo, variants_named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Serve an earlier release of a model or variant again on this machine. What serves now is refused, with the\n"
        "reason, for as long as git declares exactly that; the next change of its manifest ends it. Nothing is\n"
        "converted, and what this runtime has seen before is not rehearsed again: it takes about a second. A daemon\n"
        "that holds the root carries it out. For all machines, revert in git instead."
    )
    parser.add_argument("name", metavar="NAME", help="a model (capitals) or one variant (capitals-int4)")
    parser.add_argument(
        "--to",
        metavar="N",
        type=options.positive,
        help="the release with this number, of one variant (default: the newest good one before)",
    )
    parser.add_argument(
        "--reason", metavar="TEXT", default="", help="the reason, one line, shown in events and history"
    )
    parser.add_argument("--undo", action="store_true", help="take a roll-back back: git decides again")
    parser.add_argument("--dry-run", action="store_true", help="say what would serve and change nothing")
    options.add_machine(parser)
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.undo:
        return _undo(arguments)
    reason = " ".join(arguments.reason.split()) or "no reason was given"
    root, cache = options.root_of(arguments), options.cache_of(arguments)
    with machine_to_suspend(root, cache, command="rollback") as machine:
        variants = variants_named(machine, arguments.name)
        if arguments.to and len(variants) > 1:
            hint = f"name one of {', '.join(variants)}"
            raise UsageError("--to is the number of one variant", hint=hint)
        made = [decide(machine, one, arguments.to or 0, reason) for one in variants]
        if not arguments.dry_run:
            before = {one.variant: ask_for(machine, one) for one in made}
    if arguments.dry_run:
        for one in made:
            _say(arguments, f"{one.variant} would be served as what {one.to.id} was")
        return OK
    return max(_carried_out(one, before[one.variant], root, cache, arguments) for one in made)


def _carried_out(
    made: Rollback, before: Rollback | None, root: str, cache: str, arguments: argparse.Namespace
) -> int:
    """One that fails never stops the others."""
    try:
        with reporter_for(quiet=True) as reporter:
            outcomes = carry_out_now(root, cache, made, before, reporter)
    except ReconcilerError as error:
        say_error(error)
        return ERROR
    machine = open_machine(root, cache)
    if outcomes is None and not wait_until_served(machine, made):
        _say(arguments, f"{made.variant} is to be {made}; the process that holds {root} has not done it yet")
        return OK
    serving = observe(machine).serving(made.variant)
    now = f"{serving.id if serving else 'nothing'} serves"
    if not is_served(machine, made):
        _say(arguments, f"{made.variant} is not rolled back, and nobody will try it again by itself; {now}")
        return PARTLY
    _say(arguments, f"{made.variant} is {made}; {now}")
    return PARTLY if any(one.status != "done" for one in outcomes or ()) else OK


def _undo(arguments: argparse.Namespace) -> int:
    root, cache = options.root_of(arguments), options.cache_of(arguments)
    with machine_to_suspend(root, cache, command="rollback") as machine:
        variants = variants_named(machine, arguments.name)
        ended = {one: undo(machine, one, dry_run=arguments.dry_run) for one in variants}
    for variant, one in ended.items():
        if one is None:
            _say(arguments, f"{variant} was not rolled back")
        elif arguments.dry_run:
            _say(arguments, f"{variant} would follow git again; it is {one}")
        else:
            alone = judge_undone(root, cache, one)
            then = (
                f"\nrun `reconciler apply` to serve what git declares: no daemon holds {root}"
                if alone
                else ""
            )
            _say(arguments, f"{variant} follows git again; it was {one}{then}")
    return OK


def _say(arguments: argparse.Namespace, text: str) -> None:
    if not arguments.quiet:
        sys.stdout.write(for_terminal(text) + "\n")
