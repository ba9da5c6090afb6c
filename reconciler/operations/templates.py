"""Templates: the warnings of `validate`, and the changes that `diff` shows.

A template that a model brings itself was written for Hugging Face, and Foundry's runtime reads some of it differently.
`validate` only warns of that, because the rehearsal decides whether it renders; one that certainly renders nothing has
been refused before (engine.model_against_source).
"""

import json
from collections.abc import Iterable, Iterator

from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model
from reconciler.domain.release import Release
from reconciler.engine.resolve import Resolution
from reconciler.fleet.comparison import Side
from reconciler.sources.git.manifests_in_commit import InCommit
from reconciler.templates.lint import lint, template_bytes
from reconciler.templates.renderer import LARGEST_TOKENIZER, Renderer
from reconciler.templates.rendering import Example, TemplateChange

MAX_WARNINGS = 5  # of one template
MAX_CHANGES = 20  # distinct changes of one comparison
MAX_SETTINGS = 1 << 20  # bytes of tokenizer_config.json
_HINT = "name a preset, or keep a copy beside the manifests that is written for both: promptTemplate: {jinja: ...}"

_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


def own_templates(models: Iterable[Model], resolution: Resolution) -> Iterator[Problem]:
    """Warnings of the templates that models bring themselves."""
    own = {model.name: model for model in models if model.template.jinja is None}
    releases = [wanted.release for wanted in resolution.desired.wanted]
    texts = {one.model: one.template for one in releases if one.model in own and one.template}
    for name, text in texts.items():
        for finding in lint(template_bytes(text))[:MAX_WARNINGS]:
            yield Problem(
                code=finding.code,
                file=own[name].file,
                line=own[name].line_of("spec.promptTemplate"),
                field="spec.promptTemplate",
                message=f"the model's own template, line {finding.line}: {finding.message}",
                hint=_HINT,
            )


def template_changes(base: Side, head: Side, sources: dict[str, str], folders: InCommit) -> tuple[TemplateChange, ...]:
    """Templates that differ, with examples. `sources` are the model folders of HEAD by the model's name."""
    old, new = _by_model(base), _by_model(head)
    models: dict[tuple[str, str], list[str]] = {}
    for name in sorted(old.keys() & new.keys()):
        if old[name].template != new[name].template:
            models.setdefault((old[name].template, new[name].template), []).append(name)
    changes = []
    with Renderer(tokenizers=True) as renderer:
        for pair, names in list(models.items())[:MAX_CHANGES]:
            first = names[0]
            before, after = _examples(renderer, pair, sources[first], folders)
            origins = old[first].template_origin, new[first].template_origin
            changes.append(
                TemplateChange(
                    models=tuple(names), before_origin=origins[0], after_origin=origins[1], before=before, after=after
                )
            )
    return tuple(changes)


def _examples(renderer: Renderer, pair: tuple[str, str], source: str, folders: InCommit) -> tuple[Example, ...]:
    tokens = special_names(folders.file(source, "tokenizer_config.json", MAX_SETTINGS))
    tokenizer = folders.file(source, "tokenizer.json", LARGEST_TOKENIZER)
    return renderer.examples(pair, tokens, tokenizer)


def _by_model(side: Side) -> dict[str, Release]:
    """One release of each model: all its precisions share the template."""
    return {wanted.release.model: wanted.release for wanted in side.desired.wanted}


def special_names(settings: bytes | None) -> dict[str, str]:
    """The special tokens in a tokenizer_config.json; none where it is not as expected."""
    try:
        document = json.loads(settings or b"{}")
    except (ValueError, RecursionError):
        return {}
    found = {}
    for name in _TOKENS if isinstance(document, dict) else ():
        held = document.get(name)
        text = held.get("content") if isinstance(held, dict) else held
        if isinstance(text, str):
            found[name] = text[:200]
    return found
