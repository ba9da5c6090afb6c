"""Serve an earlier release of a model or variant again on this machine. The present release is refused, with
the reason, for as long as git declares exactly that; the next change of its manifest ends the roll-back.
Nothing is converted, and a release that this runtime has loaded before is not tested again: it takes about
a second. A daemon that holds the root carries it out. For all machines, revert in git instead.
"""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK, PARTLY
from reconciler.cli.main import say_error
from reconciler.cli.output import say
from reconciler.cli.progress import reporter_for
from reconciler.domain.errors import ReconcilerError, UsageError
from reconciler.domain.history import Rollback
from reconciler.engine.machine import Machine, observe
from reconciler.operations.rollback import (
    ask_for,
    carry_out_now,
    decide,
    is_served,
    judge_undone,
    undo,
    variants_named,
    wait_until_served,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a model (capitals) or one variant (capitals-int4)")
    parser.add_argument(
        "--to",
        metavar="N",
        type=options.positive,
        help="the release with this number, of one variant (default: the newest good one before)",
    )
    parser.add_argument(
        "--reason", metavar="TEXT", default="", help="why, shown in status, history and events (one line)"
    )
    options.add_flag(parser, "--undo", "end a roll-back: serve what git declares")
    options.add_flag(parser, "--dry-run", "show what would serve and change nothing")
    options.add_common(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.undo:
        return _undo(arguments)
    reason = " ".join(arguments.reason.split()) or "no reason was given"
    with options.machine_under_lock(arguments, "rollback", suspends=True) as machine:
        variants = variants_named(machine, arguments.name)
        if arguments.to and len(variants) > 1:
            hint = f"name one of {', '.join(variants)}"
            raise UsageError("--to is the number of one variant", hint=hint)
        made = [decide(machine, one, arguments.to or 0, reason) for one in variants]
        if not arguments.dry_run:
            before = {one.variant: ask_for(machine, one) for one in made}
    if arguments.dry_run:
        say(arguments, *(f"{one.variant} would be served as what {one.to.id} was" for one in made))
        return OK
    return max(_carried_out(one, before[one.variant], machine, arguments) for one in made)


def _carried_out(made: Rollback, before: Rollback | None, opened: Machine, arguments: argparse.Namespace) -> int:
    """One that fails does not stop the others."""
    root = opened.layout.root
    try:
        with reporter_for(quiet=True) as reporter:
            outcomes = carry_out_now(opened, made, before, reporter)
    except ReconcilerError as error:
        say_error(error)
        return ERROR
    machine = options.opened_machine(arguments)
    if outcomes is None and not wait_until_served(machine, made):
        say(arguments, f"{made.variant} is to be {made}; the process that holds {root} has not done it yet")
        say(arguments, f"hint: `reconciler rollback {made.variant} --undo` takes the request back")
        return PARTLY
    serving = observe(machine).serving(made.variant)
    now = f"{serving.id if serving else 'nothing'} serves"
    if not is_served(machine, made):
        say(arguments, f"{made.variant} is not rolled back, and it is not retried; {now}")
        return PARTLY
    say(arguments, f"{made.variant} is {made}; {now}")
    return PARTLY if any(one.status != "done" for one in outcomes or ()) else OK


def _undo(arguments: argparse.Namespace) -> int:
    with options.machine_under_lock(arguments, "rollback", suspends=True) as machine:
        variants = variants_named(machine, arguments.name, also=machine.records.rollbacks())
        ended = {one: undo(machine, one, dry_run=arguments.dry_run) for one in variants}
    root = machine.layout.root
    for variant, one in ended.items():
        if one is None:
            say(arguments, f"{variant} was not rolled back")
        elif arguments.dry_run:
            say(arguments, f"{variant} would follow git again; it is {one}")
        else:
            say(arguments, f"{variant} follows git again; it was {one}")
            if judge_undone(machine, one):
                say(arguments, f"run `reconciler apply` to serve what git declares: no daemon holds {root}")
    return OK
