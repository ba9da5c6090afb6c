"""What came of a change, and who is told while it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.core.changes import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`status`: done | failed | skipped (something it needs failed). `seconds` is wall time; `code`, `message` and
    `hint` are set when it failed."""

    change: Change
    status: str
    seconds: float = 0.0
    code: str = ""
    message: str = ""
    hint: str = ""


class Reporter(Protocol):
    """Whoever watches a pass: a terminal with bars, a log with lines, nobody. Called from one thread, except
    `progressed`, which a conversion calls from its own."""

    def started(self, change: Change) -> None: ...

    def progressed(self, change: Change, fraction: float, text: str) -> None:
        """`fraction` from 0 to 1; `text` is what is being done."""

    def finished(self, outcome: Outcome) -> None: ...


class Silent:
    """The reporter that says nothing."""

    def started(self, change: Change) -> None: ...

    def progressed(self, change: Change, fraction: float, text: str) -> None: ...

    def finished(self, outcome: Outcome) -> None: ...
