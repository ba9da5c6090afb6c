"""The bill of materials of declared variants as a CycloneDX document (1.6, JSON): what each is made of, by digest, and
by which tools; its model card with the measured fidelity; and what of that is not known here. Pure.

Written by hand: the Python library of CycloneDX has no model cards and no formulation. A test holds the documents to
the official schema.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reconciler.conversion.toolchain import OWN_TOOL
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.digest import StoredFile
from reconciler.domain.machine.trust import Origin
from reconciler.domain.measured import Fidelity
from reconciler.domain.release import Artifact, Recipe
from reconciler.domain.sources.model_card import ModelCard
from reconciler.domain.text.names import camel

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
SPEC_VERSION = "1.6"
OWN = "reconciler.foundry:"  # begins the names of our properties
TASK = "text-generation"  # of every model that is served here

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SourceParts:
    """A source model, or an adapter. `repository` and `revision` are "" for a folder. `licenses` are CycloneDX's choice
    of licences. `missing` says what of it is not known here."""

    name: str
    digest: str
    files: tuple[StoredFile, ...]
    repository: str = ""
    revision: str = ""
    architecture: str = ""
    family: str = ""  # config.json: model_type
    context_length: int = 0
    card: ModelCard = field(default_factory=ModelCard)
    licenses: tuple[Json, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        return f"source/{self.digest}"


@dataclass(frozen=True, kw_only=True)
class VariantParts:
    """`artifact` is None where it is not here. `missing` as in SourceParts."""

    wanted: DesiredRelease
    source: SourceParts
    adapter: SourceParts | None = None
    artifact: Artifact | None = None
    origin: Origin | None = None
    fidelity: Fidelity | None = None
    missing: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        return f"variant/{self.wanted.variant}"

    @property
    def recipe(self) -> Recipe | None:
        return self.wanted.release.recipe if self.wanted.recipe_is_known else None

    @property
    def made_of(self) -> tuple[SourceParts, ...]:
        return (self.source, self.adapter) if self.adapter is not None else (self.source,)


def bom_view(
    name: str, variants: Sequence[VariantParts], version: str, when: str = "", serial_number: str = ""
) -> Json:
    """`name` is a model or one of its variants, `version` that of this program, `when` RFC 3339 or
    ""."""
    subjects = [_variant(one) for one in variants]
    dependencies = [{"ref": one.ref, "dependsOn": [part.ref for part in one.made_of]} for one in variants]
    if [name] == [one.wanted.variant for one in variants]:
        subject = subjects.pop()
    else:
        subject = {"type": "machine-learning-model", "bom-ref": f"model/{name}", "name": name}
        dependencies.append({"ref": f"model/{name}", "dependsOn": [one.ref for one in variants]})
    sources = {part.ref: part for one in variants for part in one.made_of}
    built = all(one.artifact is not None for one in variants)
    metadata: Json = {
        "lifecycles": [{"phase": "post-build" if built else "pre-build"}],
        "tools": {"components": [{"type": "application", "name": "foundry-reconciler", "version": version}]},
        "component": subject,
    }
    formula = _formula(variants)
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        **({"serialNumber": serial_number} if serial_number else {}),
        "version": 1,
        "metadata": {"timestamp": when, **metadata} if when else metadata,
        "components": [*subjects, *map(_source, sources.values())],
        "dependencies": [*dependencies, *({"ref": ref} for ref in sources)],
        "compositions": list(_compositions([*variants, *sources.values()])),
        **({"formulation": [formula]} if formula else {}),
    }


def _variant(one: VariantParts) -> Json:
    release, artifact = one.wanted.release, one.artifact
    component: Json = {
        "type": "machine-learning-model",
        "bom-ref": one.ref,
        "name": release.variant,
        "description": f"{release.model} at {release.precision}",
    }
    if artifact is not None:
        component |= {"version": artifact.digest, "hashes": _hashes(artifact.digest)}
    component |= _licensed(one.source)
    if artifact is not None:
        component |= _where(one.origin, artifact)
        component["components"] = _files(one.ref, artifact.files)
    component["modelCard"] = _model_card(one)
    component["properties"] = list(_variant_properties(one))
    return component


def _where(origin: Origin | None, artifact: Artifact) -> Json:
    if origin is None:
        return {}
    repository = origin.registry.lower()
    name = repository.rpartition("/")[2]
    return {
        "purl": f"pkg:oci/{name}@{_quoted(artifact.digest)}?repository_url={_quoted(repository)}",
        "externalReferences": [{"type": "distribution", "url": f"oci://{repository}@{artifact.digest}"}],
    }


def _model_card(one: VariantParts) -> Json:
    source = one.source
    parameters: Json = {"task": source.card.task or TASK}
    if source.family:
        parameters["architectureFamily"] = source.family
    if source.architecture:
        parameters["modelArchitecture"] = source.architecture
    if source.card.datasets:
        parameters["datasets"] = [{"type": "dataset", "name": name} for name in source.card.datasets]
    parameters |= {"inputs": [{"format": "text"}], "outputs": [{"format": "text"}]}
    card: Json = {"modelParameters": parameters}
    if one.fidelity is not None:
        card["quantitativeAnalysis"] = {"performanceMetrics": list(_metrics(one.fidelity))}
    return card


def _metrics(found: Fidelity) -> Iterator[Json]:
    """Of the artifact beside its source, over the positions of fixed texts."""
    measures = {
        "top-1 agreement with the source": found.top1_agreement,
        "mean KL divergence from the source (nats)": found.mean_kl,
        "perplexity ratio to the source": found.perplexity_ratio,
        "KL divergence not explained by rounding (nats)": found.wiring_kl,
        "rounding distance": found.rounding_distance,
    }
    for kind, value in measures.items():
        if value is not None:
            yield {"type": kind, "value": f"{value:.6g}", "slice": f"{found.positions} positions of {found.prompts}"}


def _variant_properties(one: VariantParts) -> Iterator[Json]:
    release, recipe = one.wanted.release, one.recipe
    named: dict[str, object] = {"model": release.model, "precision": release.precision}
    if recipe is not None:
        named |= {"buildKey": recipe.build_key, "release": release.digest}
        named |= {"servedAsIs": True} if recipe.as_is else {}
        named |= {f"quantization.{camel(option)}": held for option, held in sorted(recipe.options.items())}
        named |= {"device": recipe.target.device, "executionProvider": recipe.target.execution_provider}
    named |= {"template": release.template_origin, "templateDigest": release.parts["template"] if recipe else ""}
    named |= {"contextLength": one.source.context_length or "", "signedBy": one.origin.signed_by if one.origin else ""}
    yield from _properties(named)
    yield from _missing(one.missing)


def _source(one: SourceParts) -> Json:
    component: Json = {"type": "machine-learning-model", "bom-ref": one.ref}
    group, _, name = one.name.rpartition("/")
    component |= {"group": group, "name": name} if group else {"name": name}
    if one.revision:
        component["version"] = one.revision
    component |= _licensed(one)
    if one.repository:
        component |= {
            "purl": f"pkg:huggingface/{one.repository}@{one.revision.lower()}",
            "externalReferences": [
                {"type": "distribution", "url": f"https://huggingface.co/{one.repository}/tree/{one.revision}"}
            ],
        }
    if one.card.base_models:
        ancestors = [{"type": "machine-learning-model", "name": base} for base in one.card.base_models]
        component["pedigree"] = {"ancestors": ancestors}
    component["components"] = _files(one.ref, one.files)
    component["properties"] = [*_properties({"digest": one.digest}), *_missing(one.missing)]
    return component


def _licensed(one: SourceParts) -> Json:
    return {"licenses": list(one.licenses)} if one.licenses else {}


def _files(ref: str, files: Iterable[StoredFile]) -> list[Json]:
    return [
        {
            "type": "file",
            "bom-ref": f"{ref}/{file.path}",
            "name": file.path,
            "hashes": _hashes(file.digest),
            "properties": list(_properties({"sizeBytes": file.size})),
        }
        for file in sorted(files, key=lambda file: file.path)
    ]


def _hashes(digest: str) -> list[Json]:
    return [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]


def _properties(named: Mapping[str, object]) -> Iterator[Json]:
    """What has a value."""
    for name, held in named.items():
        if held not in ("", None):
            yield {"name": OWN + name, "value": str(held).lower() if isinstance(held, bool) else str(held)}


def _missing(missing: Iterable[str]) -> Iterator[Json]:
    return ({"name": f"{OWN}missing", "value": one} for one in missing)


def _compositions(parts: Iterable[VariantParts | SourceParts]) -> Iterator[Json]:
    """Whether the files of each are all there are."""
    whole: dict[bool, list[str]] = {True: [], False: []}
    for one in parts:
        known = one.artifact is not None if isinstance(one, VariantParts) else bool(one.files)
        whole[known].append(one.ref)
    for known, aggregate in ((True, "complete"), (False, "incomplete")):
        if whole[known]:
            yield {"aggregate": aggregate, "assemblies": whole[known]}


def _formula(variants: Iterable[VariantParts]) -> Json:
    """The conversions, and the tools whose versions decide their bytes. Empty where no recipe is known, and nothing is
    converted."""
    known = [(one, one.recipe) for one in variants if one.recipe is not None and not one.recipe.as_is]
    tools = {tool for _, recipe in known if recipe for tool in recipe.tools.items()}
    workflows = [
        {
            "bom-ref": f"conversion/{one.wanted.variant}",
            "uid": recipe.build_key,
            "name": f"conversion of {one.wanted.variant}",
            "taskTypes": ["build"],
            "inputs": [{"resource": {"ref": part.ref}} for part in one.made_of],
            "outputs": [{"type": "artifact", "resource": {"ref": one.ref}}],
        }
        for one, recipe in known
        if recipe is not None
    ]
    return {"components": [_tool(*one) for one in sorted(tools)], "workflows": workflows} if workflows else {}


def _tool(name: str, version: str) -> Json:
    kind = "generic" if name == OWN_TOOL else "pypi"
    component = {"type": "library", "bom-ref": f"tool/{name}@{version}", "name": name, "version": version}
    return component | {"purl": f"pkg:{kind}/{name}@{_quoted(version)}"}


def _quoted(text: str) -> str:
    """As a package URL has it, of the letters that digests, registries and versions are made of."""
    return text.replace(":", "%3A").replace("+", "%2B")
