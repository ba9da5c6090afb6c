"""Which templates differ between two commits, rendered with what the model's folder in git says of its tokens."""

from __future__ import annotations

import json

from reconciler.domain.release import Release
from reconciler.fleet.comparison import Side
from reconciler.sources.git.folder import InCommit
from reconciler.templates.example import example_of
from reconciler.templates.renderer import LARGEST_TOKENIZER, Renderer
from reconciler.templates.template_change import Example, TemplateChange

MOST = 20  # distinct changes: what more would be shown, nobody reads
LONGEST_SETTINGS = 1 << 20
_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")


def template_changes(
    base: Side, head: Side, sources: dict[str, str], folders: InCommit
) -> tuple[TemplateChange, ...]:
    """`sources` are the model folders of HEAD by model."""
    old, new = _by_model(base), _by_model(head)
    models: dict[tuple[str, str], list[str]] = {}
    for name in sorted(old.keys() & new.keys()):
        if old[name].template != new[name].template:
            models.setdefault((old[name].template, new[name].template), []).append(name)
    changes = list(models.items())[:MOST]
    with Renderer(tokenizers=True) as renderer:
        return tuple(
            _change(names, old, new, _examples(renderer, pair, sources[names[0]], folders))
            for pair, names in changes
        )


def _examples(
    renderer: Renderer, pair: tuple[str, str], source: str, folders: InCommit
) -> tuple[Example, ...]:
    tokens = special_names(folders.file(source, "tokenizer_config.json", LONGEST_SETTINGS))
    tokenizer = folders.file(source, "tokenizer.json", LARGEST_TOKENIZER)
    return tuple(example_of(renderer, template, tokens, tokenizer) for template in pair)


def _change(
    names: list[str], old: dict[str, Release], new: dict[str, Release], examples: tuple[Example, ...]
) -> TemplateChange:
    before, after = examples
    return TemplateChange(
        models=tuple(names),
        before_origin=old[names[0]].template_origin,
        after_origin=new[names[0]].template_origin,
        before=before,
        after=after,
    )


def _by_model(side: Side) -> dict[str, Release]:
    """Every precision of a model has its template."""
    return {wanted.release.model: wanted.release for wanted in side.desired.wanted}


def special_names(settings: bytes | None) -> dict[str, str]:
    """The tokens that templates ask for by name; none where the file is not as expected."""
    try:
        document = json.loads(settings or b"{}")
    except (ValueError, RecursionError):
        return {}
    found = {}
    for name in _NAMES if isinstance(document, dict) else ():
        held = document.get(name)
        text = held.get("content") if isinstance(held, dict) else held
        if isinstance(text, str):
            found[name] = text[:200]
    return found
