"""Print the JSON Schema of the manifests, for editors: put
`# yaml-language-server: $schema=schema/v1alpha1.json` on top of a manifest.
"""

import argparse
import sys

from reconciler.cli.exit_codes import OK
from reconciler.cli.output import json_text
from reconciler.manifests.schema import json_schema


def add_arguments(parser: argparse.ArgumentParser) -> None: ...


def run(arguments: argparse.Namespace) -> int:
    sys.stdout.write(json_text(json_schema()))
    return OK
