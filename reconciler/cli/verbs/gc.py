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
from contextlib import nullcontext

from reconciler.cli import options
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import json_text, note, show_resolution
from reconciler.domain.plain_data import as_dict
from reconciler.engine.planning import take_snapshot
from reconciler.host.lock import holder
from reconciler.operations.garbage import GarbageOptions, find, free
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
    def report(item: Item) -> None:
        """Each item as it goes, because many gigabytes take a while."""
        if arguments.output == "text" and not arguments.quiet:
            sys.stdout.write(line(as_dict(item)))
            sys.stdout.flush()

    is_dry = arguments.dry_run
    wanted = GarbageOptions(
        older_than=arguments.older_than, from_repository=bool(arguments.repo), confirm=arguments.confirm
    )
    opened = nullcontext(options.opened_machine(arguments)) if is_dry else options.machine_under_lock(arguments, "gc")
    with opened as machine:
        seen = take_snapshot(machine, load_manifests(arguments, machine), confirm=arguments.confirm)
        garbage, found = find(machine, seen, wanted), seen.resolution
        if is_dry and (working := holder(machine.layout.lock)):
            note(arguments, f"note: the root is {working}: its unfinished work may be listed")
        items = [one.item for one in garbage] if is_dry else free(machine, seen, garbage, report)
    show_resolution(arguments, found.warnings, found.problems)
    _show(items, arguments)
    return PARTLY if found.problems or any(item.status == FAILED for item in items) else OK


def _show(items: list[Item], arguments: argparse.Namespace) -> None:
    view = garbage_view(items, dry_run=arguments.dry_run)
    if arguments.output == "json":
        sys.stdout.write(json_text(view))
    elif not arguments.quiet:  # each item was printed when it was freed
        shown = [item for item in items if arguments.dry_run and item.status != KEPT]
        shown += [item for item in items if arguments.kept and item.status == KEPT]
        sys.stdout.write("".join(line(as_dict(item)) for item in shown) + total(view))
