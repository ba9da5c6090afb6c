"""Show everything that a declared model becomes before it is converted: build key, recipe, gates, chat template and
the exact Olive configuration.
"""

import argparse

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.manifests import declared_variants, load_manifests
from reconciler.cli.output import show
from reconciler.conversion.precisions import olive_config
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import PermanentError
from reconciler.engine.machine import observe, recall
from reconciler.engine.resolve import Resolution, resolve
from reconciler.reports.explanation import explanation_text, variant_explained
from reconciler.reports.view import FORMAT_VERSION


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a declared model, or one of its variants (capitals-int4)")
    options.add_manifests(parser)
    options.add_machine(parser)
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    resolution = resolve(load_manifests(arguments, machine), machine.stamps, cache=machine.sources)
    observed = observe(machine)
    found, recorded = _find(arguments.name, resolution), recall(machine, observed)
    explained = []
    for one in found:
        recipe, source = one.release.recipe, resolution.sources[one.release.recipe.build_key]
        olive = olive_config(recipe, source.path, "out", "cache", adapter_path=source.adapter)
        explained.append(variant_explained(one, recorded, olive, observed.artifacts.get(recipe.build_key)))
    show({"formatVersion": FORMAT_VERSION, "variants": explained}, arguments.output, text=explanation_text)
    return OK


def _find(name: str, resolution: Resolution) -> list[DesiredRelease]:
    found = declared_variants(name, resolution)
    if all(one.recipe_is_known for one in found):
        return found
    hint = "its source is on the hub: its recipe is known after `reconciler apply` has fetched it"
    raise PermanentError(f"the source of {name} is not here yet", hint=hint, code="SourceMissing")
