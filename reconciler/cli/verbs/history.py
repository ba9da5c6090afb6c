"""The releases of a model or variant on this machine, newest first: which one serves (*), which served before,
which were rejected or rolled back and why, and the fields that changed. The last 20 of each variant.
"""

import argparse
import os
import sys
from collections.abc import Callable

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import show
from reconciler.domain.errors import CatalogBroken, PermanentError
from reconciler.domain.text.escape import for_terminal
from reconciler.engine.machine import Machine, observe
from reconciler.reports.history import history_text, history_view
from reconciler.reports.text import Shown
from reconciler.reports.view import FORMAT_VERSION, View


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a model (capitals) or one variant (capitals-int4)")
    options.add_machine(parser)
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    variants = _variants(arguments.name, machine)
    damaged = machine.records.damaged_beside()
    view = _viewer(machine)
    views = [view(variant) | {"damaged": os.path.join("history", f"{variant}.json") in damaged} for variant in variants]
    show({"formatVersion": FORMAT_VERSION, "variants": views}, arguments.output, text=_text)
    return ERROR if any(one["damaged"] for one in views) else OK


def _text(view: Shown) -> str:
    return "\n".join(map(history_text, view["variants"]))


def _variants(name: str, machine: Machine) -> list[str]:
    known = machine.records.with_history()
    found = [one for one in known if name in (one, one.rpartition("-")[0])]
    if not found:
        hint = f"known here: {', '.join(known) or 'nothing'}"
        raise PermanentError(f"there is no history of {name}", hint=hint, code="NotKnown")
    return found


def _viewer(machine: Machine) -> Callable[[str], View]:
    """The view of a variant's history. The catalog decides which release serves or, where it cannot be read, the
    records of this machine."""
    try:
        observed = observe(machine)
    except CatalogBroken as error:
        sys.stderr.write(f"note: {for_terminal(str(error))}; what serves is taken from the records\n")
        releases, artifacts = machine.records.load().releases, machine.store.artifacts()
        registered = {variant: {release.number} for variant, release in releases.items()}
        serving = {variant: release.number for variant, release in releases.items()}
    else:
        artifacts = dict(observed.artifacts)
        registered = {
            variant: {one.number for one in found if observed.owns(one.owner)}
            for variant, found in observed.registrations_of.items()
        }
        serving = {variant: one.number for variant in registered if (one := observed.serving(variant))}

    def view(variant: str) -> View:
        number, numbers = serving.get(variant, 0), registered.get(variant, set())
        history = machine.records.history(variant)
        return history_view(variant, history, serving=number, registered=numbers, artifacts=artifacts)

    return view
