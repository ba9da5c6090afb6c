"""Write what another machine lacks, by its inventory, into one file that can be carried to it: the artifacts, what is
attached to them (numbers, signatures) and the manifests. The planner decides what it lacks, as on that machine itself.
Artifacts come from the store of this machine and from the registries that it may pull from; what neither has is named.
The file is an OCI archive: `skopeo copy oci-archive:FILE:TAG ...` reads it. `reconciler import FILE` takes it in.
An export that was interrupted goes on. More: docs/air-gap.md
"""

import argparse
import os
import sys

from reconciler.cli import options
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.cli.manifests import gather_manifests
from reconciler.cli.output import json_text, note, say, show_resolution
from reconciler.cli.progress import byte_bar
from reconciler.cli.signals import interrupt_on_signals
from reconciler.domain.text.quoting import count_of
from reconciler.domain.text.units import size_text
from reconciler.fleet.inventory_form import read_inventory
from reconciler.host.reading import read_whole
from reconciler.operations.export import Export, Exported, export_view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the archive to write")
    meaning = "inventory of the machine that it is for (`reconciler inventory`)"
    parser.add_argument("--for", dest="inventory", metavar="INVENTORY", required=True, help=meaning)
    options.add_manifests(parser, repository=True)
    options.add_flag(parser, "--dry-run", "show what would be written, and write nothing")
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    interrupt_on_signals()
    inventory = read_inventory(read_whole(arguments.inventory), arguments.inventory)
    machine = options.opened_machine(arguments)
    parsed, gathered = gather_manifests(arguments, machine)
    with Export(machine, inventory, parsed, gathered) as export:
        prepared = export.prepare()
        if not arguments.dry_run:
            with byte_bar(quiet=arguments.quiet, doing="writing") as on_bytes:
                export.write(os.path.abspath(arguments.file), on_bytes)
    show_resolution(arguments, prepared.doubts, prepared.problems)
    _show(prepared, arguments)
    return OK if prepared.complete else PARTLY


def _show(prepared: Exported, arguments: argparse.Namespace) -> None:
    view = export_view(prepared) | {"file": arguments.file, "written": not arguments.dry_run}
    if arguments.output == "json":
        sys.stdout.write(json_text(view))
        return
    for warning in view["warnings"]:
        note(arguments, f"warning: {warning}")
    for one in view["artifacts"]:
        size = size_text(one["sizeBytes"])
        say(arguments, f"{', '.join(one['variants'])}: {one['buildKey']}, {size}, from {one['from']}")
    for one in view["leftOut"]:
        say(arguments, f"{one['variant']}: left out: {one['reason']}: {one['message']}")
    artifacts = count_of(len(view["artifacts"]), "artifact")
    what = f"{artifacts} and the manifests of {view['revision']} for {view['machine']}"
    done = "would be written to" if arguments.dry_run else "written to"
    say(arguments, f"{what}, {size_text(view['sizeBytes'])}, {done} {arguments.file}")
