"""`reconciler gc`: free what nothing needs, and say why the rest stays."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import json_text, show_problems
from reconciler.domain.value import as_dict
from reconciler.engine.machine import Machine, locked_machine
from reconciler.engine.planning import Snapshot, take_snapshot
from reconciler.engine.resolve import Resolution
from reconciler.host.lock import holder
from reconciler.operations.garbage import Wish, find, free
from reconciler.reports.garbage import FAILED, KEPT, Item, garbage_view, line, total


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Free what nothing on this machine needs: converted models and weights that no manifest declares and no\n"
        "release uses, what dead processes left, what was moved aside and has outlived its time, old logs. What is\n"
        "served, what manifests declare, and what a roll-back would want stays; so does all of it while a manifest\n"
        "is invalid. A pass frees most of this by itself (docs/disk.md): gc does nothing else, and tells of each\n"
        "thing why. It needs the manifests that this machine follows. A file with several names counts once.\n"
        "Models that are served and no longer declared are pruned by `apply`, never by gc.\n"
        "\n"
        "  reconciler gc --dry-run --kept     what would go, what stays, and why; takes no lock"
    )
    options.add_manifests(parser)
    options.add_repository(parser)
    options.add_machine(parser)
    options.add_output(parser, "text", "json")
    parser.add_argument("--dry-run", action="store_true", help="show what would be freed and change nothing")
    parser.add_argument(
        "--kept", action="store_true", help="also show what is kept, and why (JSON always does)"
    )
    parser.add_argument(
        "--older-than",
        type=options.duration,
        default="720h",
        metavar="TIME",
        help="logs and damaged documents that were set aside go when they are older (default: 720h)",
    )
    parser.add_argument(
        "--confirm", action="store_true", help="also where no model is declared, or a prune waits for it"
    )
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    items, found = _dry(arguments) if arguments.dry_run else _freed(arguments)
    if not arguments.quiet:
        show_problems(found.warnings, "warning")
    show_problems(found.problems)
    if arguments.output == "text" and not arguments.kept:
        items = [item for item in items if item.status != KEPT]
    _show(garbage_view(items, dry_run=arguments.dry_run), arguments)
    return PARTLY if found.problems or any(item.status == FAILED for item in items) else OK


def _dry(arguments: argparse.Namespace) -> tuple[list[Item], Resolution]:
    machine = options.opened_machine(arguments)
    seen = _look(arguments, machine)
    things = find(machine, seen, _wish(arguments))
    if (working := holder(machine.layout.lock)) and not arguments.quiet:
        sys.stderr.write(f"note: the root is {working}: what that is just making may be listed\n")
    return [thing.item for thing in things], seen.resolution


def _freed(arguments: argparse.Namespace) -> tuple[list[Item], Resolution]:
    def tell(item: Item) -> None:
        """While it goes on: it may be many gigabytes."""
        if arguments.output == "text" and not arguments.quiet:
            sys.stdout.write(line(as_dict(item)))
            sys.stdout.flush()

    root, cache = options.root_of(arguments), options.cache_of(arguments)
    with locked_machine(root, cache, command="gc", traits=configuration.traits()) as machine:
        seen = _look(arguments, machine)
        return free(machine, seen, find(machine, seen, _wish(arguments)), tell), seen.resolution


def _look(arguments: argparse.Namespace, machine: Machine) -> Snapshot:
    return take_snapshot(machine, load_manifests(arguments, machine), confirm=arguments.confirm)


def _wish(arguments: argparse.Namespace) -> Wish:
    return Wish(
        older_than=arguments.older_than, from_repository=bool(arguments.repo), confirm=arguments.confirm
    )


def _show(view: dict[str, Any], arguments: argparse.Namespace) -> None:
    """What was freed has been told line by line."""
    if arguments.output == "json":
        sys.stdout.write(json_text(view))
    elif not arguments.quiet:
        told = [*(view["items"] if arguments.dry_run else []), *view["kept"]]
        sys.stdout.write("".join(map(line, told)) + total(view))
