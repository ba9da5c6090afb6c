"""Convert what the manifests want and the registries of this machine's configuration (role push or both) lack; check it
by its gates, and push it for machines that pull. Registers nothing, serves nothing, and builds also what is declared
for other machines: all, or those with an inventory (--for). It may run on many builders at once, each with its --shard.
"""

import argparse
import os
import sys
from functools import partial
from urllib.parse import urlsplit

from reconciler.cli import options
from reconciler.cli.exit_codes import OK, PARTLY
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import json_text, note, say, show_resolution
from reconciler.cli.progress import reporter_for
from reconciler.cli.signals import interrupt_on_signals
from reconciler.cli.signing import add_signing_key, signing_key
from reconciler.domain.errors import Problem, UsageError
from reconciler.engine import log
from reconciler.engine.machine import Machine, machine_name
from reconciler.host.clock import now
from reconciler.operations.build import BuildResult, Shard, build, counts_of, labels_in, wanted_by
from reconciler.operations.signing import Signer
from reconciler.registry.signing_keys import SigningKey
from reconciler.reports.view import FORMAT_VERSION, camel_view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser, repository=True)
    parser.add_argument(
        "--shard", metavar="I/N", type=_shard, default=Shard(), help="build the I-th of N parts (default: all)"
    )
    parser.add_argument(
        "--for",
        dest="inventories",
        metavar="DIR",
        help="build only what is for a machine of this folder, by the labels that `reconciler inventory` wrote there"
        " (default: for all)",
    )
    options.add_flag(
        parser, "--ignore-claims", "build also what another builder works on now; it may be done twice, without harm"
    )
    add_signing_key(parser, "sign what is pushed with this private key")
    options.add_setting(
        parser,
        "--builder-id",
        "URI that names this builder in what it signs",
        shown="urn:foundry-reconciler:builder: and the machine's name",
        metavar="URI",
    )
    options.add_conversions(parser)
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    interrupt_on_signals()
    key = signing_key(arguments)
    if arguments.verbose:
        log.talk()
    machines, unread = _machines(arguments.inventories) if arguments.inventories else (None, ())
    with options.machine_under_lock(arguments, "build") as machine:
        parsed = load_manifests(arguments, machine, accept=True)
        if machines is not None:
            parsed = wanted_by(machines, parsed)
        with reporter_for(quiet=arguments.quiet) as reporter:
            chosen = options.pass_options(arguments)
            result = build(
                machine,
                parsed,
                reporter,
                chosen,
                arguments.shard,
                partial(note, arguments),
                ignore_claims=arguments.ignore_claims,
                signer=_signer(key, arguments, machine) if key is not None else None,
            )
    show_resolution(arguments, result.warnings, (*unread, *result.problems))
    _show(result, arguments)
    return OK if result.complete and not unread else PARTLY


def _machines(folder: str) -> tuple[tuple[dict[str, str], ...], tuple[Problem, ...]]:
    if not os.path.isdir(folder):
        raise UsageError(f"--for: there is no folder {folder}", hint="`reconciler inventory > DIR/NAME.json` fills one")
    return labels_in(folder)


def _show(result: BuildResult, arguments: argparse.Namespace) -> None:
    if arguments.output == "json":
        builds = [camel_view(one) for one in result.builds]
        sys.stdout.write(json_text({"formatVersion": FORMAT_VERSION, "complete": result.complete, "builds": builds}))
        return
    for one in result.builds:
        say(arguments, f"{one.variant}: {one.status} {one.build_key}" + (f": {one.message}" if one.message else ""))
    counts = ", ".join(f"{count} {status}" for status, count in counts_of(result).items())
    say(arguments, f"Build: {counts or 'nothing to do'}.")


def _signer(key: SigningKey, arguments: argparse.Namespace, machine: Machine) -> Signer:
    builder = arguments.builder_id or f"urn:foundry-reconciler:builder:{machine_name(machine)}"
    if not urlsplit(builder).scheme or not builder.isprintable() or " " in builder:
        raise UsageError(f"--builder-id wants a URI, got {builder!r}", hint="such as https://ci.example.org/builders/1")
    return Signer(key=key, builder=builder, repository=arguments.repo or "", began=now())


def _shard(text: str) -> Shard:
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= 10_000):
        raise argparse.ArgumentTypeError(f"expected I/N with I from 1 to N, such as 2/5, got {text!r}")
    return Shard(number=int(number), count=int(count))
