"""`reconciler history NAME`: what a model was served as, and why that changed. Reads only."""

from __future__ import annotations

import sys

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import json_text
from reconciler.core.errors import PermanentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from reconciler.core.observed import Observed
    from reconciler.core.view import View
    from reconciler.engine.machine import Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "The releases of a model or variant on this machine, newest first: what serves now (*), what served before,\n"
        "what was rejected or rolled back and why, and which fields changed each time. The last 20 of each variant."
    )
    parser.add_argument("name", metavar="NAME", help="a model (capitals) or one variant (capitals-int4)")
    options.add_machine(parser)
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    from reconciler.core.history_view import history_text
    from reconciler.engine.machine import observe

    machine = options.opened_machine(arguments)
    observed = observe(machine)
    views = [_view(name, machine, observed) for name in _variants(arguments.name, machine)]
    if arguments.output == "json":
        sys.stdout.write(json_text({"formatVersion": 1, "variants": views}))
    else:
        sys.stdout.write("\n".join(map(history_text, views)))
    return OK


def _variants(name: str, machine: Machine) -> list[str]:
    known = machine.records.with_history()
    found = [one for one in known if name in (one, one.rpartition("-")[0])]
    if not found:
        hint = f"known here: {', '.join(known) or 'nothing'}"
        raise PermanentError(f"nothing is remembered of {name}", hint=hint, code="NotKnown")
    return found


def _view(variant: str, machine: Machine, observed: Observed) -> View:
    from reconciler.core.history_view import history_view

    serving = observed.serving(variant)
    ours = [one for one in observed.registrations_of.get(variant, []) if observed.owns(one.owner)]
    return history_view(
        variant,
        machine.records.history(variant),
        serving=serving.number if serving else 0,
        registered={one.number for one in ours},
        artifacts=observed.artifacts,
    )
