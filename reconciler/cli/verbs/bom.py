"""Write the bill of materials (SBOM) of a declared model or one of its variants, as a CycloneDX document with a model
card: its source and adapter, the files of the converted artifact, the tools, the licence, the measured fidelity. What
is not built or not known here is named, in the document and on stderr. Changes nothing, and uses no
network but git (--repo).
"""

import argparse
import sys

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.manifests import declared_variants, load_manifests
from reconciler.cli.output import json_text, note
from reconciler.engine.resolve import resolve
from reconciler.operations.bom import make_bom


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a declared model, or one of its variants (capitals-int4)")
    options.add_manifests(parser, repository=True)
    options.add_machine(parser)
    options.add_output(parser, "cyclonedx-json")
    options.add_flag(parser, "--no-time", "leave out when it was built: equal inputs then give equal bytes anywhere")
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    parsed = load_manifests(arguments, machine)
    wanted = declared_variants(arguments.name, resolve(parsed, machine.stamps, cache=machine.sources))
    view, missing = make_bom(machine, parsed, arguments.name, wanted, dated=not arguments.no_time)
    sys.stdout.write(json_text(view))
    for line in missing:
        note(arguments, line)
    return OK
