"""A model or variant that this machine leaves alone because a person asked for it (`reconciler suspend`).

It ends with `reconciler resume`, or by itself at `until`. What the manifest declares (spec.suspend) is independent of
it, and stays in git.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST_DAYS = 30  # then a person is asked whether it is still meant


@dataclass(frozen=True, kw_only=True)
class Suspension:
    """`name` is a model or a variant. Times are RFC 3339, UTC, whole seconds, so they compare as text; `until` is
    empty when it lasts until it is resumed."""

    name: str
    reason: str
    since: str
    until: str = ""

    def __str__(self) -> str:
        end = f" until {self.until}" if self.until else ""
        return f"suspended since {self.since}{end}: {self.reason}"


def still_on(suspensions: Iterable[Suspension], now: str) -> tuple[Suspension, ...]:
    return tuple(one for one in suspensions if not one.until or now < one.until)


def suspension_of(suspensions: Iterable[Suspension], *, variant: str, model: str) -> Suspension | None:
    """The variant's own comes first."""
    covering = {one.name: one for one in suspensions}
    return covering.get(variant) or covering.get(model)


def lasts_too_long(suspension: Suspension, now: str) -> bool:
    return datetime.fromisoformat(now) - datetime.fromisoformat(suspension.since) > timedelta(LONGEST_DAYS)
