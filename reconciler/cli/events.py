"""`reconciler events`: the machine's own diary."""

from __future__ import annotations

import json
import sys

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.core.escape import for_terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variant", metavar="NAME", nargs="?", help="only events of this model or variant")
    options.add_machine(parser)
    parser.add_argument(
        "-n", "--limit", type=options.positive, default=50, help="at most this many, the newest (default: 50)"
    )
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    from reconciler.core.layout import Layout
    from reconciler.records.records import Records

    events = Records(Layout(options.root_of(arguments))).events(limit=None)
    chosen = [event for event in events if _concerns(event, arguments.variant)]
    for event in chosen[-arguments.limit :] if arguments.limit > 0 else []:
        line = json.dumps(event, ensure_ascii=False) if arguments.output == "json" else _line(event)
        sys.stdout.write(line + "\n")
    return OK


def _concerns(event: Mapping[str, Any], name: str | None) -> bool:
    variant = str(event.get("variant", ""))
    return name is None or variant == name or variant.rpartition("-")[0] == name


def _line(event: Mapping[str, Any]) -> str:
    number = f":{event['number']}" if event.get("number") else ""
    what = event.get("variant") or f"artifact {str(event.get('buildKey', ''))[7:19]}"
    seconds = f" in {event['seconds']:.1f} s" if event.get("seconds") else ""
    message = f": {event['message']}" if event.get("message") else ""
    head = f"{event.get('time', '')}  {event.get('type', ''):<17} {what}{number}"
    return for_terminal(f"{head} ({event.get('reason', '')}){seconds}{message}")
