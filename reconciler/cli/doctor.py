"""`reconciler doctor`: what is usually wrong around a reconciler, each with what to do."""

from __future__ import annotations

import os

from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check what is around this reconciler: which cache it serves and which caches other Foundry applications\n"
        "see (a model served into one is not in the others), the versions of the packages that convert and serve,\n"
        "free disk, who may write, git, the clock, and what dead processes left. Each line is ok, warning or error,\n"
        "with what to do. Says also which configuration is used, and by which labels models are selected.\n"
        "Changes nothing, asks no network. `reconciler verify` checks what is inside."
    )
    options.add_machine(parser)
    options.add_output(parser, "text", "json")
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    from reconciler.core.diagnosis import doctor_text, doctor_view
    from reconciler.engine.doctor import examine

    root, cache = options.root_of(arguments), options.cache_of(arguments)
    found = tuple(examine(root, cache, os.path.expanduser("~"), configuration.file(), configuration.traits()))
    shown = [one for one in found if one.level != "ok"] if arguments.quiet else found
    show(doctor_view(shown), arguments.output, {"text": doctor_text})
    return ERROR if any(one.level == "error" for one in found) else OK
