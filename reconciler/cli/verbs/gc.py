"""Free what this machine no longer needs: converted models and weights that no manifest declares and no
release uses, leftovers of dead processes, quarantined folders after their time, old logs. What is served,
declared or needed for a roll-back is kept; all of it is kept while a manifest is invalid. A pass frees most
of this by itself (docs/disk.md); gc does only this, and gives a reason for each item. It needs the
manifests that this machine follows. Hard-linked files count once. Served models that are no longer declared
are pruned by `apply`, never by gc.

  reconciler gc --dry-run --kept     what would be freed, what is kept, and why; takes no lock
"""

import argparse
import sys

from reconciler.cli import options
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import json_text, note, show_resolution
from reconciler.domain.plain_data import as_dict
from reconciler.engine.machine import Machine
from reconciler.engine.planning import Snapshot, take_snapshot
from reconciler.engine.resolve import Resolution
from reconciler.host.lock import holder
from reconciler.operations.garbage import Garbage, GarbageOptions, find, free
from reconciler.reports.checks import FAILED, KEPT, Item, garbage_view, line, total


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser, repository=True)
    options.add_flag(parser, "--dry-run", "show what would be freed and change nothing")
    options.add_flag(parser, "--kept", "also show what is kept, and why (JSON always does)")
    parser.add_argument(
        "--older-than",
        type=options.duration,
        default="720h",
        metavar="TIME",
        help="free logs and damaged documents that are older (default: 720h)",
    )
    options.add_flag(parser, "--confirm", "also free when no model is declared, or a prune is held")
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    items, found = _dry_run(arguments) if arguments.dry_run else _free(arguments)
    show_resolution(arguments, found.warnings, found.problems)
    view = garbage_view(items, dry_run=arguments.dry_run)
    if arguments.output == "json":
        sys.stdout.write(json_text(view))
    elif not arguments.quiet:  # each item was printed when it was freed
        going = items if arguments.dry_run else []
        shown = [item for item in going if item.status != KEPT]
        shown += [item for item in items if item.status == KEPT and arguments.kept]
        sys.stdout.write("".join(line(as_dict(item)) for item in shown) + total(view))
    return PARTLY if found.problems or any(item.status == FAILED for item in items) else OK


def _dry_run(arguments: argparse.Namespace) -> tuple[list[Item], Resolution]:
    machine = options.opened_machine(arguments)
    seen, found = _found(arguments, machine)
    if working := holder(machine.layout.lock):
        note(arguments, f"note: the root is {working}: its unfinished work may be listed")
    return [one.item for one in found], seen.resolution


def _free(arguments: argparse.Namespace) -> tuple[list[Item], Resolution]:
    def report(item: Item) -> None:
        """Each item as it goes, because many gigabytes take a while."""
        if arguments.output == "text" and not arguments.quiet:
            sys.stdout.write(line(as_dict(item)))
            sys.stdout.flush()

    with options.machine_under_lock(arguments, "gc") as machine:
        seen, found = _found(arguments, machine)
        return free(machine, seen, found, report), seen.resolution


def _found(arguments: argparse.Namespace, machine: Machine) -> tuple[Snapshot, list[Garbage]]:
    seen = take_snapshot(machine, load_manifests(arguments, machine), confirm=arguments.confirm)
    wanted = GarbageOptions(
        older_than=arguments.older_than, from_repository=bool(arguments.repo), confirm=arguments.confirm
    )
    return seen, find(machine, seen, wanted)
