"""The kinds of manifest, as pydantic types. Most fields of a Model's spec, with their meanings and limits, come from
`ModelOptions` in `domain.manifest`, its gates from their classes; only what is written in forms of its own is here.

The JSON Schema that editors use (`schema/v1alpha1.json`) and the pages in `docs/manifests/` come from these types.
Rules that look at more than one field or more than one file are in `manifests.parse`.
"""

import re
from typing import Annotated, Any, Literal

from annotated_types import Predicate
from pydantic import BeforeValidator, Discriminator, Field, Tag, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import WithDefaultSchema

from reconciler.domain.manifest import API_VERSION, LabelSelector, ModelOptions
from reconciler.domain.policy.policy import PolicyRules
from reconciler.domain.rollout import RolloutOptions
from reconciler.domain.targets.precisions import PRECISIONS
from reconciler.domain.text.quoting import listed, nearest
from reconciler.manifests.described import manifest_type
from reconciler.manifests.field_types import (
    NAME_PATTERN,
    TEMPLATE_FORMS,
    AnyText,
    Flag,
    Name,
    RelativePath,
    Strict,
    as_text,
    expect,
    is_null,
    one_of,
    optional,
    refusal,
)
from reconciler.manifests.gate_schema import GateItem, Messages
from reconciler.manifests.source_schema import SourceManifest
from reconciler.templates.chat_template import CONTENT, LONGEST_PATTERN
from reconciler.templates.presets import PRESETS


class Metadata(Strict):
    name: Name = Field(description="A DNS label: lower-case letters, digits and dashes, at most 40 characters.")
    labels: dict[str, AnyText] = Field(default={}, description="Short facts for people and tools.")
    annotations: dict[str, AnyText] = Field(
        default={},
        description="Instructions. `reconciler.foundry/prune: disabled` keeps a model served when its manifest goes.",
    )


Pattern = Annotated[
    str,
    Field(max_length=LONGEST_PATTERN),
    Predicate(lambda pattern: pattern.count(CONTENT) == 1),
    expect(f"text with {CONTENT} in it, once", as_text, "it marks where the message goes, and is spelt exactly so"),
]


class RolesManifest(Strict):
    """Foundry's own form: one pattern per role, `{Content}` stands for the message."""

    system: Pattern | None = optional("Pattern of a system message; without it, none is allowed.")
    user: Pattern | None = optional("Pattern of a user message. Default: as `prompt`.")
    assistant: Pattern | None = optional("Pattern of an answer. Default: {Content}.")
    prompt: Pattern = Field(
        description="Pattern of the last user message together with what makes the model begin its answer."
    )


class FixtureManifest(Strict):
    """A conversation, and the very text that the template makes of it."""

    exclusive = (("rendered", "file"),)

    messages: Messages = Field(description="The conversation.")
    rendered: AnyText | None = optional("What the model reads, here.")
    file: RelativePath | None = optional("What the model reads, in a file; its last line end is not part of it.")
    add_generation_prompt: Flag = Field(
        default=True, description="An answer is to begin, as in every request; `false` is checked by `validate` only."
    )
    bos_token: AnyText | None = optional("What `bos_token` is, for a template that asks.")
    eos_token: AnyText | None = optional("What `eos_token` is, for a template that asks.")


Fixtures = Annotated[list[FixtureManifest], Field(max_length=100)]


class RolesTemplate(Strict):
    roles: RolesManifest = Field(description="The template in Foundry's own form.")
    fixtures: Fixtures = Field(default=[], description="Conversations, and what the template must make of them.")


class JinjaTemplate(Strict):
    jinja: RelativePath = Field(description="A Jinja chat template file, relative to this file.")
    fixtures: Fixtures = Field(default=[], description="Conversations, and what the template must make of them.")


class TemplateReference(Strict):
    ref: Name = Field(description="The name of a PromptTemplate.")


_is_name = re.compile(NAME_PATTERN).fullmatch

