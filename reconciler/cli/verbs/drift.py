"""Show how this machine differs from git. Pending: git is ahead; the next apply brings the change here.
Drifted: a registration, a folder or a file was changed by something other than reconciler; the next apply
repairs it, but find out why. What cannot be compared (a broken manifest or source) is shown as not checked,
with the time since when. Changes nothing, takes no lock, needs only read access. A file is read again only
when its time stamps changed; `reconciler verify` reads every byte.
"""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import DRIFTED, ERROR, PENDING
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import show, show_problems
from reconciler.engine.planning import take_snapshot
from reconciler.reports.drift import drift_text, drift_view, find_drift


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser, repository=True)
    options.add_common(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    seen = take_snapshot(machine, load_manifests(arguments, machine))
    desired, problems = seen.resolution.desired, seen.resolution.problems
    found = find_drift(desired, seen.observed, seen.recorded, seen.plan, machine.records.conditions())
    if arguments.output == "text":
        show_problems(problems)
    show(drift_view(desired.revision, found, problems), arguments.output, text=drift_text)
    states = {one.state for one in found}
    if problems or "unchecked" in states:
        return ERROR
    return PENDING * ("pending" in states) + DRIFTED * ("drifted" in states)
