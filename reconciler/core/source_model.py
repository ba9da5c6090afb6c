"""What a model folder is, told from its small files and the headers of its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from reconciler.core.errors import Problem
from reconciler.core.release import StoredFile


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """`digest` covers the files that decide a conversion and is empty when there are `problems`; so are the rest.

    `shapes` are those of every tensor in the weights. `warnings` do not stop a conversion.
    """

    path: str
    digest: str = ""
    architecture: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    files: tuple[StoredFile, ...] = ()
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    weight_bytes: int = 0
    context_length: int = 0
    chat_template: str | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAdapter:
    """A LoRA folder as PEFT writes it."""

    path: str
    digest: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    files: tuple[StoredFile, ...] = ()
    weight_bytes: int = 0
    problems: tuple[Problem, ...] = ()