PresetName = Annotated[
    Literal[PRESETS],  # type: ignore[valid-type]  # as of Precision
    one_of(
        PRESETS,
        f"a preset ({listed(PRESETS)}) or one of ref, roles and jinja",
        guess=lambda name: f"write {{ref: {name}}} for the PromptTemplate of that name" if _is_name(name) else "",
    ),
]


def _form(value: object) -> str | None:
    """Which form of template it is, by its one key: pydantic then speaks about that form only."""
    if not isinstance(value, dict):
        return "<preset>"
    forms = [form for form in TEMPLATE_FORMS if form.strip("<>") in value]
    return forms[0] if len(forms) == 1 else None


TemplateChoice = Annotated[
    Annotated[PresetName, Tag("<preset>")]
    | Annotated[TemplateReference, Tag("<ref>")]
    | Annotated[RolesTemplate, Tag("<roles>")]
    | Annotated[JinjaTemplate, Tag("<jinja>")],
    Discriminator(_form),
]


TemplateBody = Annotated[
    Annotated[RolesTemplate, Tag("<roles>")] | Annotated[JinjaTemplate, Tag("<jinja>")], Discriminator(_form)
]

AUTO = "auto"
AUTO_HINT = "write `precisions: auto`, or `precisions: {auto: [...]}` with those that a machine may choose from"
Precision = Annotated[
    Literal[PRECISIONS],  # type: ignore[valid-type]  # the table, read when this is imported
    one_of(PRECISIONS, hints={AUTO: AUTO_HINT}),
]


def _list_of_precisions(value: object) -> object:
    if isinstance(value, str) and not is_null(value):
        named = [one.strip() for one in value.split(",")]
        hint = f"write [{', '.join(named)}]" if {*named} <= {*PRECISIONS} else nearest(value, (AUTO,))
        raise refusal("a list of precisions, or auto", value, hint, "WrongType")
    return value


# That each stands there once is for `manifests.precisions`: here it would hide what is wrong with one of them.
Precisions = Annotated[
    list[Precision],
    BeforeValidator(_list_of_precisions),
    Field(min_length=1, json_schema_extra={"maxItems": len(PRECISIONS), "uniqueItems": True}),
]


class AutoPrecisions(Strict):
    """Each machine serves one of these."""

    auto: Precisions = Field(description="What a machine may take: the most faithful one that it can hold and run.")


def _precision_form(value: object) -> str:
    """A word that is none of ours is told what a list looks like."""
    return "<some>" if isinstance(value, dict) else "<any>" if value == AUTO else "<each>"


PrecisionChoice = Annotated[
    Annotated[Precisions, Tag("<each>")]
    | Annotated[Literal["auto"], one_of((AUTO,)), Tag("<any>")]
    | Annotated[AutoPrecisions, Tag("<some>")],
    Discriminator(_precision_form),
]


def _gates_on_purpose(value: object) -> object:
    if value == []:
        hint = "delete the field for the default gates; one that you do without says why: `fidelity: {skip: ...}`"
        raise refusal("at least one gate", value, hint, "GatesEmpty")
    return value


# That each kind stands there once is for `manifests.gate_rules`, as with the precisions.
Gates = Annotated[list[GateItem], BeforeValidator(_gates_on_purpose)]  # type: ignore[valid-type]

_Options: Any = manifest_type(ModelOptions)


Strategy = Annotated[Literal["side-by-side", "delete-then-build"], one_of(("side-by-side", "delete-then-build"))]


class DiskManifest(Strict):
    strategy: Strategy = Field(
        default="side-by-side",
        description="delete-then-build: where both do not fit, the old one goes before the new one is built.",
    )


