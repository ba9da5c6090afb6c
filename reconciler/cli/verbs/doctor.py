"""`reconciler doctor`: what is usually wrong around a reconciler, each with what to do."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Mapping

from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import show
from reconciler.host.reading import read_whole
from reconciler.manifests.parse import Parsed
from reconciler.operations.doctor import examine
from reconciler.operations.support_bundle import write_bundle
from reconciler.reports.diagnosis import Diagnosis, doctor_text, doctor_view
from reconciler.sources.manifests import load

SECRET = re.compile(r"(?i)token|secret|password|passwd|api_?key|credential")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check what is around this reconciler: which cache it serves and which caches other Foundry applications\n"
        "see (a model served into one is not in the others), the versions of the packages that convert and serve,\n"
        "free disk, who may write, the converter's cage, git, the clock, and what dead processes left. Each line is\n"
        "ok, warning or error, with what to do. Says also which configuration is used, and by which labels models are\n"
        "selected.\n"
        "Changes nothing, asks no network. `reconciler verify` checks what is inside."
    )
    options.add_machine(parser)
    options.add_cage(parser)
    options.add_output(parser, "text", "json")
    parser.add_argument(
        "--bundle",
        metavar="FILE",
        help="also write a support bundle, FILE.tar.gz: this, versions, status, plan, events, ends of logs, disk; "
        "without secrets, manifests and weights",
    )
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    root, cache = options.root_of(arguments), options.cache_of(arguments)
    home, traits = os.path.expanduser("~"), configuration.traits()
    found = tuple(examine(root, cache, home, configuration.file(), traits, arguments.cage))
    shown = [one for one in found if one.level != "ok"] if arguments.quiet else found
    show(doctor_view(shown), arguments.output, {"text": doctor_text})
    if arguments.bundle:
        _bundle(arguments, found)
    return ERROR if any(one.level == "error" for one in found) else OK


def _bundle(arguments: argparse.Namespace, found: tuple[Diagnosis, ...]) -> None:
    machine = options.opened_machine(arguments)
    path = configuration.setting("RECONCILER_PATH", "manifests")
    roots = configuration.traits().source_roots

    def parse() -> Parsed:
        return load(path, allowed_roots=roots)

    settings = configuration.settings()
    parse_them = parse if os.path.isdir(path) and not settings.get("RECONCILER_REPO") else None
    names = write_bundle(arguments.bundle, machine, found, settings, _secrets(settings), parse_them)
    if not arguments.quiet:
        sys.stderr.write(f"wrote {arguments.bundle}: {', '.join(names)}; look into it before you send it\n")


def _secrets(settings: Mapping[str, str]) -> set[str]:
    """Every value that this process could use as one, so that none of them leaves, wherever it has got to."""
    named = {said for name, said in os.environ.items() if SECRET.search(name)}
    found = {said for said in named if "/" not in said[:1]}
    for name, said in settings.items():
        if name.endswith(("_TOKEN_FILE", "_SECRET_FILE", "_SSH_KEY")):
            with contextlib.suppress(OSError):
                found |= set(read_whole(said, 64 << 10).decode("utf-8", "replace").split("\n"))
    return {one.strip() for one in found}
