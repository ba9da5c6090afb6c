"""Show what is served, and in which condition. Needs no manifests and no lock."""

import argparse
import os
import sys
import time

from reconciler.backends.select import parts_of
from reconciler.cli import options
from reconciler.cli.exit_codes import INTERRUPTED, OK
from reconciler.cli.output import note, show
from reconciler.engine.job import who_works
from reconciler.engine.machine import Machine, observe, recall
from reconciler.operations.report import reported_of
from reconciler.reports.status import make_status, status_text
from reconciler.state.progress import scrub_progress

INTERVAL = 2.0  # seconds
CLEAR = "\x1b[H\x1b[2J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-w",
        "--watch",
        action="store_true",
        help="show it again every 2 s until Ctrl-C, in place on a terminal; JSON as one document after the other",
    )
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    """With --watch the machine is opened again only when its stamps were written: it remembers what it has read, so a
    damaged file of gigabytes is not read again every two seconds."""
    root = options.root_of(arguments)
    machine, known = options.opened_machine(arguments), _stamps_written(root)
    try:
        while True:
            if arguments.watch and sys.stdout.isatty():
                sys.stdout.write(CLEAR)
            _show(machine, arguments)
            if not arguments.watch:
                return OK
            sys.stdout.flush()
            time.sleep(INTERVAL)
            if not machine.owner or _stamps_written(root) != known:
                machine, known = options.opened_machine(arguments), _stamps_written(root)
    except KeyboardInterrupt:
        return INTERRUPTED


def _stamps_written(root: str) -> tuple[int, int]:
    try:
        status = os.stat(os.path.join(root, "records", "stamps.json"))
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_ino


def _show(machine: Machine, arguments: argparse.Namespace) -> None:
    observed = observe(machine)
    known = recall(machine, observed), machine.records.conditions(), scrub_progress(machine.layout).read()
    status = make_status(observed, *known, machine.records.judged(), reported_of(machine))
    status["runtimes"] = [
        {"name": one.name, "catalog": one.catalog, "sdk": one.sdk_version(), "proved": [*one.proved]}
        for one in parts_of(machine.backend)
    ]
    status["working"] = who_works(machine.layout)
    if arguments.output == "json" or not arguments.quiet:
        show(status, arguments.output, text=status_text)
    if not status["variants"]:
        note(arguments, f"its root is {machine.layout.root}; another is named by --root or RECONCILER_ROOT")
