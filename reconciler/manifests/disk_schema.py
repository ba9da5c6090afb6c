"""What a manifest says about the disk, as types."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reconciler.domain.quoting import listed
from reconciler.manifests.fields import as_text, expect
from reconciler.manifests.strict import Strict

STRATEGIES = ("side-by-side", "delete-then-build")
Strategy = Annotated[
    Literal["side-by-side", "delete-then-build"], expect(listed(STRATEGIES), as_text, known=STRATEGIES)
]


class Disk(Strict):
    strategy: Strategy = Field(
        default="side-by-side",
        description="delete-then-build: where both do not fit, the old one goes before the new one is built.",
    )
