"""From a declared model to a `manifest.Model`: the rules that look at more than one field, at paths, at templates."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from reconciler.domain import manifest
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.sources.locked import CATALOG
from reconciler.domain.targets.execution_providers import ExecutionProvider, honoured_options
from reconciler.domain.targets.precisions import PRECISIONS, TABLE
from reconciler.domain.targets.tasks import CHAT
from reconciler.domain.text.names import camel
from reconciler.domain.text.quoting import field_path, listed, nearest, shown
from reconciler.gates.template import TemplateGate
from reconciler.manifests.declaration import Declaration
from reconciler.manifests.described import values_of
from reconciler.manifests.gate_rules import GATES, gates_of
from reconciler.manifests.golden.files import GoldenFiles
from reconciler.manifests.loader import YamlDocument
from reconciler.manifests.lock_file import Lock
from reconciler.manifests.precisions.rules import check_precisions, chosen_among, precisions_named
from reconciler.manifests.precisions.target_rules import check_target, provider_named, target_of
from reconciler.manifests.problems import readable_rest
from reconciler.manifests.ready.rules import ORIGINAL, check_bars, check_ready, gates_of_ready, refuse_original
from reconciler.manifests.ready.task_rules import check_gates_of_task, check_task, gates_of_task
from reconciler.manifests.schema import JinjaTemplate, ModelManifest, RolesTemplate
from reconciler.manifests.selectors.rules import check_selector
from reconciler.manifests.template_rules import template_of
from reconciler.templates.presets import preset

# What a look at the source depends on.
_NEEDED = tuple(("spec", name) for name in ("source", "task", "target", "precisions", "promptTemplate"))
_NEEDED_FIELDS = tuple(map(field_path, _NEEDED))
LEVELS = 5  # down to spec.source.onnx.huggingface.revision: what is deeper, as in gates, is judged here
ANNOTATIONS = {manifest.PRUNE_ANNOTATION: ("disabled", "enabled")}

# None stands for a PromptTemplate that is declared but broken: its own problem is reported.
Templates = dict[str, manifest.Template | None]


def model_of(
    declaration: Declaration[ModelManifest],
    templates: Templates,
    lock: Lock,
    golden: GoldenFiles,
    half_read: list[manifest.Model],
) -> manifest.Model | None:
    """None when something is wrong with it, and then all of it is reported. What is known of its source all the same is
    added to `half_read`."""
    remote = lock.source(declaration.manifest)  # a broken lock is not this model's fault
    before = len(declaration.log.problems)
    _check_annotations(declaration)
    ready = any(kind in declaration.keys("spec", "source") for kind in ("onnx", CATALOG))
    check_target(declaration)
    check_precisions(declaration, made=not ready)
    if ready:
        check_ready(declaration)
    else:
        refuse_original(declaration)
        _check_quantization(declaration)
    check_selector(declaration, ("spec", "nodeSelector"))
    place = ("onnx", "path") if "onnx" in declaration.keys("spec", "source") else ("path",)
    source = declaration.located(("spec", "source", *place), "folder")
    adapter = declaration.located(("spec", "source", "adapter"), "folder")
    template = _template(declaration, templates)
    gates = gates_of(declaration, golden)
    original = declaration.located((*ORIGINAL, "path"), "folder")
    check_task(declaration, ready=ready)
    check_gates_of_task(declaration)
    gates = gates_of_task(declaration, gates) if gates is not None else gates
    if ready:
        check_bars(declaration, gates)
        gates = gates_of_ready(declaration, gates) if gates is not None else None
    given = declaration.manifest
    places = {"source_path": source or "", "adapter_path": adapter, "ready": ready, "original_path": original or ""}
    if given is None or len(declaration.log.problems) > before or template is None:
        half_read += _half_read(declaration, before, template, lock, places)
        return None
    if gates is None:  # guard: a model goes not on without its gates where another was told what is wrong with them
        half_read += _half_read(declaration, before, template, lock, places)
        return None
    if given.spec.task == CHAT and (fixtures := tuple(one for one in template.fixtures if one.asked)):
        gates = gates.with_gate(TemplateGate(fixtures=fixtures))
    known = {"remote": remote, "original": lock.original(given)}
    return _model(given, declaration, template=template, gates=gates, **places, **known)


def _half_read(
    declaration: Declaration[ModelManifest],
    before: int,
    template: manifest.Template | None,
    lock: Lock,
    places: Mapping[str, object],
) -> Iterator[manifest.Model]:
    """The model without what is wrong with it, if none of that is about what a look at its source depends on. `before`:
    the problems that the log held already."""
    own = (one.field for one in declaration.log.problems[before:] if one.file == declaration.file)
    if template is None or declaration.document.problems or any(one.startswith(_NEEDED_FIELDS) for one in own):
        return
    rest = declaration.manifest or readable_rest(declaration.document, ModelManifest, _NEEDED, GATES)
    if rest is not None:
        gates = GateSpec(task=rest.spec.task)
        remotes = {"remote": lock.source(rest), "original": lock.original(rest)}
        yield _model(rest, declaration, template=template, gates=gates, **places, **remotes)


def _model(given: ModelManifest, declaration: Declaration[ModelManifest], **found: Any) -> manifest.Model:
    """`found` are the fields that more than the manifest decides."""
    metadata, spec = given.metadata, given.spec
    options = values_of(manifest.ModelOptions, spec)
    target = target_of(options.pop("target", manifest.Target()))
    precisions, chooses = chosen_among(spec.precisions, target.execution_provider)
    return manifest.Model(
        name=metadata.name,
        file=declaration.file,
        line=declaration.document.line(()),
        lines=_lines(declaration.document),
        labels=dict(metadata.labels),
        annotations=dict(metadata.annotations),
        precisions=precisions,
        chooses=chooses,
        delete_first=spec.disk is not None and spec.disk.strategy == "delete-then-build",
        target=target,
        **found,
        **options,
    )


def _lines(document: YamlDocument) -> dict[str, int]:
    """Where its fields stand, for what a source or this machine, once looked at, can turn out not to fit."""
    return {field_path(field): line for field, line in document.lines.items() if len(field) <= LEVELS}


def _check_annotations(declaration: Declaration[ModelManifest]) -> None:
    """A typing error in one of our own annotations would quietly not protect the model."""
    for key in declaration.keys("metadata", "annotations"):
        path = ("metadata", "annotations", key)
        value = declaration.text(*path)
        if key.startswith("reconciler.foundry/") and key not in ANNOTATIONS:
            message = f"expected {listed(ANNOTATIONS)}, got {shown(key)}"
            declaration.report(path, "UnknownField", message, nearest(key, ANNOTATIONS))
        elif key in ANNOTATIONS and value is not None and value not in ANNOTATIONS[key]:
            message = f"expected {listed(ANNOTATIONS[key])}, got {shown(value)}"
            declaration.report(path, "InvalidValue", message)


def _check_quantization(declaration: Declaration[ModelManifest]) -> None:
    """An option that no declared precision uses would be ignored in silence."""
    written = precisions_named(declaration)
    precisions = list(dict.fromkeys(precision for precision in written if precision is not None))
    if not precisions or None in written:
        return  # the precision that was misspelt may be the one that uses it
    quantization = ("spec", "quantization")
    algorithm = declaration.text(*quantization, "algorithm") or "default"
    provider = provider_named(declaration)
    used = {option for one in precisions if one in TABLE for option in honoured_options(one, algorithm, provider)}
    for option in (one.name for one in fields(manifest.Quantization)):
        path = (*quantization, camel(option))
        if option not in used and declaration.text(*path) is not None:
            message = f"expected an option that acts on {listed(precisions)}, got {camel(option)}"
            hint = _why_ignored(option, precisions, algorithm, provider)
            declaration.report(path, "OptionIgnored", message, hint)


def _why_ignored(option: str, precisions: Sequence[str], algorithm: str, provider: ExecutionProvider) -> str:
    if option in provider.ignored:
        return f"it changes nothing for {provider.name}; delete it"
    if any(option in TABLE[one].options for one in precisions if one in TABLE):
        return f"{algorithm} always keeps a zero point, so it ignores `{camel(option)}`; delete the field"
    acting = [precision for precision in PRECISIONS if option in honoured_options(precision, algorithm)]
    return f"it acts on {listed(acting)} only; delete it, or add such a precision"


def _template(declaration: Declaration[ModelManifest], templates: Templates) -> manifest.Template | None:
    path = ("spec", "promptTemplate")
    if name := declaration.text(*path, "ref"):
        if name not in templates:
            message = f"expected the name of a PromptTemplate, but there is no {name}"
            declaration.report((*path, "ref"), "UnknownReference", message, nearest(name, templates))
        return templates.get(name)
    choice = declaration.manifest.spec.prompt_template if declaration.manifest else None
    if isinstance(choice, RolesTemplate) or declaration.text(*path, "jinja"):
        form = choice if isinstance(choice, RolesTemplate | JinjaTemplate) else None
        return template_of(form, "inline", declaration, path)
    return preset(choice if isinstance(choice, str) else "source")
