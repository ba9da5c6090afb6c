"""What a changed template means for a model: an example before and after, and the tokens it costs."""

from dataclasses import dataclass


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
