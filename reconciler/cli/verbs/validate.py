"""Check manifests and report every problem at once. Needs no machine."""

import argparse
from collections.abc import Sequence

from reconciler.cli import configuration, options
from reconciler.cli.exit_codes import ERROR, OK
from reconciler.cli.output import say, show, show_problems
from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model, variant_name
from reconciler.domain.plain_data import as_dict
from reconciler.domain.policy.policy import PENDING, PolicyResult
from reconciler.domain.text.quoting import count_of
from reconciler.engine.resolve import Resolution, resolve
from reconciler.host.stamps import Unhashed
from reconciler.operations.templates import own_templates
from reconciler.reports.text import annotations
from reconciler.reports.view import FORMAT_VERSION, policies_view
from reconciler.sources.manifests import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="DIR", nargs="*", help="folders with manifests (default: --path)")
    options.add_manifests(parser)
    options.add_policies(parser)
    options.add_output(parser, "text", "json", "github")
    options.add_verbosity(parser)


def run(arguments: argparse.Namespace) -> int:
    problems: list[Problem] = []
    warnings: list[Problem] = []
    policies: list[PolicyResult] = []
    own = configuration.policies_of(arguments.policies)
    valid = 0
    for path in arguments.paths or [arguments.path]:
        parsed = load(path, allowed_roots=tuple(arguments.source_root))
        resolution = resolve(parsed, Unhashed.empty(), policies=own)
        policies += resolution.policies
        problems += resolution.problems
        warnings += (*resolution.warnings, *own_templates(parsed.models, resolution))
        valid += _valid(parsed.models, resolution)
    if arguments.output == "text":
        show_problems(warnings, "warning")
        show_problems(problems)
        say(arguments, _summary(valid, len(problems)))
    else:
        found = {"problems": list(map(as_dict, problems)), "warnings": list(map(as_dict, warnings))}
        view = {"formatVersion": FORMAT_VERSION, **found, "policies": policies_view(policies)}
        show(view, arguments.output, github=lambda view: annotations(**found))
    return ERROR if problems else OK


def _valid(models: Sequence[Model], resolution: Resolution) -> int:
    """How many of the models that could be read have no problem with their source, nor with a policy."""
    refused = {one.model for one in resolution.policies if one.holds and one.result != PENDING}
    unresolved = resolution.desired.unresolved.keys()
    return sum(
        one.name not in refused and unresolved.isdisjoint(variant_name(one.name, each) for each in one.precisions)
        for one in models
    )


def _summary(valid: int, problems: int) -> str:
    if not problems:
        return f"{count_of(valid, 'model')}: valid"
    others = f"{count_of(valid, 'other model')} {'is' if valid == 1 else 'are'} valid" if valid else "no model is valid"
    return f"{count_of(problems, 'problem')}; {others}"
