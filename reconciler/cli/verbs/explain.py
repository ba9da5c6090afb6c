"""`reconciler explain NAME`: nothing hidden between a manifest and the bytes it becomes."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from reconciler.cli import options
from reconciler.cli.exit_codes import OK
from reconciler.cli.manifests import load_manifests
from reconciler.cli.output import json_text
from reconciler.conversion.olive_config import olive_config
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import ManifestsInvalid, PermanentError
from reconciler.domain.escape import for_terminal
from reconciler.domain.recorded import Recorded
from reconciler.domain.units import size_text
from reconciler.engine.machine import observe, recall
from reconciler.engine.resolve import Resolution, resolve
from reconciler.reports.gates_explained import gates_lines, gates_view


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="a declared model, or one of its variants (capitals-int4)"
    )
    options.add_manifests(parser)
    options.add_machine(parser)
    options.add_output(parser, "text", "json")


def run(arguments: argparse.Namespace) -> int:
    machine = options.opened_machine(arguments)
    resolution = resolve(load_manifests(arguments, machine), machine.stamps, cache=machine.sources)
    found = _find(arguments.name, resolution)
    recorded = recall(machine, observe(machine))
    views = [_view(wanted, resolution, recorded) for wanted in found]
    if arguments.output == "json":
        sys.stdout.write(json_text({"formatVersion": 1, "variants": views}))
    else:
        sys.stdout.write("\n".join(map(_text, views)))
    return OK


def _find(name: str, resolution: Resolution) -> list[DesiredRelease]:
    found = [w for w in resolution.desired.wanted if name in (w.variant, w.release.model)]
    if found and all(one.fetch is None or one.fetch.known for one in found):
        return found
    if found:
        hint = "its source is on the hub: `reconciler apply` fetches it, and then its recipe is known"
        raise PermanentError(f"nothing is known of {name} yet", hint=hint, code="SourceMissing")
    if resolution.problems:
        raise ManifestsInvalid(resolution.problems)
    known = ", ".join(sorted({w.release.model for w in resolution.desired.wanted})) or "nothing"
    raise PermanentError(f"no manifest declares {name}", hint=f"declared: {known}", code="NotDeclared")


def _view(wanted: DesiredRelease, resolution: Resolution, recorded: Recorded) -> dict[str, Any]:
    recipe = wanted.release.recipe
    source = resolution.sources[recipe.build_key]
    return {
        "variant": wanted.variant,
        "buildKey": recipe.build_key,
        "release": wanted.release.digest,
        "recipe": recipe.as_json(),
        "gates": gates_view(wanted, recorded),
        "predictedBytes": wanted.predicted_bytes,
        "peakBytes": wanted.peak_bytes,
        "olive": olive_config(recipe, source.path, "out", "cache", adapter_path=source.adapter),
        "template": {"origin": wanted.release.template_origin, "jinja": wanted.release.template},
    }


def _text(view: dict[str, Any]) -> str:
    config = json.dumps(view["olive"], indent=2)
    gates = "".join(f"  {line}\n" for line in gates_lines(view["gates"]))
    return for_terminal(
        f"{view['variant']}\n"
        f"  build key  {view['buildKey']}\n"
        f"  release    {view['release']}\n"
        f"  artifact   about {size_text(view['predictedBytes'])}, "
        f"{size_text(view['peakBytes'])} at the peak of the conversion\n"
        f"{gates}"
        f"  template   {view['template']['origin']}\n\n"
        f"{view['template']['jinja'].rstrip()}\n\n"
        f"Olive configuration; to run it by hand, save it as config.json and type "
        f"`olive run --config config.json`:\n\n{config}\n"
    )
