"""Which manifest fields make a wanted release differ from the one that is served. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reconciler.domain.recorded import RecordedRelease
from reconciler.domain.release import Marker, Release
from reconciler.domain.value import as_dict

_REASON_OF_PART = {
    "recipe": "RecipeChanged",
    "template": "TemplateChanged",
    "generation": "GenerationChanged",
    "format": "FormatChanged",
}

_GENERATION = "spec.generation."
_NOT_OF_RECIPE = frozenset({"spec.promptTemplate", "reconciler.servingFormat"})

_FIELD_OF_RECIPE = {
    "source": "spec.source",
    "adapter": "spec.source.adapter",
    "precision": "spec.precisions",
}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`reason` is that of the weightiest part that changed; `forced_by` names every manifest field that did, and
    `before` and `after` give their values."""

    reason: str
    forced_by: tuple[str, ...] = ()
    before: dict[str, object] | None = None
    after: dict[str, object] = field(default_factory=dict)

    @property
    def convert_reason(self) -> str:
        return "RecipeChanged" if self.reason == "RecipeChanged" else "ArtifactMissing"

    @property
    def of_recipe(self) -> Difference:
        """Only what decides the weights: a template never forces a conversion."""
        names = [
            name for name in self.forced_by if name not in _NOT_OF_RECIPE and not name.startswith(_GENERATION)
        ]
        before = {name: self.before[name] for name in names} if self.before is not None else None
        after = {name: self.after[name] for name in names}
        return replace(self, forced_by=tuple(names), before=before, after=after)


def compare(wanted: Release, served: Marker | RecordedRelease | None) -> Difference:
    """With nothing served before, the variant is new."""
    if served is None:
        return Difference(reason="ReleaseMissing")
    changed = [part for part, digest in wanted.parts.items() if served.parts.get(part) != digest]
    reason = _REASON_OF_PART[changed[0]] if changed else "DriftDetected"
    before, after = _changed_fields(wanted, served)
    return Difference(reason=reason, forced_by=tuple(sorted(after)), before=before, after=after)


def _changed_fields(
    wanted: Release, served: Marker | RecordedRelease
) -> tuple[dict[str, object], dict[str, object]]:
    old = _fields(served.recipe, served.generation, served.parts, served.template_origin)
    new = _fields(wanted.recipe.as_json(), as_dict(wanted.generation), wanted.parts, wanted.template_origin)
    if served.parts.get("template") == wanted.parts["template"]:
        # The same text under another name is no change.
        new["spec.promptTemplate"] = old["spec.promptTemplate"]
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return {name: old.get(name) for name in changed}, {name: new.get(name) for name in changed}


def _fields(
    recipe: Mapping[str, object], generation: Mapping[str, object], parts: Mapping[str, str], template: str
) -> dict[str, object]:
    """Everything that decides a release, under the name that a person finds it by in the manifest."""
    fields: dict[str, object] = {_FIELD_OF_RECIPE[name]: recipe.get(name) for name in _FIELD_OF_RECIPE}
    for prefix, values in (
        ("spec.quantization", recipe.get("options")),
        ("spec.target", recipe.get("target")),
        ("spec.generation", generation),
    ):
        fields |= {f"{prefix}.{camel(name)}": value for name, value in _items(values)}
    fields |= {f"toolchain.{name}": value for name, value in _items(recipe.get("tools"))}
    fields["spec.promptTemplate"] = f"{template} ({parts.get('template', '')[:19]})"
    fields["reconciler.servingFormat"] = parts.get("format")
    return fields


def _items(values: object) -> list[tuple[str, object]]:
    return [(k, v) for k, v in values.items() if v is not None] if isinstance(values, dict) else []


def camel(name: str) -> str:
    """`block_size` -> `blockSize`, as manifests spell it."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)
