"""`reconciler schema`: the JSON Schema of the manifests, from the very types that check them."""

from __future__ import annotations

import sys

from reconciler.cli.exit_codes import OK
from reconciler.cli.output import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the JSON Schema of the manifests, for editors: put\n"
        "`# yaml-language-server: $schema=schema/v1alpha1.json` on top of a manifest."
    )


def run(arguments: argparse.Namespace) -> int:
    from reconciler.core.schema import json_schema

    sys.stdout.write(json_text(json_schema()))
    return OK
