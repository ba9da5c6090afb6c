"""`reconciler schema`: print the JSON Schema of the manifests, generated from the types that validate them."""

import argparse
import sys

from reconciler.cli.exit_codes import OK
from reconciler.cli.output import json_text
from reconciler.manifests.schema import json_schema


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the JSON Schema of the manifests, for editors: put\n"
        "`# yaml-language-server: $schema=schema/v1alpha1.json` on top of a manifest."
    )


def run(arguments: argparse.Namespace) -> int:
    sys.stdout.write(json_text(json_schema()))
    return OK
