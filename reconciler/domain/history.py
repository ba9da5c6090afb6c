"""What one variant was served as before: enough of each release to make it again from its artifact. Pure.

A name's number counts registrations, so one release may stand here under two numbers. A candidate that a gate or the
rehearsal rejected never had one, and stands here as number 0, once for each release digest.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from reconciler.domain.release import Release

KEPT = 20  # entries for each variant
SERVED, REJECTED, ROLLED_BACK = "served", "rejected", "rolled back"


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """`digest` is the release's as it was then: another version of this program may write the same release another way,
    and then calls it another one. Times are RFC 3339, UTC; `superseded` is when its successor was registered, `retired`
    when its own registration went. `message` says why it was rejected or rolled back."""

    number: int
    digest: str
    release: Release
    artifact: str
    revision: str
    registered: str
    outcome: str = SERVED
    message: str = ""
    superseded: str = ""
    retired: str = ""

    @property
    def id(self) -> str:
        return f"{self.release.variant}:{self.number}" if self.number else f"{self.release.variant} (rejected)"


History = tuple[HistoryEntry, ...]  # oldest first


def registered(history: History, past: HistoryEntry) -> History:
    """With one more that serves now; those before it are superseded, unless they were already."""
    others = (one for one in history if one.number != past.number or not one.number)
    older = (one if one.superseded or not one.number else replace(one, superseded=past.registered) for one in others)
    return (*older, past)[-KEPT:]


def rejected(history: History, past: HistoryEntry) -> History:
    """Once for each digest. What serves stays the newest."""
    if any(one.outcome == REJECTED and one.digest == past.digest for one in history):
        return history
    return _bounded((*history, past))


def _bounded(history: History) -> History:
    """The newest, and always the last that was given a number."""
    left, serving = history[-KEPT:], [one for one in history if one.number]
    return left if not serving or serving[-1] in left else (serving[-1], *left[1:])


def taken_back(history: History, number: int, why: str) -> History:
    """It serves until its name is gone, and is nothing to go back to from now on."""
    return tuple(replace(one, outcome=ROLLED_BACK, message=why) if one.number == number else one for one in history)


def retired(history: History, number: int, now: str, *, serving: int = 0) -> History:
    """`serving` is the older number that serves again, if it was rolled back."""

    def after(one: HistoryEntry) -> HistoryEntry:
        if one.number == number:
            return replace(one, retired=now, superseded=one.superseded or now)
        return replace(one, superseded="") if serving and one.number == serving else one

    return tuple(after(one) for one in history)


def missing_retirements(history: History, present: Iterable[int]) -> tuple[int, ...]:
    """Removed releases without a record of it, because the process that removed them died in between. `present` are the
    numbers of which anything is left."""
    there = set(present)
    return tuple(one.number for one in history if one.number and not one.retired and one.number not in there)


def not_in_the_future(history: History, now: str) -> History:
    """A clock that was set back must not keep a predecessor for years: its time begins again, once."""
    return tuple(replace(one, superseded=now) if one.superseded > now else one for one in history)


def good_ones(history: History, but: Iterable[str]) -> tuple[HistoryEntry, ...]:
    """What could be served again, newest first: it served, it was not rolled back since, and it is not among `but`
    (digests)."""
    seen, found = set(but), []
    for one in reversed(history):
        if one.number and one.digest not in seen:
            seen.add(one.digest)
            found.append(one)
    return tuple(one for one in found if one.outcome == SERVED)


def kept(history: History, limit: int, current: str) -> tuple[HistoryEntry, ...]:
    """Those whose artifacts are kept: the newest that one could go back to, newest first."""
    return good_ones(history, [current])[:limit]


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """By hand. While git declares one of `refused` (release digests), `to` is served. Times are RFC 3339, UTC."""

    variant: str
    refused: tuple[str, ...]
    to: HistoryEntry
    reason: str
    since: str

    def __str__(self) -> str:
        return f"rolled back to what {self.to.id} was since {self.since}: {self.reason}"
