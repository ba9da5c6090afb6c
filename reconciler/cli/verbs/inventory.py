"""Show what this machine is, holds and serves, as a document small enough for git. `reconciler diff --against FILE`,
run on another machine, predicts from it what a change of manifests would do on this one. It holds no secrets, and shows
a home folder as `~`. Changes nothing here. A daemon sends it by itself; --push does so once (docs/fleet.md).
"""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.output import note, show
from reconciler.cli.reports import push_report
from reconciler.cli.signing import add_signing_key
from reconciler.domain.text.units import size_text
from reconciler.fleet.inventory_form import inventory_view
from reconciler.operations.inventory import take_inventory
from reconciler.reports.text import Shown, terminal_lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_flag(parser, "--push", "also send it as a report to the place of the configuration (reports.to)")
    add_signing_key(parser, "with --push: sign the report with this private key")
    options.add_common(parser, "json", "text")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    inventory = take_inventory(machine)
    if arguments.push:
        note(arguments, f"sent to {push_report(arguments, machine, inventory)}")
    view = inventory_view(inventory)
    show(view, arguments.output, text=_text)
    return OK


def _text(view: Shown) -> str:
    facts, disk = view["facts"], view["disk"]
    rows = {
        "machine": f"{view['machine']} ({facts['os']}/{facts['arch']}, {facts['cpus']} CPUs, "
        f"{size_text(facts['memoryBytes'])})",
        "labels": ", ".join(f"{key}={value}" for key, value in sorted(view["labels"].items())) or "none",
        "providers": ", ".join(facts["executionProviders"]),
        "disk": f"{size_text(disk['freeBytes'])} of {size_text(disk['totalBytes'])} free, "
        f"{size_text(disk['usedBytes'] or 0)} used by this root",
        "revision": view["appliedRevision"] or "none applied yet",
        "artifacts": f"{len(view['artifacts'])}",
    }
    lines = [f"{name:<10} {text}" for name, text in rows.items()]
    lines += [_variant(one) for one in view["variants"] if one["releases"] or one["conditions"]]
    return terminal_lines(lines)


def _variant(one: Shown) -> str:
    serving = [held["number"] for held in one["releases"] if held["registration"]]
    ready = next((c for c in one["conditions"] if c["type"] == "Ready"), None)
    state = f"{'ready' if ready['status'] == 'True' else 'not ready'} ({ready['reason']})" if ready else "no state"
    return f"{one['variant']}:{max(serving)}  {state}" if serving else f"{one['variant']}  not served, {state}"
