"""Show what `apply` would change on this machine, and why. Changes nothing, takes no lock."""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import CHANGES, ERROR, OK
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import show, show_resolution
from reconciler.cli.reports import reader_of
from reconciler.engine.job import who_works
from reconciler.engine.planning import Others, take_snapshot
from reconciler.engine.registries import RegistryLookup
from reconciler.engine.rollouts.gate import rollout_gate
from reconciler.reports import render, view
from reconciler.reports.pull_request import plan_comment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.add_manifests(parser, repository=True)
    options.add_flag(parser, "--detailed-exitcode", "exit 2 when something differs, also where it is held back")
    options.add_flag(parser, "--confirm", "plan as if large prunes were confirmed")
    parser.add_argument(
        "--assume-runtime",
        metavar="NAME=VERSION,...",
        type=options.versions,
        default={},
        help="plan as if these versions were installed, e.g. foundry-local-sdk=2.3.0, to see what an upgrade changes",
    )
    options.add_conversion_memory(parser)
    options.add_common(parser, "text", "json", "markdown", "github")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    seen = take_snapshot(
        machine,
        load_manifests(arguments, machine),
        confirm=arguments.confirm,
        assumed=arguments.assume_runtime,
        others=Others(RegistryLookup(machine), rollout_gate(machine, reader_of(arguments, machine))),
    )
    plan, resolution = seen.plan, seen.resolution
    if arguments.output == "text":
        show_resolution(arguments, resolution.warnings, resolution.problems)
    show(
        view.plan_view(plan, resolution.problems, resolution.warnings, resolution.policies)
        | {"working": who_works(machine.layout)},
        arguments.output,
        text=render.plan_text,
        markdown=plan_comment,
        github=render.plan_github,
    )
    if resolution.problems:
        return ERROR
    return CHANGES if arguments.detailed_exitcode and (plan or plan.held) else OK
