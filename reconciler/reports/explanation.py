"""What `explain` shows of one variant: its build key, recipe, gates, chat template and Olive configuration; of each bar
the number, the verdict, when it was measured and with which libraries. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Condition, Recorded
from reconciler.domain.release import Artifact
from reconciler.domain.text.escape import for_terminal
from reconciler.domain.text.units import size_text
from reconciler.gates.judgement import judge_release, known_numbers
from reconciler.reports.text import Shown, built_by, tally, verdict_sign
from reconciler.reports.view import View, origin_view, verdict_view

AS_IS = "a ready ONNX model, taken as it is: nothing is converted"


def variant_explained(
    wanted: DesiredRelease, recorded: Recorded, olive: Mapping[str, Any], artifact: Artifact | None = None
) -> View:
    """`artifact` is the one that the store has. `outdated` is another runtime that the release was measured with, whose
    numbers count for nothing here."""
    release = wanted.release
    return {
        "variant": wanted.variant,
        "buildKey": release.recipe.build_key,
        "release": release.digest,
        "recipe": release.recipe.as_json(),
        "artifact": artifact.digest if artifact else None,
        "origin": origin_view(recorded.origins.get(artifact.digest)) if artifact else None,
        "gates": {"verdicts": _bars(wanted, recorded), "outdated": recorded.outdated.get(release.digest, {})},
        "longestPrompt": _longest(wanted, recorded),
        "predictedBytes": wanted.predicted_bytes,
        "peakBytes": wanted.peak_bytes,
        "peakMemoryBytes": wanted.memory_needed,
        "dependsOn": list(wanted.depends_on),
        "retryLimit": wanted.retry_limit,
        "olive": olive,
        "template": {"origin": release.template_origin, "jinja": release.template},
    }


def served_view(
    wanted: DesiredRelease, observed: Observed, recorded: Recorded, conditions: Mapping[str, Condition]
) -> View:
    """What this machine serves of the variant: `id` is null for nothing, `current` whether it is what is declared;
    `reason` and `message` are those of the condition Ready after the last pass."""
    registration, record = observed.serving(wanted.variant), recorded.releases.get(wanted.variant)
    ready = conditions.get("Ready")
    return {
        "id": registration.id if registration else None,
        "current": registration is not None and registration.release == wanted.release.digest,
        "since": record.registered if registration and record else None,
        "reason": ready.reason if ready else "NotServed",
        "message": ready.message if ready else "no pass has judged it yet",
    }


def _longest(wanted: DesiredRelease, recorded: Recorded) -> str | None:
    """How long a prompt it answered here, in words; None where `bench` has not measured that."""
    measured = recorded.measured.releases.get(wanted.release.digest)
    return str(measured.longest) if measured and measured.longest else None


def _bars(wanted: DesiredRelease, recorded: Recorded) -> list[View]:
    release, (fidelity, measured) = wanted.release, known_numbers(wanted, recorded)
    times = {**(measured.times if measured else {}), "fidelity": fidelity.when if fidelity else ""}
    views = []
    for verdict in judge_release(wanted.gates, release, fidelity, measured):
        view = verdict_view(verdict) | {"misses": list(verdict.misses), "measured": None, "runtime": {}}
        if verdict.number is not None:  # without an answer to each golden prompt the whole gate is open
            runtime = measured.load.runtime if measured and measured.load else {}
            view["measured"] = times.get(verdict.gate) or None
            view["runtime"] = dict(release.recipe.tools if verdict.gate == "fidelity" else runtime)
        views.append(view)
    return views


def explanation_text(view: Shown) -> str:
    policies = [one for one in view.get("model", {}).get("policies", ()) if one["result"] != "pass"]
    return "\n".join((*map(_variant_text, view["variants"]), *map(_policy_text, policies)))


def _policy_text(one: Shown) -> str:
    place = f"{one['policyFile']}:{one['policyLine']}"
    return for_terminal(f"policy {one['policy']}: {one['rule']} ({place}): {one['result']}: {one['message']}\n")


def _variant_text(one: Shown) -> str:
    gates, template = one["gates"], one["template"]
    bars = "".join(
        f"    {verdict_sign(bar):<10} {bar['gate']}: {bar['message']}{_measured(bar)}\n" for bar in gates["verdicts"]
    )
    if gates["outdated"]:
        with_others = f"measured with {_versions(gates['outdated'])}, which is not what is installed"
        bars += f"    {with_others}: `apply` measures again\n"
    peaks = f"{size_text(one['peakBytes'])} of disk and {size_text(one['peakMemoryBytes'])} of memory"
    built = f"  built by   {built_by(one['origin'])} ({one['artifact']})\n" if one.get("artifact") else ""
    how = f"the conversion takes {peaks} at its peak" if one["olive"] else AS_IS
    sizes = f"about {size_text(one['predictedBytes'])}; {how}"
    return for_terminal(
        f"{one['variant']}\n"
        f"  build key  {one['buildKey']}\n"
        f"  release    {one['release']}\n"
        f"  artifact   {sizes}\n{built}"
        f"{_order(one)}"
        f"  gates      {tally(gates['verdicts'])}\n{bars}"
        f"  template   {template['origin']}\n\n"
        f"{template['jinja'].rstrip()}\n\n"
        f"{_olive_text(one['olive'])}"
    )


def _olive_text(olive: Shown) -> str:
    if not olive:
        return ""
    by_hand = "to run it by hand, save it as config.json and type `olive run --config config.json`"
    return f"Olive configuration; {by_hand}:\n\n{json.dumps(olive, indent=2)}\n"


def _order(one: Shown) -> str:
    after = f"  after      {', '.join(one['dependsOn'])} (dependsOn)\n" if one["dependsOn"] else ""
    limit = one["retryLimit"]
    return after if limit is None else f"{after}  retries    at most {limit}\n"


def _measured(bar: Shown) -> str:
    if bar["number"] is None:
        return ""
    when = f"; measured {bar['measured'] or 'at a time that was not recorded'}"
    return f"{when}, {_versions(bar['runtime'])}" if bar["runtime"] else when


def _versions(runtime: Mapping[str, str]) -> str:
    return " ".join(f"{name} {version}" for name, version in sorted(runtime.items()))