class ModelSpec(_Options):  # type: ignore[misc] # its base is made of ModelOptions, and so has all of its fields
    source: SourceManifest = Field(description="Where the model comes from.")
    precisions: PrecisionChoice = Field(
        description="One variant each, named `<model>-<precision>`; `auto`: each machine serves one of them."
    )
    prompt_template: TemplateChoice | None = optional(
        "How a conversation becomes text. Default: `source`, what the model brings."
    )
    gates: Gates | None = optional("What a release must show before it is served, one item each.")
    disk: DiskManifest | None = optional("What a new release may cost of the disk.")


class ModelManifest(Strict):
    """A model that this machine should serve."""

    api_version: Literal["reconciler.foundry/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["Model"] = Field(description="What this document declares.")
    metadata: Metadata = Field(description="What the model is called.")
    spec: ModelSpec = Field(description="What should be served.")


class PromptTemplateManifest(Strict):
    """A chat template that several models share."""

    api_version: Literal["reconciler.foundry/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["PromptTemplate"] = Field(description="What this document declares.")
    metadata: Metadata = Field(description="What the template is called.")
    spec: TemplateBody = Field(description="The template: `roles` or `jinja`.")


class PruneConfirmationSpec(Strict):
    models: list[Name] = Field(
        description="The models that may go at once, by name; none of them is declared any more.",
        min_length=1,
        max_length=1000,
    )


class PruneConfirmationManifest(Strict):
    """Allows that these models are pruned, although many go at once."""

    api_version: Literal["reconciler.foundry/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["PruneConfirmation"] = Field(description="What this document declares.")
    metadata: Metadata = Field(description="What the confirmation is called.")
    spec: PruneConfirmationSpec = Field(description="Which models.")


Rules: Any = manifest_type(PolicyRules)
Selector: Any = manifest_type(LabelSelector)


class PolicySpec(Rules):  # type: ignore[misc] # its base is made of PolicyRules, and so has all of its fields
    selector: Selector | None = optional("Which models it is about, by their labels. Default: all.")


class PolicyManifest(Strict):
    """What models must be to be served."""

    api_version: Literal["reconciler.foundry/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["Policy"] = Field(description="What this document declares.")
    metadata: Metadata = Field(description="What the policy is called.")
    spec: PolicySpec = Field(description="Its rules, and which models they are about.")


_RolloutOptions: Any = manifest_type(RolloutOptions)


class RolloutSpec(_RolloutOptions):  # type: ignore[misc] # its base is made of RolloutOptions, and so has all of its fields
    """Which models, and in which order the machines get a new release of them."""


class RolloutManifest(Strict):
    """In which order the machines of a fleet get a new release."""

    api_version: Literal["reconciler.foundry/v1alpha1"] = Field(description="The version of this format.")
    kind: Literal["Rollout"] = Field(description="What this document declares.")
    metadata: Metadata = Field(description="What the rollout is called.")
    spec: RolloutSpec = Field(description="Which models, and the rings of machines.")


Manifest = ModelManifest | PromptTemplateManifest | PruneConfirmationManifest | PolicyManifest | RolloutManifest

KINDS: dict[str, type[Manifest]] = {
    "Model": ModelManifest,
    "PromptTemplate": PromptTemplateManifest,
    "PruneConfirmation": PruneConfirmationManifest,
    "Policy": PolicyManifest,
    "Rollout": RolloutManifest,
}


def json_schema() -> dict[str, Any]:
    """What editors check a manifest with: one document, of the kind that `kind` names."""
    kinds: TypeAdapter[Manifest] = TypeAdapter(Annotated[Manifest, Field(discriminator="kind")])
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": API_VERSION}
    schema = kinds.json_schema(by_alias=True, schema_generator=_Terse)
    spec = schema["$defs"]["ModelSpec"]  # its fields come from two places: what is required is shown first
    spec["properties"] = dict(sorted(spec["properties"].items(), key=lambda one: one[0] not in spec["required"]))
    return head | schema


class _Terse(GenerateJsonSchema):
    """Without the titles and null defaults that pydantic adds: they only repeat what is there."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)
