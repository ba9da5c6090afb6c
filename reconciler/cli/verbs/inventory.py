"""`reconciler inventory`: describe this machine in a small document for git. Reads only, takes no lock."""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import show
from reconciler.fleet.inventory_form import inventory_view
from reconciler.operations.inventory import take_inventory
from reconciler.reports.inventory_text import inventory_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show what this machine is, holds and serves, as a document small enough for git. `reconciler diff --against`\n"
        "reads it to predict elsewhere what a change of manifests will do here. It holds no secrets, and shows a home\n"
        "folder as `~`. Changes nothing."
    )
    options.add_machine(parser)
    options.add_output(parser, "json", "text")
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    view = inventory_view(take_inventory(options.opened_machine(arguments)))
    show(view, arguments.output, text=inventory_text)
    return OK
