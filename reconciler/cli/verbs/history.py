"""`reconciler history NAME`: show the releases of a model or variant, and what changed between them. Reads only.

The catalog decides which release serves. When it cannot be read, the records of this machine do.
"""

import argparse
import os
import sys
from collections.abc import Callable

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import json_text
from reconciler.domain.errors import CatalogBroken, PermanentError
from reconciler.domain.text.escape import for_terminal
from reconciler.engine.machine import Machine, observe
from reconciler.reports.history_view import history_text, history_view
from reconciler.reports.view import View


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "The releases of a model or variant on this machine, newest first: which one serves (*), which served before,\n"
        "which were rejected or rolled back and why, and the fields that changed. The last 20 of each variant."
    )
    parser.add_argument("name", metavar="NAME", help="a model (capitals) or one variant (capitals-int4)")
    options.add_machine(parser)
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    variants = _variants(arguments.name, machine)
    damaged = machine.records.damaged_beside()
    view = _viewer(machine)
    views = [view(variant) | {"damaged": os.path.join("history", f"{variant}.json") in damaged} for variant in variants]
    if arguments.output == "json":
        sys.stdout.write(json_text({"formatVersion": 1, "variants": views}))
    else:
        sys.stdout.write("\n".join(map(history_text, views)))
    return ERROR if any(one["damaged"] for one in views) else OK


def _variants(name: str, machine: Machine) -> list[str]:
    known = machine.records.with_history()
    found = [one for one in known if name in (one, one.rpartition("-")[0])]
    if not found:
        hint = f"known here: {', '.join(known) or 'nothing'}"
        raise PermanentError(f"there is no history of {name}", hint=hint, code="NotKnown")
    return found


def _viewer(machine: Machine) -> Callable[[str], View]:
    """The view of a variant's history, from the catalog or, where that is broken, from the records."""
    try:
        observed = observe(machine)
    except CatalogBroken as error:
        sys.stderr.write(f"note: {for_terminal(str(error))}; what serves is taken from the records\n")
        releases, artifacts = machine.records.load().releases, machine.store.artifacts()

        def numbers(variant: str) -> tuple[int, set[int]]:
            number = releases[variant].number if variant in releases else 0
            return number, {number}
    else:
        artifacts = dict(observed.artifacts)

        def numbers(variant: str) -> tuple[int, set[int]]:
            found, serving = observed.registrations_of.get(variant, []), observed.serving(variant)
            return serving.number if serving else 0, {one.number for one in found if observed.owns(one.owner)}

    def view(variant: str) -> View:
        serving, registered = numbers(variant)
        history = machine.records.history(variant)
        return history_view(variant, history, serving=serving, registered=registered, artifacts=artifacts)

    return view
