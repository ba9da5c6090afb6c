"""Types of rendering: two exceptions (`NotRendered`, `RefusedByTemplate`), the signature of a renderer
(`RenderFixture`), and example conversations before and after a template changed (`Example`, `TemplateChange`)."""

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.domain.manifest import Fixture


class NotRendered(Exception):
    """The template was not rendered; the message is the reason, in one line."""


class RefusedByTemplate(NotRendered):
    """The template itself refused the conversation (`raise_exception`)."""


# A template and a fixture in, the text of the fixture's conversation out. Raises NotRendered.
RenderFixture = Callable[[str, Fixture], str]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One fixed conversation as a template writes it. `reason` says why there is no `text`. `exact` is false where the
    tokens are an estimate."""

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
