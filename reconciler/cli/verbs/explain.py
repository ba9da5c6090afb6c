"""Show everything that a declared model becomes before it is converted: build key, recipe, gates, chat template and
the exact Olive configuration. `-o markdown` is a model sheet: one page on what it is, where from, under which licence,
how it was converted and measured, whose build it is and where it is served. Changes nothing, and uses no
network but git (--repo).
"""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.manifests import declared_variants, load_manifests
from reconciler.cli.output import show
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import PermanentError
from reconciler.engine.resolve import Resolution, resolve
from reconciler.engine.source_trust import SourceTrust
from reconciler.operations.explain import explain
from reconciler.reports.explanation import explanation_text
from reconciler.reports.model_sheet import sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a declared model, or one of its variants (capitals-int4)")
    options.add_manifests(parser, repository=True)
    options.add_machine(parser)
    options.add_output(parser, "text", "json", "markdown")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    parsed, policies = load_manifests(arguments, machine), machine.traits.policies
    trust = SourceTrust.of(machine) if policies or parsed.policies else None  # they may ask for signatures
    resolution = resolve(parsed, machine.stamps, cache=machine.sources, trust=trust, policies=policies)
    view = explain(machine, parsed, resolution, _find(arguments.name, resolution))
    show(view, arguments.output, text=explanation_text, markdown=sheet)
    return OK


def _find(name: str, resolution: Resolution) -> list[DesiredRelease]:
    found = declared_variants(name, resolution)
    if all(one.recipe_is_known for one in found):
        return found
    hint = "its source is on the hub: its recipe is known after `reconciler apply` has fetched it"
    raise PermanentError(f"the source of {name} is not here yet", hint=hint, code="SourceMissing")
