"""Fixture: a conversation, and the text that a chat template must make of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from reconciler.domain import digest


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """`tokens` are the special tokens that the template asks for by name; `asked` is whether an answer is to begin."""

    messages: tuple[tuple[str, str], ...]
    rendered: str
    asked: bool = True
    tokens: dict[str, str] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        return digest.of_value({"messages": self.messages, "rendered": self.rendered})
