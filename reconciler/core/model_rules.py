"""From a declared model to a `manifest.Model`: the rules that look at more than one field, at paths, at templates."""

from __future__ import annotations

from reconciler.core import manifest, presets
from reconciler.core.paths import PathRefused, locate
from reconciler.core.quantization import honoured_options
from reconciler.core.quoting import listed, nearest, shown
from reconciler.core.schema import Quantization, TemplateReference
from reconciler.core.template_rules import template_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from reconciler.core.declaration import Declaration, Findings
    from reconciler.core.paths import Surroundings
    from reconciler.core.schema import ModelManifest, Strict

ANNOTATIONS = {manifest.PRUNE_ANNOTATION: ("disabled", "enabled")}

# None stands for a PromptTemplate that is declared but broken: its own problem has been said.
Templates = dict[str, manifest.Template | None]


def model_of(
    declaration: Declaration[ModelManifest], templates: Templates, around: Surroundings, findings: Findings
) -> manifest.Model | None:
    """None when something is wrong with it, and then `findings` says what (all of it, not the first thing)."""
    before = len(findings.problems)
    _check_annotations(declaration, findings)
    _check_precisions(declaration, findings)
    _check_quantization(declaration, findings)
    spec = declaration.manifest.spec
    source = _folder(declaration, "path", spec.source.path, around, findings)
    adapter = _folder(declaration, "adapter", spec.source.adapter, around, findings)
    template = _template(declaration, templates, around, findings)
    if len(findings.problems) > before or source is None or template is None:
        return None
    return _model(declaration, source, adapter, template)


def _model(
    declaration: Declaration[ModelManifest], source: str, adapter: str | None, template: manifest.Template
) -> manifest.Model:
    metadata, spec = declaration.manifest.metadata, declaration.manifest.spec
    return manifest.Model(
        name=metadata.name,
        file=declaration.file,
        line=declaration.document.line(()),
        labels=dict(metadata.labels),
        annotations=dict(metadata.annotations),
        source_path=source,
        adapter_path=adapter,
        precisions=tuple(spec.precisions),
        quantization=manifest.Quantization(**_written(spec.quantization)),
        target=manifest.Target(**_written(spec.target)),
        template=template,
        generation=manifest.Generation(**_written(spec.generation)),
        suspend=spec.suspend,
    )


def _written(block: Strict | None) -> dict[str, Any]:
    """The fields that the author wrote."""
    return block.model_dump(exclude_none=True) if block else {}


def _check_annotations(declaration: Declaration[ModelManifest], findings: Findings) -> None:
    """A typing error in one of our own annotations would quietly not protect the model."""
    for key, value in declaration.manifest.metadata.annotations.items():
        path = ("metadata", "annotations", key)
        if key.startswith("reconciler.foundry/") and key not in ANNOTATIONS:
            message = f"expected {listed(ANNOTATIONS)}, got {shown(key)}"
            findings.add(declaration.problem(path, "UnknownField", message, nearest(key, ANNOTATIONS)))
        elif key in ANNOTATIONS and value not in ANNOTATIONS[key]:
            message = f"expected {listed(ANNOTATIONS[key])}, got {shown(value)}"
            findings.add(declaration.problem(path, "InvalidValue", message))


def _check_precisions(declaration: Declaration[ModelManifest], findings: Findings) -> None:
    for index, precision in enumerate(declaration.manifest.spec.precisions):
        path = ("spec", "precisions", index)
        if precision == "bf16":
            message = "expected a precision that runs on cpu, got bf16"
            hint = "ONNX Runtime has no bf16 kernels for the CPU; fp32 and int8 come closest"
            findings.add(declaration.problem(path, "PrecisionUnsupported", message, hint))
        if precision == "fp16":
            message = "fp16 is slow on cpu: it saves disk, but every sum is done in fp32"
            hint = "int8 is smaller and faster at nearly the same quality"
            findings.add(declaration.problem(path, "PrecisionSlow", message, hint), serious=False)


def _check_quantization(declaration: Declaration[ModelManifest], findings: Findings) -> None:
    """An option that no declared precision uses would be ignored in silence."""
    spec = declaration.manifest.spec
    options = _written(spec.quantization)
    algorithm = options.get("algorithm", "default")
    used = {option for precision in spec.precisions for option in honoured_options(precision, algorithm)}
    for option in options.keys() - used:
        name = _alias(option)
        message = f"expected an option that acts on {listed(spec.precisions)}, got {name}"
        path = ("spec", "quantization", name)
        findings.add(
            declaration.problem(
                path, "OptionIgnored", message, _why_ignored(option, spec.precisions, algorithm)
            )
        )


def _alias(option: str) -> str:
    return str(Quantization.model_fields[option].alias)


def _why_ignored(option: str, precisions: Sequence[str], algorithm: str) -> str:
    if option in honoured_options("int4") and "int4" in precisions:
        return f"{algorithm} always keeps a zero point, so it ignores `{_alias(option)}`; delete the field"
    acting = [
        precision for precision in manifest.PRECISIONS if option in honoured_options(precision, algorithm)
    ]
    return f"it acts on {listed(acting)} only; delete it, or add such a precision"


def _folder(
    declaration: Declaration[ModelManifest],
    name: str,
    written: str | None,
    around: Surroundings,
    findings: Findings,
) -> str | None:
    if written is None:
        return None
    try:
        return locate(written, declaration.name, "folder", around)
    except PathRefused as refused:
        findings.add(declaration.problem(("spec", "source", name), refused.code, str(refused), refused.hint))
        return None


def _template(
    declaration: Declaration[ModelManifest], templates: Templates, around: Surroundings, findings: Findings
) -> manifest.Template | None:
    choice, path = declaration.manifest.spec.prompt_template, ("spec", "promptTemplate")
    if choice is None or isinstance(choice, str):
        return presets.preset(choice or "source")
    if isinstance(choice, TemplateReference):
        return _referenced(declaration, choice.ref, templates, findings)
    return template_of(choice, "inline", declaration, path, around, findings)


def _referenced(
    declaration: Declaration[ModelManifest], name: str, templates: Templates, findings: Findings
) -> manifest.Template | None:
    if name not in templates:
        message = f"expected the name of a PromptTemplate, but there is no {name}"
        path = ("spec", "promptTemplate", "ref")
        findings.add(declaration.problem(path, "UnknownReference", message, nearest(name, templates)))
    return templates.get(name)
