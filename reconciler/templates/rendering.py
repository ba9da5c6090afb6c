"""The two ways in which a chat template gives no text, and the type of what renders one for a fixture."""

from collections.abc import Callable

from reconciler.domain.manifest import Fixture


class NotRendered(Exception):
    """The template was not rendered; the message is the reason, in one line."""


class Refusing(NotRendered):
    """The template itself refused the conversation (`raise_exception`)."""


# A template and a fixture in, the text of the fixture's conversation out. Raises NotRendered.
RenderFixture = Callable[[str, Fixture], str]


def unrendered(template: str, fixture: Fixture) -> str:
    """For those who read manifests and have no renderer."""
    raise NotRendered("there is no renderer here")
