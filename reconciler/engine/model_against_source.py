"""What is wrong with a declared model once its source has been looked at, as problems at the manifest's line."""

import os
import re
from collections.abc import Mapping
from functools import lru_cache

from reconciler.domain.errors import BUG, BUG_HINT, Problem
from reconciler.domain.manifest import Model, Target
from reconciler.domain.sources.adapter_weights import CHANGES_BOTH, mismatch
from reconciler.domain.sources.locked import LOCK_NAME, LockedSource, names_of
from reconciler.domain.sources.source_model import SourceAdapter, SourceModel
from reconciler.domain.targets.execution_providers import DEFAULT_PROVIDER, absent_provider_hint
from reconciler.domain.targets.tasks import EMBEDDINGS, HIDDEN_STATES, SPEECH, WHISPER
from reconciler.domain.text.escape import one_line
from reconciler.domain.text.quoting import few, shown
from reconciler.gates.speech import SpeechGate
from reconciler.manifests.selector import PROVIDER
from reconciler.planner.precision_choice import PROVIDER_ABSENT
from reconciler.templates.lint import renders_nothing
from reconciler.templates.presets import PRESETS

ASKED_BY_DEFAULT = 2048  # tokens
FEW = 3

# Not compiled here: a converged `plan` comes through this module and looks for none.
_AFTER_CONTENT = r"content['\"\]\s|().a-z]{0,40}?(?:\}\}\s*|\+\s*['\"]\s*)(<[^<>\s'\"{}]{1,40}>)"
_MARKER = r"<\|[\w.-]+\|>|<(?:start|end)_of_turn>|\[/?INST\]"


def _problem(model: Model, field: str, code: str, message: str, hint: str = "") -> Problem:
    return Problem(code=code, file=model.file, line=model.line_of(field), field=field, message=message, hint=hint)


def of_folder(model: Model, problem: Problem, field: str = "spec.source") -> Problem:
    """A problem of a folder, at the manifest line that names it."""
    message = f"{problem.file}: {problem.message}"
    if problem.code == "SourceUnreadable":
        paths = {"adapter": model.adapter_path, "original": model.original_path}
        name, path = problem.file, paths.get(field.rpartition(".")[2], model.source_path)
        if path and os.path.isfile(model.file):  # as a manifest on this disk would name it
            name = one_line(os.path.relpath(path, os.path.dirname(os.path.realpath(model.file))))
        message = f"cannot read {name}: {problem.message}"
    return _problem(model, field, problem.code, message, problem.hint)


def foreign_adapter(model: Model, adapter: SourceAdapter, source: SourceModel) -> list[Problem]:
    if adapter.problems or source.problems or not (adapter.known and source.shapes):
        return []
    wrong = mismatch(adapter.config, adapter.shapes, source.shapes)
    if not wrong:
        return []
    hint = "it was trained on another model, or saved under other names; PEFT would leave out what has no place"
    if wrong.endswith(CHANGES_BOTH):
        hint = "merge it where it was trained (PEFT's merge_and_unload), with tie_word_embeddings: false, and name that"
    message = f"the adapter does not belong to this base: {wrong}"
    return [_problem(model, "spec.source.adapter", "AdapterForeign", message, hint)]


def unembedded_tokens(model: Model, adapter: SourceAdapter, source: SourceModel) -> list[Problem]:
    """The tokenizer beside an adapter is served with it, and each of its tokens has to be one that the model knows.
    What the base's own tokenizer has beyond that is a warning of the base."""
    if adapter.problems or source.ready or not source.looked_at:
        return []
    known = source.config["vocab_size"]
    pairs = zip(adapter.tokens, adapter.ids, strict=True)
    beyond = sorted(pair for pair in pairs if pair[1] >= known and pair[0] not in source.tokens)
    if not beyond:
        return []
    text, number = beyond[0]
    more = f" (and {len(beyond) - 1} more)" if len(beyond) > 1 else ""
    message = f"the tokenizer beside the adapter gives {text[:80]!r} the id {number}{more}, and the base knows {known}"
    hint = "it was trained with a larger vocabulary: merge it where it was trained (PEFT's merge_and_unload), name that"
    return [_problem(model, "spec.source.adapter", "AdapterTokensForeign", message, hint)]


