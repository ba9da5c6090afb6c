"""Let the runtime render the conversations of a template's fixtures, and count the tokens: it gives no text away."""

from __future__ import annotations

import os
from collections.abc import Sequence

from reconciler.domain.bars import Fixture
from reconciler.gates.measuring.runtime import Runtime
from reconciler.templates.renderer import LARGEST_TOKENIZER, Renderer


def count_rendered(
    runtime: Runtime, folder: str, name: str, fixtures: Sequence[Fixture]
) -> dict[str, tuple[int, int]]:
    """By fixture: tokens of what the runtime renders, and of the expected text (-1 where only an estimate is known)."""
    tokenizer = _tokenizer(folder)
    with Renderer(tokenizers=True) as renderer:
        return {
            one.key: (runtime.count(name, one.messages), _expected(one, tokenizer, renderer))
            for one in fixtures
        }


def _expected(fixture: Fixture, tokenizer: bytes | None, renderer: Renderer) -> int:
    tokens = renderer.count(fixture.rendered, tokenizer)
    return tokens.count if tokens.exact else -1


def _tokenizer(folder: str) -> bytes | None:
    path = os.path.join(folder, "tokenizer.json")
    if not os.path.isfile(path) or os.path.getsize(path) > LARGEST_TOKENIZER:
        return None
    with open(path, "rb") as file:
        return file.read()
