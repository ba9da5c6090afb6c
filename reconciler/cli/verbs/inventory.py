"""Show what this machine is, holds and serves, as a document small enough for git. `reconciler diff --against`
reads it to predict elsewhere what a change of manifests will do here. It holds no secrets, and shows a home
folder as `~`. Changes nothing.
"""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import show
from reconciler.fleet.inventory_form import inventory_view
from reconciler.operations.inventory import take_inventory
from reconciler.reports.inventory_text import inventory_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_common(parser, "json", "text")


def run(arguments: argparse.Namespace) -> int:
    view = inventory_view(take_inventory(options.opened_machine(arguments)))
    show(view, arguments.output, text=inventory_text)
    return OK
