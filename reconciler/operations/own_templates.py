"""What `validate` says of templates that models bring themselves: made for Hugging Face, and read by the runtime
in its own way. Warnings only: nobody here wrote them, and whether they render is for the rehearsal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model
from reconciler.engine.resolve import Resolution
from reconciler.templates.lint import lint, template_bytes

MOST = 5  # of one template
_HINT = "name a preset, or keep a copy beside the manifests that is written for both: promptTemplate: {jinja: ...}"


def own_templates(models: Iterable[Model], resolution: Resolution) -> Iterator[Problem]:
    brought = {model.name: model for model in models if model.template.jinja is None}
    texts = {
        wanted.release.model: wanted.release.template
        for wanted in resolution.desired.wanted
        if wanted.release.model in brought and wanted.release.template
    }
    for name, text in texts.items():
        yield from _warnings(brought[name], text)


def _warnings(model: Model, text: str) -> Iterator[Problem]:
    for finding in lint(template_bytes(text))[:MOST]:
        yield Problem(
            code=finding.code,
            file=model.file,
            line=model.line_of("spec.promptTemplate"),
            field="spec.promptTemplate",
            message=f"the model's own template, line {finding.line}: {finding.message}",
            hint=_HINT,
        )
