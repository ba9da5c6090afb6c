"""Gathers what is known of a declared model for `explain`: what it is made of, its licence, what policies say of it; of
each variant its recipe, numbers, build and whether this machine serves it. Offline; reads only.
"""

from collections.abc import Sequence

from reconciler.conversion.precisions import olive_config
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.manifest import Model
from reconciler.domain.policy.licenses import declared_license
from reconciler.domain.policy.policy import PolicyResult
from reconciler.engine.machine import Machine, machine_name, observe, recall
from reconciler.engine.policies import with_builds
from reconciler.engine.resolve import Resolution
from reconciler.manifests.parsed import Parsed
from reconciler.operations.bom import PartsGatherer
from reconciler.reports.bom import SourceParts, VariantParts
from reconciler.reports.explanation import served_view, variant_explained
from reconciler.reports.view import FORMAT_VERSION, View, policy_view


def explain(machine: Machine, parsed: Parsed, resolution: Resolution, wanted: Sequence[DesiredRelease]) -> View:
    """Of these variants of one model, whose recipes are known."""
    observed = observe(machine)
    recorded = recall(machine, observed)
    model = next(one for one in parsed.models if one.name == wanted[0].release.model)
    policies = with_builds(resolution.desired, resolution.policies, observed, recorded).results
    gatherer, conditions = PartsGatherer(machine, parsed, observed, recorded), machine.records.conditions()
    explained, parts = [], []
    for one in wanted:
        recipe, source = one.release.recipe, resolution.sources[one.release.recipe.build_key]
        olive = {} if recipe.as_is else olive_config(recipe, source.path, "out", "cache", adapter_path=source.adapter)
        artifact = observed.artifacts.get(recipe.build_key)
        parts.append(gatherer.variant(one))
        explained.append(
            variant_explained(one, recorded, olive, artifact)
            | {"served": served_view(one, observed, recorded, conditions.get(one.variant, {}))}
        )
    precisions = {one.release.precision for one in wanted}
    said = [one for one in policies if one.model == model.name and one.precision in {"", *precisions}]
    return {
        "formatVersion": FORMAT_VERSION,
        "revision": parsed.revision,
        "machine": machine_name(machine),
        "model": _model(model, parts, said),
        "variants": explained,
    }


def _model(model: Model, parts: Sequence[VariantParts], policies: Sequence[PolicyResult]) -> View:
    made_of = parts[0].made_of
    return {
        "name": model.name,
        "file": model.file,
        "line": model.line,
        "labels": dict(model.labels),
        "precisions": list(model.precisions),
        "source": _source(made_of[0]),
        "adapter": _source(made_of[1]) if len(made_of) > 1 else None,
        "policies": [policy_view(one) for one in policies],
        "missing": list(dict.fromkeys(f"{one.wanted.variant}: {text}" for one in parts for text in one.missing)),
    }


def _source(one: SourceParts) -> View:
    """`license` is an expression, "" where the card names none that is one; `licenseNames` are its own words."""
    return {
        "name": one.name,
        "repository": one.repository or None,
        "revision": one.revision or None,
        "digest": one.digest,
        "files": len(one.files),
        "sizeBytes": sum(file.size for file in one.files),
        "architecture": one.architecture,
        "family": one.family,
        "contextLength": one.context_length or None,
        "task": one.card.task,
        "license": declared_license(one.card),
        "licenseNames": [*one.card.licenses, *filter(None, (one.card.license_name,))],
        "licenseLink": one.card.license_link,
        "baseModels": list(one.card.base_models),
        "datasets": list(one.card.datasets),
        "missing": list(one.missing),
    }
