"""Verdict: what one gate says about one measured number. A value; `gates.judgement` makes it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`number` is on the side of `bar` that `status` says; both are None where there is nothing to compare. `misses`
    are the first golden prompts that were answered wrongly, read from the answers that were kept."""

    gate: str
    measure: str
    status: str
    number: float | None
    bar: float | None
    message: str
    rejects: bool = False
    misses: tuple[str, ...] = ()
