"""From a declared model and what a look at its source found to its recipe, its release and its template. Pure."""

from dataclasses import replace

from reconciler.conversion.toolchain import tools_for
from reconciler.domain.manifest import Model, Target, variant_name
from reconciler.domain.plain_data import as_dict
from reconciler.domain.release import Recipe, Release
from reconciler.domain.sources.source_model import SourceAdapter, SourceModel, digest_of
from reconciler.domain.targets.execution_providers import PROVIDERS, converted_for, honoured_options
from reconciler.domain.targets.tasks import CHAT
from reconciler.templates.trimmed import for_runtime

NO_TEMPLATE = "none"  # the origin of a template that there is not


def original_identity(model: Model, original: SourceModel) -> str:
    """The digest under which it is known, also before it is here. It is part of the recipe: numbers of a comparison
    with another original are of another artifact."""
    return model.original.digest if model.original is not None else original.digest


def release_of(model: Model, recipe: Recipe, template: str) -> Release:
    return Release(
        variant=variant_name(model.name, recipe.precision),
        model=model.name,
        precision=recipe.precision,
        recipe=recipe,
        template=template,
        template_origin=model.template.origin if model.task == CHAT else NO_TEMPLATE,
        roles=as_dict(model.template.roles) if model.template.roles else None,
        generation=model.generation,
        task=model.task,
    )


def adapted(source: SourceModel, adapter: SourceAdapter | None) -> tuple[SourceModel, str | None]:
    """The base as it is served with the adapter: its tokens are those of the tokenizer beside the adapter, where that
    is another than the base's. And the digest of what is merged and served of the adapter: without a
    tokenizer of its own that of its weights alone, as ever."""
    if adapter is None:
        return source, None
    base = {file.path: file.digest for file in source.files}
    if all(base.get(file.path) == file.digest for file in adapter.tokenizer):
        return source, adapter.digest
    kept = [text for text in source.ends if text in adapter.tokens]
    ends = tuple(dict.fromkeys((*kept, *filter(adapter.tokens.__contains__, [adapter.eos_token]))))
    served = replace(source, tokens=adapter.tokens, ends=ends, reading=adapter.reading)
    files = (*adapter.files, *adapter.tokenizer)
    return served, digest_of({file.path: file.digest for file in files})


def recipe_of(model: Model, source: SourceModel, adapter: str | None, precision: str) -> Recipe:
    provider = converted_for(model.target.execution_provider)
    used = honoured_options(precision, model.quantization.algorithm, provider) if not model.ready else ()
    return Recipe(
        source=source.digest,
        adapter=adapter,
        architecture=source.architecture,
        precision=precision,
        options={k: v for k, v in as_dict(model.quantization).items() if k in used and v is not None},
        target=_target(model, source),
        tools=dict(tools_for(adapter)) if not model.ready else {},
    )


def _target(model: Model, source: SourceModel) -> Target:
    """A ready ONNX model says itself what it is for."""
    found = next((one for one in PROVIDERS if one.name == source.provider), None)
    return Target(device=source.device or found.device, execution_provider=found.name) if found else model.target


def template_of(model: Model, source: SourceModel, adapter: SourceAdapter | None) -> str | None:
    """ "" for a model that holds no conversation; None where there is none."""
    if model.task != CHAT:
        return ""
    return model.template.jinja if model.template.jinja is not None else _own_template(source, adapter)


def _own_template(source: SourceModel, adapter: SourceAdapter | None) -> str | None:
    """What a fine-tune was trained with goes before its base's; written so that the runtime reads it as Hugging Face
    does. "" where it is known only once it is here."""
    if not source.known or (adapter is not None and not adapter.known):
        return ""
    own = (adapter.chat_template if adapter else None) or source.chat_template
    return for_runtime(own) if own else own
