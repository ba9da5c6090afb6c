"""`reconciler inventory`: what this machine says about itself. Reads only, takes no lock, loads nothing heavy."""

from __future__ import annotations

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import show
from reconciler.fleet.inventory_form import inventory_view
from reconciler.operations.inventory import take_inventory
from reconciler.reports.inventory_text import inventory_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show what this machine is, holds and serves, as a document small enough to lie in git: from it, what a\n"
        "change of manifests would do here can be computed elsewhere. It holds no secret and no path below a home\n"
        "folder but as `~`. Changes nothing."
    )
    options.add_machine(parser)
    options.add_output(parser, "json", "text")
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    view = inventory_view(take_inventory(options.opened_machine(arguments)))
    show(view, arguments.output, {"text": inventory_text})
    return OK
