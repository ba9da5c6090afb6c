"""Check manifests and report every problem at once. Needs no machine."""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import say, show, show_problems
from reconciler.domain.errors import Problem
from reconciler.domain.plain_data import as_dict
from reconciler.engine.resolve import resolve
from reconciler.host.stamps import Unhashed
from reconciler.operations.templates import own_templates
from reconciler.reports.text import annotations
from reconciler.reports.view import FORMAT_VERSION
from reconciler.sources.manifests import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="DIR", nargs="*", help="folders with manifests (default: --path)")
    options.add_manifests(parser)
    options.add_output(parser, "text", "json", "github")
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    problems: list[Problem] = []
    warnings: list[Problem] = []
    models = 0
    for path in arguments.paths or [arguments.path]:
        parsed = load(path, allowed_roots=tuple(arguments.source_root))
        resolution = resolve(parsed, Unhashed.empty())
        problems += resolution.problems
        warnings += (*resolution.warnings, *own_templates(parsed.models, resolution))
        models += len(parsed.models)
    if arguments.output == "text":
        show_problems(warnings, "warning")
        show_problems(problems)
        say(arguments, f"{models} model(s): {f'{len(problems)} problem(s)' if problems else 'valid'}")
    else:
        found = {"problems": list(map(as_dict, problems)), "warnings": list(map(as_dict, warnings))}
        show({"formatVersion": FORMAT_VERSION, **found}, arguments.output, github=lambda view: annotations(**found))
    return ERROR if problems else OK
