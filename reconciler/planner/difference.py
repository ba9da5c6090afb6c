"""Which manifest fields make a wanted release differ from the one that is served. Pure."""

from dataclasses import dataclass, replace

from reconciler.domain.changes import FieldChange
from reconciler.domain.plain_data import as_dict
from reconciler.domain.reasons import Reason
from reconciler.domain.release import Release, ServedRelease, task_of
from reconciler.domain.text.names import camel

_REASON_OF_PART = {
    "recipe": Reason.RECIPE_CHANGED,
    "template": Reason.TEMPLATE_CHANGED,
    "generation": Reason.GENERATION_CHANGED,
    "task": Reason.TEMPLATE_CHANGED,  # never alone: what is no chat has no template
    "format": Reason.FORMAT_CHANGED,
}

_NOT_OF_RECIPE = ("spec.generation.", "spec.promptTemplate", "spec.task", "reconciler.servingFormat")
_FIELD_OF_RECIPE = {"source": "spec.source", "adapter": "spec.source.adapter", "precision": "spec.precisions"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """`reason` is that of the weightiest part that changed; `forced_by` names every manifest field that did.
    `field_changes` give their values; None where nothing was served that could be compared."""

    reason: Reason
    forced_by: tuple[str, ...] = ()
    field_changes: tuple[FieldChange, ...] | None = None

    @property
    def of_recipe(self) -> "Difference":
        """Only what decides the weights: a template never forces a conversion."""
        if self.field_changes is None:
            return self
        changes = tuple(one for one in self.field_changes if not one.name.startswith(_NOT_OF_RECIPE))
        return replace(self, forced_by=tuple(one.name for one in changes), field_changes=changes)


def compare(wanted: Release, served: ServedRelease | None) -> Difference:
    """With nothing served before, the variant is new."""
    if served is None:
        return Difference(reason=Reason.RELEASE_MISSING)
    changed = [part for part in _REASON_OF_PART if wanted.parts.get(part) != served.parts.get(part)]
    reason = _REASON_OF_PART[changed[0]] if changed else Reason.DRIFT_DETECTED
    changes = field_changes(wanted, served)
    return Difference(reason=reason, forced_by=tuple(one.name for one in changes), field_changes=changes)


def field_changes(new: Release, old: Release | ServedRelease) -> tuple[FieldChange, ...]:
    before, after = _fields(old), _fields(new)
    if old.parts.get("template") == new.parts["template"]:
        # The same text under another name is no change.
        after["spec.promptTemplate"] = before["spec.promptTemplate"]
    return tuple(
        FieldChange(name=name, before=before.get(name), after=after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _fields(one: Release | ServedRelease) -> dict[str, object]:
    """Everything that decides a release, by its name in the manifest."""
    recipe, generation = (part if isinstance(part, dict) else as_dict(part) for part in (one.recipe, one.generation))
    fields: dict[str, object] = {_FIELD_OF_RECIPE[name]: recipe.get(name) for name in _FIELD_OF_RECIPE}
    for prefix, values in (
        ("spec.quantization", recipe.get("options")),
        ("spec.target", recipe.get("target")),
        ("spec.generation", generation),
    ):
        fields |= {f"{prefix}.{camel(name)}": value for name, value in _items(values)}
    if "spec.quantization.original" in fields:  # the one option that a ready ONNX model has
        fields["spec.source.original"] = fields.pop("spec.quantization.original")
    fields |= {f"toolchain.{name}": value for name, value in _items(recipe.get("tools"))}
    fields["spec.promptTemplate"] = f"{one.template_origin} ({one.parts.get('template', '')[:19]})"
    fields["spec.task"] = task_of(one.parts)
    fields["reconciler.servingFormat"] = one.parts.get("format")
    return fields


def _items(values: object) -> list[tuple[str, object]]:
    return [(k, v) for k, v in values.items() if v is not None] if isinstance(values, dict) else []