def not_locked(model: Model, source: LockedSource) -> Problem:
    message = f"{source} is not in {LOCK_NAME}, so its files are not pinned"
    hint = "run `reconciler lock` and commit the file"
    return _problem(model, source.field, "HubNotLocked", message, hint)


def untrusted(model: Model, field: str, message: str, hint: str) -> Problem:
    """Its source or adapter is not signed as this machine's configuration wants it."""
    return _problem(model, field, "SourceUntrusted", message, hint)


def moved_upstream(model: Model, source: LockedSource) -> list[Problem]:
    """As far as the lock knows: a plan makes no request."""
    if not source.upstream or source.upstream == source.revision:
        return []
    message = f"the default branch of {source.repo} is at {source.upstream}"
    name = names_of(source.kind)[1]
    hint = f"to follow it, write that as {name} and run `reconciler lock`"
    return [_problem(model, f"{source.field}.{name}", "UpstreamMoved", message, hint)]


def unsupported(model: Model, precision: str, reason: str) -> Problem:
    field = "spec.precisions" if model.chooses else f"spec.precisions[{model.precisions.index(precision)}]"
    message = f"{precision} cannot be converted rightly: {reason}"
    hint = "`reconciler explain` shows what a recipe becomes; docs/architectures.md lists what is verified"
    return _problem(model, field, "ConversionUnsupported", message, hint)


def too_long(model: Model, source: SourceModel) -> list[Problem]:
    """Foundry Local refuses to generate past the context: a problem before hours of conversion."""
    longest = model.generation.max_length
    if longest is None or not source.context_length or longest <= source.context_length:
        return []
    message = f"expected at most {source.context_length}, the model's context, got {longest}"
    return [_problem(model, "spec.generation.maxLength", "MaxLengthTooLarge", message)]


def other_provider(model: Model, source: SourceModel) -> list[Problem]:
    """A declared target is what the author counts on."""
    declared = "spec.target" in model.lines
    asked = source.provider or (DEFAULT_PROVIDER.name if source.ready and source.looked_at else "")
    if not (declared and asked and asked != model.target.execution_provider):
        return []
    message = f"expected {model.target.execution_provider}, but the model's genai_config.json asks for {asked}"
    hint = "leave `target` out: a ready ONNX model says itself what it is for"
    return [_problem(model, "spec.target", "TargetDiffers", message, hint)]


def compiled_beforehand(model: Model, source: SourceModel) -> list[Problem]:
    """What is in the form of one processor's compiler is computed by that alone: no tool of ours reads its weights.
    Neither is a pipeline read."""
    if not source.compiled or not (model.original or model.original_path):
        return []
    message = "it holds what was compiled beforehand, or several graphs, which nothing here compares with an original"
    return [_problem(model, "spec.source.original", "OptionIgnored", message, "leave `original` out; ask by `prompts`")]


def absent_provider(model: Model, target: Target, labels: Mapping[str, str]) -> list[Problem]:
    """Said before hours of conversion. It goes by files alone, so the rehearsal asks the runtime itself. A precision is
    not chosen without its provider, and that says it then."""
    name = target.execution_provider
    if PROVIDER + name in labels or model.chooses:
        return []
    message = f"it is made for {name}, and this machine has no library of it: it is not loaded here"
    return [_problem(model, "spec.target", PROVIDER_ABSENT, message, absent_provider_hint(name))]


def short_context(model: Model, source: SourceModel) -> list[Problem]:
    """A client that names no limit asks for 2048 tokens, and is refused when prompt and answer do not fit."""
    if not source.known or source.context_length >= ASKED_BY_DEFAULT + 256:
        return []
    message = (
        f"the model's context is {source.context_length} tokens, and Foundry Local asks for {ASKED_BY_DEFAULT} "
        "for a client that gives no limit: such requests will be refused"
    )
    return [_problem(model, "spec.source", "ContextShort", message, "clients must pass max_tokens")]


