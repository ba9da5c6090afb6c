"""`reconciler validate`: no machine is needed, nothing heavy is loaded, all problems come at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from reconciler.cli import options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import show, show_problems
from reconciler.domain.errors import Problem
from reconciler.engine.resolve import resolve
from reconciler.host.stamps import Unhashed
from reconciler.operations.own_templates import own_templates
from reconciler.reports import render
from reconciler.reports.view import problems_view
from reconciler.sources.manifests import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="DIR", nargs="*", help="folders with manifests (default: --path)")
    options.add_manifests(parser)
    options.add_output(parser, "text", "json", "github")
    options.add_talk(parser)


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
    view = problems_view(problems, warnings)
    if arguments.output == "text":
        show_problems(warnings, "warning")
        show_problems(problems)
        _summary(models, problems, arguments)
    else:
        show(view, arguments.output, {"github": _github})
    return ERROR if problems else OK


def _summary(models: int, problems: list[Problem], arguments: argparse.Namespace) -> None:
    if not arguments.quiet:
        found = f"{len(problems)} problem(s)" if problems else "valid"
        sys.stdout.write(f"{models} model(s): {found}\n")


def _github(view: Mapping[str, Any]) -> str:
    lines = [render.problem_annotation(p) for p in view["problems"]]
    lines += [render.problem_annotation(w, "warning") for w in view["warnings"]]
    return "".join(line + "\n" for line in lines)
