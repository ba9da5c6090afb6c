"""What a changed template means for a model: an example before and after, and the tokens it costs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.templates.example import example
from reconciler.templates.token_count import count_tokens
from reconciler.templates.values import NotRendered


@dataclass(frozen=True, kw_only=True)
class Example:
    """`reason` says why there is no `text`. `exact` is false where the tokens are an estimate."""

    text: str = ""
    reason: str = ""
    tokens: int = 0
    exact: bool = False


@dataclass(frozen=True, kw_only=True)
class TemplateChange:
    """`models` have both templates, and are counted with the tokenizer of the first."""

    models: tuple[str, ...]
    before_origin: str
    after_origin: str
    before: Example
    after: Example


def example_of(template: str, tokens: Mapping[str, str], tokenizer: bytes | None) -> Example:
    if not template:
        return Example(reason="it is the model's own, which is not in this repository")
    try:
        text = example(template, tokens)
    except NotRendered as told:
        return Example(reason=str(told))
    counted = count_tokens(text, tokenizer)
    return Example(text=text, tokens=counted.count, exact=counted.exact)