def no_embedding(model: Model, source: SourceModel) -> list[Problem]:
    """Foundry Local takes the embedding from one output of the graph, and says so only when it is asked for one."""
    if model.task != EMBEDDINGS or not (source.looked_at and source.ready) or HIDDEN_STATES in source.outputs:
        return []
    named = ", ".join(one for one in source.outputs if not one.startswith("present")) or "none"
    message = f"the graph has no output {HIDDEN_STATES}, which the embedding is taken from, but {shown(named)}"
    hint = "build it with include_hidden_states=true (onnxruntime-genai); or delete `task`: it is a model for chat"
    return [_problem(model, "spec.task", "EmbeddingOutputMissing", message, hint)]


def other_task(model: Model, source: SourceModel) -> list[Problem]:
    """A model that hears is none for chat, and no other one hears. A language that it has no token for is read as
    letters, in silence."""
    if not (source.looked_at and source.ready):
        return []
    hears, family = model.task == SPEECH, shown(source.architecture)
    if hears != (source.architecture == WHISPER):
        message = f"it is for {model.task}, and the model is of type {family}: those of type {WHISPER} hear, no others"
        hint = f"delete `task: {SPEECH}`" if hears else f"add `task: {SPEECH}` (docs/tasks.md)"
        return [_problem(model, "spec.task", "TaskDiffers", message, hint)]
    gate = model.gates.get(SpeechGate)
    asked = {f"<|{one.language}|>" for one in gate.cases} if gate else set()
    lacking = sorted(asked - {*source.tokens})
    message = f"its tokenizer has no {', '.join(lacking)}, by which it is asked in the language of a golden recording"
    hint = "leave these recordings out: the model was not trained in the language"
    return [_problem(model, "spec.gates", "SpeechTokenMissing", message, hint)] if lacking else []


def unexpected(model: Model, message: str) -> Problem:
    return _problem(model, "metadata.name", BUG, message, BUG_HINT)


def no_template(model: Model) -> Problem:
    message = "`source` was asked for, but the model brings no chat template"
    hint = f"name a preset ({', '.join(PRESETS[:-1])}) or a PromptTemplate"
    return _problem(model, "spec.promptTemplate", "TemplateMissing", message, hint)


def unrenderable(model: Model, template: str) -> list[Problem]:
    """Of the source's own template: another one is judged where it stands. Before hours of conversion."""
    found = renders_nothing(template) if model.template.jinja is None else None
    if found is None:
        return []
    message = (
        f"the model's own template, line {found.line}: {found.message}: the runtime renders no conversation with it"
    )
    hint = "name a preset, or keep a copy beside the manifests that the runtime knows: promptTemplate: {jinja: ...}"
    return [_problem(model, "spec.promptTemplate", found.code, message, hint)]


@lru_cache(maxsize=64)  # many models of a fleet share one
def _markers(template: str | None) -> frozenset[str]:
    return frozenset(re.findall(_MARKER, template or ""))


def foreign_template(model: Model, source: SourceModel) -> list[Problem]:
    """Of another family: it means markers (`<|im_start|>`, `[INST]`) to be one token each that to this model are plain
    text. What the model's own template writes is right, whether it is a token or not."""
    foreign = _markers(model.template.jinja) - _markers(source.chat_template) - set(source.tokens)
    if not foreign:
        return []
    markers = few(sorted(foreign), FEW)
    message = f"{model.template.origin} writes {markers}, which this model's tokenizer does not know"
    own = "`source` is what the model brings" if source.chat_template else "name the preset of the model's family"
    hint = f"the model reads them as plain text, and answers nonsense; {own}"
    return [_problem(model, "spec.promptTemplate", "TemplateForeign", message, hint)]


def unending_template(model: Model, source: SourceModel, template: str) -> list[Problem]:
    """What stands after each message is what the model learned to end its own with."""
    after = _after_content(template).intersection(source.tokens)
    if not after or after.intersection(source.ends):
        return []
    written, served = (", ".join(sorted(one)[:FEW]) or "another" for one in (after, source.ends))
    message = f"{model.template.origin} ends a message with {written}, which does not end an answer ({served} does)"
    hint = "add its id to eos_token_id in the source's generation_config.json, or answers run to their limit"
    return [_problem(model, "spec.promptTemplate", "TemplateUnending", message, hint)]


@lru_cache(maxsize=64)
def _after_content(template: str) -> frozenset[str]:
    return frozenset(re.findall(_AFTER_CONTENT, template))
