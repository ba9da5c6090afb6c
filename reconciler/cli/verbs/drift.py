"""`reconciler drift`: is git ahead of the machine, or did the machine change behind our back? Reads only, no lock."""

from __future__ import annotations

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import DRIFTED, ERROR, PENDING
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import show, show_problems
from reconciler.engine.planning import take_snapshot
from reconciler.reports.drift import drift_text, drift_view, find_drift


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Tell two ways to differ from git apart. Pending: git is ahead, the next apply brings it here. Drifted: a\n"
        "registration, a folder or a file changed without a commit; the next apply repairs it, but look for\n"
        "the cause. What cannot be compared (a broken manifest or source) is shown as not checked, with since when.\n"
        "Changes nothing, takes no lock, needs only read rights. Files are judged by their time stamps, and read\n"
        "when those are new; `reconciler verify` reads every byte."
    )
    options.add_manifests(parser)
    options.add_repository(parser)
    options.add_machine(parser)
    options.add_output(parser, "text", "json")
    options.add_talk(parser)


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    seen = take_snapshot(machine, load_manifests(arguments, machine))
    desired, problems = seen.resolution.desired, seen.resolution.problems
    found = find_drift(desired, seen.observed, seen.recorded, seen.plan, machine.records.conditions())
    if arguments.output == "text":
        show_problems(problems)
    show(drift_view(desired.revision, found, problems), arguments.output, {"text": drift_text})
    states = {one.state for one in found}
    if problems or "unchecked" in states:
        return ERROR
    return PENDING * ("pending" in states) + DRIFTED * ("drifted" in states)
