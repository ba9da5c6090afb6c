"""What a changed template means for a model: an example before and after, and the tokens it costs. Pure."""

from __future__ import annotations

from reconciler.core.template_values import NotRendered
from reconciler.core.token_count import count_tokens
from reconciler.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


@value
class Example:
    """`reason` says why there is no `text`. `exact` is false where the tokens are an estimate."""

    text: str = ""
    reason: str = ""
    tokens: int = 0
    exact: bool = False


@value
class TemplateChange:
    """`models` have both templates, and are counted with the tokenizer of the first."""

    models: tuple[str, ...]
    before_origin: str
    after_origin: str
    before: Example
    after: Example


def example_of(template: str, tokens: Mapping[str, str], tokenizer: bytes | None) -> Example:
    from reconciler.core.template_example import example  # loads jinja2: only where a template changed

    if not template:
        return Example(reason="it is the model's own, which is not in this repository")
    try:
        text = example(template, tokens)
    except NotRendered as told:
        return Example(reason=str(told))
    counted = count_tokens(text, tokenizer)
    return Example(text=text, tokens=counted.count, exact=counted.exact)
