"""Who is told while a pass happens."""

from typing import Protocol

from reconciler.domain.changes import Change
from reconciler.domain.plan import Outcome


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
