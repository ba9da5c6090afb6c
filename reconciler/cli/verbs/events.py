"""Show the event log of this machine, oldest first."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.cli import options
from reconciler.cli.exit_codes import INTERRUPTED, OK
from reconciler.domain.layout import Layout
from reconciler.domain.text.escape import for_json, for_terminal
from reconciler.domain.text.names import model_of
from reconciler.reports.text import event_type
from reconciler.state.events import Follower
from reconciler.state.records import Records

INTERVAL = 0.5  # seconds between two looks at the log


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("variant", metavar="NAME", nargs="?", help="only events of this model or variant")
    options.add_machine(parser)
    parser.add_argument(
        "-n", "--limit", type=options.positive, default=50, help="at most this many, the newest (default: 50)"
    )
    options.add_flag(parser, "--follow", "also show each new event, until Ctrl-C", short="-f")
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    """--follow ends by an interrupt, or by the BrokenPipeError of a reader that has gone."""
    records = Records(Layout(options.root_of(arguments)))
    follower = Follower(records.event_log)
    try:
        events = follower.read() if arguments.follow else records.events(limit=None)
        _show(events, arguments, limit=arguments.limit)
        while arguments.follow:
            time.sleep(INTERVAL)
            _show(follower.read(), arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK


def _show(events: Iterable[Mapping[str, Any]], arguments: argparse.Namespace, *, limit: int = 0) -> None:
    """Print the events that concern the name, at most `limit` of them (0: all)."""
    name, variants = arguments.variant, ((event, str(event.get("variant", ""))) for event in events)
    chosen = [event for event, variant in variants if name in (None, variant, model_of(variant))]
    for event in chosen[-limit:]:
        line = for_json(json.dumps(event, ensure_ascii=False)) if arguments.output == "json" else _line(event)
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _line(event: Mapping[str, Any]) -> str:
    number = f":{event['number']}" if event.get("number") else ""
    what = event.get("variant") or f"artifact {str(event.get('buildKey', ''))[7:19]}"
    seconds = f" in {event['seconds']:.1f} s" if event.get("seconds") else ""
    message = f": {event['message']}" if event.get("message") else ""
    head = f"{event.get('time', '')}  {event_type(event):<17} {what}{number}"
    return for_terminal(f"{head} ({event.get('reason', '')}){seconds}{message}")
