"""From a declared model to a `manifest.Model`: the rules that look at more than one field, at paths, at templates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields

from reconciler.domain import manifest
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.sources.locked import LockedSource
from reconciler.domain.targets import DEFAULT_PROVIDER, PRECISIONS, TABLE, VERIFIED_PROVIDERS, honoured_options
from reconciler.domain.text.names import camel
from reconciler.domain.text.quoting import field_path, listed, nearest, shown
from reconciler.gates.template import TemplateGate
from reconciler.manifests.declaration import Declaration, ProblemLog
from reconciler.manifests.described import values_of
from reconciler.manifests.gate_rules import gates_of
from reconciler.manifests.loader import Document
from reconciler.manifests.lock_file import Lock
from reconciler.manifests.paths import ParseContext, PathRefused, locate
from reconciler.manifests.schema import JinjaTemplate, ModelManifest, RolesTemplate
from reconciler.manifests.selector_rules import check_selector
from reconciler.manifests.source_schema import REMOTE_KINDS
from reconciler.manifests.template_rules import template_of
from reconciler.templates import presets

# What a source can turn out not to fit; each precision too.
_SOUGHT = (
    ("spec", "source"),
    ("spec", "source", "adapter"),
    *(("spec", "source", kind, *inner) for kind in REMOTE_KINDS for inner in ((), ("revision",))),
    ("spec", "precisions"),
    ("spec", "promptTemplate"),
    ("spec", "generation", "maxLength"),
)
ANNOTATIONS = {manifest.PRUNE_ANNOTATION: ("disabled", "enabled")}

# None stands for a PromptTemplate that is declared but broken: its own problem has been said.
Templates = dict[str, manifest.Template | None]


def model_of(
    declaration: Declaration[ModelManifest],
    templates: Templates,
    lock: Lock,
    context: ParseContext,
    findings: ProblemLog,
) -> manifest.Model | None:
    """None when something is wrong with it, and then `findings` says what (all of it, not the first thing)."""
    remote = lock.source(declaration.manifest)  # a broken lock is not this model's fault
    before = len(findings.problems)
    _check_annotations(declaration, findings)
    _check_precisions(declaration, findings)
    _check_quantization(declaration, findings)
    check_selector(declaration, findings)
    source = _folder(declaration, "path", context, findings)
    adapter = _folder(declaration, "adapter", context, findings)
    template = _template(declaration, templates, context, findings)
    gates = gates_of(declaration, context, findings)
    given = declaration.manifest
    if given is None or len(findings.problems) > before or template is None:
        return None
    gates = gates or GateSpec()
    if fixtures := tuple(one for one in template.fixtures if one.asked):
        gates = gates.with_gate(TemplateGate(fixtures=fixtures))
    return _model(given, declaration, source or "", adapter, template, remote=remote, gates=gates)


def _model(
    given: ModelManifest,
    declaration: Declaration[ModelManifest],
    source: str,
    adapter: str | None,
    template: manifest.Template,
    *,
    remote: LockedSource | None,
    gates: GateSpec,
) -> manifest.Model:
    metadata, spec = given.metadata, given.spec
    return manifest.Model(
        name=metadata.name,
        file=declaration.file,
        line=declaration.document.line(()),
        lines=_lines(declaration.document),
        labels=dict(metadata.labels),
        annotations=dict(metadata.annotations),
        source_path=source,
        remote=remote,
        adapter_path=adapter,
        precisions=tuple(spec.precisions),
        template=template,
        gates=gates,
        delete_first=spec.disk is not None and spec.disk.strategy == "delete-then-build",
        **values_of(manifest.ModelOptions, spec),
    )


def _lines(document: Document) -> dict[str, int]:
    """Where the fields stand that a source, once looked at, can turn out not to fit."""
    fields = (*_SOUGHT, *(("spec", "precisions", i) for i in range(len(PRECISIONS))))
    return {field_path(field): document.lines[field] for field in fields if field in document.lines}


def _check_annotations(declaration: Declaration[ModelManifest], findings: ProblemLog) -> None:
    """A typing error in one of our own annotations would quietly not protect the model."""
    for key in declaration.keys("metadata", "annotations"):
        path = ("metadata", "annotations", key)
        value = declaration.text(*path)
        if key.startswith("reconciler.foundry/") and key not in ANNOTATIONS:
            message = f"expected {listed(ANNOTATIONS)}, got {shown(key)}"
            findings.add(declaration.problem(path, "UnknownField", message, nearest(key, ANNOTATIONS)))
        elif key in ANNOTATIONS and value is not None and value not in ANNOTATIONS[key]:
            message = f"expected {listed(ANNOTATIONS[key])}, got {shown(value)}"
            findings.add(declaration.problem(path, "InvalidValue", message))


def _check_precisions(declaration: Declaration[ModelManifest], findings: ProblemLog) -> None:
    provider = VERIFIED_PROVIDERS.get(declaration.text("spec", "target", "executionProvider") or "", DEFAULT_PROVIDER)
    counts: Counter[str] = Counter()
    for index, precision in enumerate(declaration.texts("spec", "precisions")):
        if precision is None:
            continue
        counts[precision] += 1
        path = ("spec", "precisions", index)
        if counts[precision] == 2:  # said once, however often it is repeated
            message = f"expected each precision once, got {precision} again"
            findings.add(declaration.problem(path, "InvalidValue", message))
        elif counts[precision] == 1 and (unfit := provider.no_kernels.get(precision)):
            message = f"expected a precision that runs on {provider.device}, got {precision}"
            findings.add(declaration.problem(path, "PrecisionUnsupported", message, unfit.instead))
        elif counts[precision] == 1 and (unfit := provider.slow.get(precision)):
            message = f"{precision} is slow on {provider.device}: {unfit.why}"
            findings.add(declaration.problem(path, "PrecisionSlow", message, unfit.instead), serious=False)


def _check_quantization(declaration: Declaration[ModelManifest], findings: ProblemLog) -> None:
    """An option that no declared precision uses would be ignored in silence."""
    written = declaration.texts("spec", "precisions")
    precisions = list(dict.fromkeys(precision for precision in written if precision is not None))
    if not precisions or None in written:
        return  # the precision that was misspelt may be the one that uses it
    quantization = ("spec", "quantization")
    algorithm = declaration.text(*quantization, "algorithm") or "default"
    used = {option for one in precisions if one in TABLE for option in honoured_options(one, algorithm)}
    for option in (one.name for one in fields(manifest.Quantization)):
        path = (*quantization, camel(option))
        if option not in used and declaration.text(*path) is not None:
            message = f"expected an option that acts on {listed(precisions)}, got {camel(option)}"
            hint = _why_ignored(option, precisions, algorithm)
            findings.add(declaration.problem(path, "OptionIgnored", message, hint))


def _why_ignored(option: str, precisions: Sequence[str], algorithm: str) -> str:
    if any(option in TABLE[one].options for one in precisions if one in TABLE):
        return f"{algorithm} always keeps a zero point, so it ignores `{camel(option)}`; delete the field"
    acting = [precision for precision in PRECISIONS if option in honoured_options(precision, algorithm)]
    return f"it acts on {listed(acting)} only; delete it, or add such a precision"


def _folder(
    declaration: Declaration[ModelManifest], name: str, context: ParseContext, findings: ProblemLog
) -> str | None:
    path = ("spec", "source", name)
    written = declaration.text(*path)
    if written is None:
        return None
    try:
        return locate(written, declaration.name, "folder", context)
    except PathRefused as refused:
        findings.add(declaration.problem(path, refused.code, str(refused), refused.hint))
        return None


def _template(
    declaration: Declaration[ModelManifest], templates: Templates, context: ParseContext, findings: ProblemLog
) -> manifest.Template | None:
    path = ("spec", "promptTemplate")
    if reference := declaration.text(*path, "ref"):
        return _referenced(declaration, reference, templates, findings)
    choice = declaration.manifest.spec.prompt_template if declaration.manifest else None
    if isinstance(choice, RolesTemplate) or declaration.text(*path, "jinja"):
        form = choice if isinstance(choice, RolesTemplate | JinjaTemplate) else None
        return template_of(form, "inline", declaration, path, context, findings)
    return presets.preset(choice if isinstance(choice, str) else "source")


def _referenced(
    declaration: Declaration[ModelManifest], name: str, templates: Templates, findings: ProblemLog
) -> manifest.Template | None:
    if name not in templates:
        message = f"expected the name of a PromptTemplate, but there is no {name}"
        path = ("spec", "promptTemplate", "ref")
        findings.add(declaration.problem(path, "UnknownReference", message, nearest(name, templates)))
    return templates.get(name)
