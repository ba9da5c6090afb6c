"""StoredFile: one file of an artifact or of a served folder, by path, digest and size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One file of an artifact. `path` is relative with forward slashes, `size` in bytes."""

    path: str
    digest: str
    size: int
