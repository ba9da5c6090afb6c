"""What is wrong with a declared model once its source has been looked at, said at the manifest's own line."""

from __future__ import annotations

from reconciler.core.errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.core.manifest import Model
    from reconciler.core.source_model import SourceModel

ASKED_BY_DEFAULT = 2048  # tokens


def of_folder(model: Model, problem: Problem) -> Problem:
    """A finding about a folder, said where a person can act on it: the manifest line that names the folder."""
    return Problem(
        code=problem.code,
        file=model.file,
        line=model.line,
        field="spec.source",
        message=f"{problem.file}: {problem.message}",
        hint=problem.hint,
    )


def unsupported(model: Model, precision: str, reason: str) -> Problem:
    return Problem(
        code="ConversionUnsupported",
        file=model.file,
        line=model.line,
        field="spec.precisions",
        message=f"{precision} cannot be converted rightly: {reason}",
        hint="`reconciler explain` shows what a recipe becomes; docs/architectures.md lists what is verified",
    )


def too_long(model: Model, source: SourceModel) -> list[Problem]:
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


def short_context(model: Model, source: SourceModel) -> list[Problem]:
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


def no_template(model: Model) -> Problem:
    return Problem(
        code="TemplateMissing",
        file=model.file,
        line=model.line,
        field="spec.promptTemplate",
        message="`source` was asked for, but the model brings no chat template",
        hint="name a preset (chatml, llama3, phi3, phi4, gemma, mistral) or a PromptTemplate",
    )
