"""`reconciler history NAME`: what a model was served as, and why that changed. Reads only.

What serves is told by the catalog; where that cannot be read, by our records: nobody needs a history more than who has
lost the catalog.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Container

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import json_text
from reconciler.domain.errors import CatalogBroken, PermanentError
from reconciler.domain.escape import for_terminal
from reconciler.engine.machine import Machine, observe
from reconciler.reports.history_view import history_text, history_view
from reconciler.reports.view import View


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "The releases of a model or variant on this machine, newest first: what serves now (*), what served before,\n"
        "what was rejected or rolled back and why, and which fields changed each time. The last 20 of each variant."
    )
    parser.add_argument("name", metavar="NAME", help="a model (capitals) or one variant (capitals-int4)")
    options.add_machine(parser)
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    variants = _variants(arguments.name, machine)
    view = _looked(machine)
    damaged = machine.records.damaged_beside()
    views = [
        view(variant) | {"damaged": os.path.join("history", f"{variant}.json") in damaged}
        for variant in variants
    ]
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
        raise PermanentError(f"nothing is remembered of {name}", hint=hint, code="NotKnown")
    return found


def _looked(machine: Machine) -> Callable[[str], View]:
    try:
        observed = observe(machine)
    except CatalogBroken as error:
        sys.stderr.write(f"note: {for_terminal(str(error))}; what serves is told by our records\n")
        return _recorded(machine)

    def view(variant: str) -> View:
        serving = observed.serving(variant)
        ours = {one.number for one in observed.registrations_of.get(variant, []) if observed.owns(one.owner)}
        return _view(machine, variant, serving.number if serving else 0, ours, observed.artifacts)

    return view


def _recorded(machine: Machine) -> Callable[[str], View]:
    releases, artifacts = machine.records.load().releases, machine.store.artifacts()

    def view(variant: str) -> View:
        number = releases[variant].number if variant in releases else 0
        return _view(machine, variant, number, {number}, artifacts)

    return view


def _view(
    machine: Machine, variant: str, serving: int, registered: Container[int], artifacts: Container[str]
) -> View:
    history = machine.records.history(variant)
    return history_view(variant, history, serving=serving, registered=registered, artifacts=artifacts)
