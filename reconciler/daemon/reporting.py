"""The daemon's log: every step, each problem once, and one summary line a pass.

A pass that found nothing to do, and whose summary is that of the one before, leaves a line once an hour: an idle daemon
must not fill a disk. A pass that was asked for (by a signal, a webhook, a changed file) always leaves its line.
"""

import time
from collections.abc import Callable, Iterable, Set

from reconciler.daemon.state import Board
from reconciler.daemon.wake import INTERVAL, WATCHING
from reconciler.domain.changes import Change, word_of
from reconciler.domain.errors import Problem
from reconciler.domain.plan import Held, Outcome
from reconciler.domain.reasons import PRUNE_GUARDS
from reconciler.domain.text.escape import one_line
from reconciler.engine import log
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult

QUIET = 3600.0  # seconds without a line about passes that change nothing


class StepLog(Reporter):
    """The reporter of a pass: a line for each step, and its count. Each sign of progress is a sign of life: `alive` is
    called."""

    def __init__(self, alive: Callable[[], None], board: Board) -> None:
        self._alive = alive
        self._board = board

    def started(self, change: Change) -> None:
        self._alive()
        log.info("change.started", **_facts(change))

    def progressed(self, change: Change, fraction: float, text: str) -> None:
        self._alive()

    def alive(self) -> None:
        self._alive()

    def finished(self, outcome: Outcome) -> None:
        self._alive()
        self._board.step_ended(outcome)
        facts = _facts(outcome.change) | {"seconds": round(outcome.seconds, 3)}
        if outcome.status == "done":
            log.info("change.done", **facts)
        elif outcome.status == "cancelled":
            log.info("change.cancelled", **facts, message=outcome.message)
        else:
            failure = {"code": outcome.code, "message": outcome.message, "hint": outcome.hint}
            log.warning(f"change.{outcome.status}", **facts, **failure)


class Summaries:
    """What is logged of passes, and what has been logged already."""

    def __init__(self) -> None:
        self._known: frozenset[Problem] = frozenset()
        self._kept: frozenset[Held] = frozenset()
        self._last: dict[str, object] = {}
        self._quiet_since = 0.0
        self._unlogged = 0  # passes since the last line

    def problems(self, found: Iterable[Problem], warnings: Iterable[Problem]) -> None:
        """Those that are new since the last pass, and that all are gone."""
        ill, doubtful = list(found), list(warnings)
        for problem in (*ill, *doubtful):
            if problem not in self._known:
                event = "declaration.problem" if problem in ill else "declaration.warning"
                log.warning(event, **_facts_of_problem(problem))
        if self._known and not (ill or doubtful):
            log.info("declaration.mended")
        self._known = frozenset((*ill, *doubtful))

    def kept(self, held: Iterable[Held]) -> None:
        """What is served, no longer declared, and not pruned until it is confirmed: once for each change."""
        now = frozenset(hold for hold in held if hold.reason in PRUNE_GUARDS)
        for reason, hint in sorted({(hold.reason, hold.message) for hold in now - self._kept}):
            names = sorted(hold.variant for hold in now if hold.reason == reason)
            log.warning("prune.held", code=reason, variants=names, message=reason.text, hint=hint)
        if self._kept and not now:
            log.info("prune.settled")
        self._kept = now

    def passed(self, result: PassResult, woken: Set[str], seconds: float) -> None:
        facts = result.facts
        same = facts == self._last and not result.outcomes and woken <= {INTERVAL, WATCHING}
        self._last = facts
        if same and time.monotonic() - self._quiet_since < QUIET:
            self._unlogged += 1
            return
        log.info("pass.summary", woken=sorted(woken), **facts, seconds=round(seconds, 3), unsaid=self._unlogged)
        self._unlogged, self._quiet_since = 0, time.monotonic()

    def failed(self) -> None:
        """The next pass that ends leaves its line."""
        self._last = {}


def _facts(change: Change) -> dict[str, object]:
    named = change.variant or f"artifact {change.build_key[7:19]}"
    words = {"action": change.action, "word": word_of(change), "reason": change.reason}
    return {**words, "variant": named, "number": change.number}


def _facts_of_problem(problem: Problem) -> dict[str, object]:
    facts = {"code": problem.code, "file": problem.file, "line": problem.line, "field": problem.field}
    return facts | {"message": one_line(problem.message), "hint": problem.hint}
