"""`reconciler status`: what is served now and in which condition. Looks at the machine; needs no manifests, no lock."""

from __future__ import annotations

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_machine(parser)
    options.add_output(parser, "text", "json")
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    from reconciler.core.status import make_status
    from reconciler.core.status_text import status_text
    from reconciler.engine.machine import observe, open_machine, recall

    machine = open_machine(options.root_of(arguments), options.cache_of(arguments))
    observed = observe(machine)
    status = make_status(observed, recall(machine, observed), machine.records.conditions())
    if arguments.output == "json" or not arguments.quiet:
        show(status, arguments.output, {"text": status_text})
    return OK
