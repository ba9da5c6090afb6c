"""What `explain` shows of one variant: its build key, recipe, gates, chat template and Olive configuration. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.recorded import Recorded
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.units import size_text
from reconciler.reports.gates_explained import gates_lines, gates_view
from reconciler.reports.view import FORMAT_VERSION


def explanation_view(variants: list[dict[str, Any]]) -> dict[str, Any]:
    return {"formatVersion": FORMAT_VERSION, "variants": variants}


def variant_explained(wanted: DesiredRelease, recorded: Recorded, olive: Mapping[str, Any]) -> dict[str, Any]:
    release = wanted.release
    return {
        "variant": wanted.variant,
        "buildKey": release.recipe.build_key,
        "release": release.digest,
        "recipe": release.recipe.as_json(),
        "gates": gates_view(wanted, recorded),
        "predictedBytes": wanted.predicted_bytes,
        "peakBytes": wanted.peak_bytes,
        "olive": olive,
        "template": {"origin": release.template_origin, "jinja": release.template},
    }


def explanation_text(view: Mapping[str, Any]) -> str:
    return "\n".join(map(_variant_text, view["variants"]))


def _variant_text(one: Mapping[str, Any]) -> str:
    gates = "".join(f"  {line}\n" for line in gates_lines(one["gates"]))
    return for_terminal(
        f"{one['variant']}\n"
        f"  build key  {one['buildKey']}\n"
        f"  release    {one['release']}\n"
        f"  artifact   about {size_text(one['predictedBytes'])}, "
        f"{size_text(one['peakBytes'])} at the peak of the conversion\n"
        f"{gates}"
        f"  template   {one['template']['origin']}\n\n"
        f"{one['template']['jinja'].rstrip()}\n\n"
        f"Olive configuration; to run it by hand, save it as config.json and type "
        f"`olive run --config config.json`:\n\n{json.dumps(one['olive'], indent=2)}\n"
    )
