"""From parsed manifests to what this machine should serve: looks at each source folder (headers and remembered digests
only), asks whether the tool chain converts it rightly, and predicts the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.architectures import refusal
from reconciler.core.desired import Desired, Wanted
from reconciler.core.errors import Problem
from reconciler.core.manifest import variant_name
from reconciler.core.prediction import predict_bytes, predict_peak_bytes
from reconciler.core.quantization import honoured_options
from reconciler.core.release import Recipe, Release
from reconciler.core.toolchain import TOOLS
from reconciler.core.value import as_dict, value
from reconciler.sources.model_folder import inspect_adapter, inspect_source

if TYPE_CHECKING:
    from reconciler.core.manifest import Model, Quantization
    from reconciler.core.parse import Parsed
    from reconciler.core.source_model import SourceModel
    from reconciler.host.stamps import StampBook


ASKED_BY_DEFAULT = 2048  # tokens


@value
class Resolution:
    """`sources` are the inspected folders by build key: what a conversion starts from."""

    desired: Desired
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    sources: dict[str, Source]


@value
class Source:
    """What the converter is given for one build key."""

    recipe: Recipe
    path: str
    adapter: str | None
    model: SourceModel


def resolve(parsed: Parsed, stamps: StampBook) -> Resolution:
    """Never raises for a bad source: it becomes a problem, and its variants stay declared (nothing prunes them)."""
    found = [_resolve_model(model, stamps) for model in parsed.models]
    desired = Desired(
        revision=parsed.revision,
        wanted=tuple(wanted for one in found for wanted in one.wanted),
        declared=frozenset(variant_name(m.name, p) for m in parsed.models for p in m.precisions),
        complete=not parsed.problems,
    )
    return Resolution(
        desired=desired,
        problems=(*parsed.problems, *(problem for one in found for problem in one.problems)),
        warnings=(*parsed.warnings, *(warning for one in found for warning in one.warnings)),
        sources={key: source for one in found for key, source in one.sources.items()},
    )


@value
class _Resolved:
    wanted: tuple[Wanted, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    sources: dict[str, Source]


def _resolve_model(model: Model, stamps: StampBook) -> _Resolved:
    source = inspect_source(model.source_path, stamps)
    adapter = inspect_adapter(model.adapter_path, stamps) if model.adapter_path else None
    problems = [
        _at(model, "spec.source", p) for p in (*source.problems, *(adapter.problems if adapter else ()))
    ]
    template = model.template.jinja if model.template.jinja is not None else source.chat_template
    if template is None and not problems:
        problems.append(_no_template(model))
    problems += _too_long(model, source)
    if problems or template is None:
        return _Resolved(problems=tuple(problems), sources={})
    return _variants(model, source, adapter.digest if adapter else None, template)


def _variants(model: Model, source: SourceModel, adapter: str | None, template: str) -> _Resolved:
    wanted, problems, sources = [], [], {}
    for precision in model.precisions:
        recipe = _recipe(model, source, adapter, precision)
        reason = refusal(source.config, precision, model.target, recipe.options)
        if reason is not None:
            problems.append(_unsupported(model, precision, reason))
            continue
        wanted.append(_wanted(model, source, recipe, template))
        sources[recipe.build_key] = Source(
            recipe=recipe, path=model.source_path, adapter=model.adapter_path, model=source
        )
    warnings = (
        *(_at(model, "spec.source", warning) for warning in source.warnings),
        *_short_context(model, source),
    )
    return _Resolved(wanted=tuple(wanted), problems=tuple(problems), warnings=warnings, sources=sources)


def _recipe(model: Model, source: SourceModel, adapter: str | None, precision: str) -> Recipe:
    return Recipe(
        source=source.digest,
        adapter=adapter,
        architecture=source.architecture,
        precision=precision,
        options=_honoured(model.quantization, precision),
        target=model.target,
        tools=dict(TOOLS),
    )


def _honoured(quantization: Quantization, precision: str) -> dict[str, str | int | bool]:
    used = honoured_options(precision, quantization.algorithm)
    return {k: v for k, v in as_dict(quantization).items() if k in used and v is not None}


def _wanted(model: Model, source: SourceModel, recipe: Recipe, template: str) -> Wanted:
    roles = as_dict(model.template.roles) if model.template.roles else None
    release = Release(
        variant=variant_name(model.name, recipe.precision),
        model=model.name,
        precision=recipe.precision,
        recipe=recipe,
        template=template,
        template_origin=model.template.origin,
        roles=roles,
        generation=model.generation,
    )
    return Wanted(
        release=release,
        source_bytes=source.weight_bytes,
        predicted_bytes=predict_bytes(source, recipe),
        peak_bytes=predict_peak_bytes(source, recipe),
        suspended=model.suspend,
        protected=model.prune_disabled,
    )


def _at(model: Model, field: str, problem: Problem) -> Problem:
    """A finding about a folder, said where a person can act on it: the manifest line that names the folder."""
    return Problem(
        code=problem.code,
        file=model.file,
        line=model.line,
        field=field,
        message=f"{problem.file}: {problem.message}",
        hint=problem.hint,
    )


def _unsupported(model: Model, precision: str, reason: str) -> Problem:
    return Problem(
        code="ConversionUnsupported",
        file=model.file,
        line=model.line,
        field="spec.precisions",
        message=f"{precision} cannot be converted rightly: {reason}",
        hint="`reconciler explain` shows what a recipe becomes; docs/architectures.md lists what is verified",
    )


def _too_long(model: Model, source: SourceModel) -> list[Problem]:
    """Foundry Local refuses to generate past the context; said here, before hours of conversion."""
    longest = model.generation.max_length
    if longest is None or not source.context_length or longest <= source.context_length:
        return []
    return [
        Problem(
            code="MaxLengthTooLarge",
            file=model.file,
            line=model.line,
            field="spec.generation.maxLength",
            message=f"expected at most {source.context_length}, the model's context, got {longest}",
        )
    ]


def _short_context(model: Model, source: SourceModel) -> list[Problem]:
    """A client that names no limit asks for 2048 tokens, and is refused when prompt and answer do not fit
    (foundry-local.md, section 4)."""
    if source.context_length >= ASKED_BY_DEFAULT + 256:
        return []
    return [
        Problem(
            code="ContextShort",
            file=model.file,
            line=model.line,
            field="spec.source",
            message=f"the model's context is {source.context_length} tokens, and Foundry Local asks for "
            f"{ASKED_BY_DEFAULT} when a client does not say: such requests will be refused",
            hint="clients must pass max_tokens",
        )
    ]


def _no_template(model: Model) -> Problem:
    return Problem(
        code="TemplateMissing",
        file=model.file,
        line=model.line,
        field="spec.promptTemplate",
        message="`source` was asked for, but the model brings no chat template",
        hint="name a preset (chatml, llama3, phi3, phi4, gemma, mistral) or a PromptTemplate",
    )
