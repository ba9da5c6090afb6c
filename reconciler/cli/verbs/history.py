"""The releases of a model or variant on this machine, newest first: which one serves (*), which served before,
which were rejected or rolled back and why, and the fields that changed. The last 20 of each variant.
"""

import argparse
import os
import sys
from collections.abc import Container

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import show
from reconciler.domain.errors import CatalogBroken, PermanentError
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.names import model_of
from reconciler.domain.text.quoting import known_hint
from reconciler.engine.machine import Machine, observe
from reconciler.reports.history import history_text, history_view
from reconciler.reports.text import Shown
from reconciler.reports.view import FORMAT_VERSION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a model (capitals) or one variant (capitals-int4)")
    options.add_machine(parser)
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    variants, damaged = _variants(arguments.name, machine), machine.records.damaged_beside()
    serving, registered, artifacts = _present(machine)
    origins, rollbacks = machine.records.origins(), machine.records.rollbacks()
    views = []
    for variant in variants:
        number, numbers = serving.get(variant, 0), registered.get(variant, ())
        history = machine.records.history(variant)
        view = history_view(
            variant,
            history,
            serving=number,
            registered=numbers,
            artifacts=artifacts,
            origins=origins,
            rollback=rollbacks.get(variant),
        )
        views.append(view | {"damaged": os.path.join("history", f"{variant}.json") in damaged})
    show({"formatVersion": FORMAT_VERSION, "variants": views}, arguments.output, text=_text)
    return ERROR if any(one["damaged"] for one in views) else OK


def _text(view: Shown) -> str:
    return "\n".join(map(history_text, view["variants"]))


def _variants(name: str, machine: Machine) -> list[str]:
    known = machine.records.with_history()
    found = [one for one in known if name in (one, model_of(one))]
    if not found:
        hint = known_hint("known", name, known)
        raise PermanentError(f"there is no history of {name}", hint=hint, code="NotKnown")
    return found


def _present(machine: Machine) -> tuple[dict[str, int], dict[str, list[int]], Container[str]]:
    """By variant, which number serves and which are registered; and the artifacts. The catalog decides or, where it
    cannot be read, the records of this machine."""
    try:
        observed = observe(machine)
    except CatalogBroken as error:
        sys.stderr.write(f"note: {for_terminal(str(error))}; what serves is taken from the records\n")
        serving = {variant: release.number for variant, release in machine.records.load().releases.items()}
        return serving, {variant: [number] for variant, number in serving.items()}, machine.store.artifacts()
    ours = {
        variant: [one.number for one in found if observed.owns(one.owner)]
        for variant, found in observed.registrations_of.items()
    }
    return {variant: max(numbers) for variant, numbers in ours.items() if numbers}, ours, observed.artifacts
