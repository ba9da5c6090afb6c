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
from reconciler.domain.reasons import BY_FAILURE, BY_ORDER, PRUNE_GUARDS, USER_HOLDS, WAITING, Reason
from reconciler.domain.text.escape import one_line
from reconciler.engine import log
from reconciler.engine.options import Reporter
from reconciler.engine.pass_result import PassResult

MOST_NAMED = 10  # variants in one line
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
        self._held: frozenset[tuple[str, Reason, str]] = frozenset()
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

    def held(self, held: Iterable[Held]) -> None:
        """What begins to be held back: one line for each reason. Not what failed, which has its line, nor what waits
        for another change of the same plan. What a prune guard keeps is named whole, each time that what to do about it
        changes."""
        now = {_key_of(one): one for one in held if one.reason not in (*BY_FAILURE, *BY_ORDER)}
        begun = [one for key, one in now.items() if key not in self._held]
        for reason in sorted({one.reason for one in begun}):
            guarded = reason in PRUNE_GUARDS
            named = sorted({one.variant for one in (now.values() if guarded else begun) if one.reason == reason})
            facts = {"variants": named if guarded else named[:MOST_NAMED], "count": len(named)}
            hint = next(one.message for one in begun if one.reason == reason)
            write = log.info if reason in (*WAITING, *USER_HOLDS) else log.warning
            write("prune.held" if guarded else "change.held", code=reason, **facts, message=reason.text, hint=hint)
        if _guarded(self._held) and not _guarded(now):
            log.info("prune.settled")
        self._held = frozenset(now)

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


def _key_of(held: Held) -> tuple[str, Reason, str]:
    """The message of other reasons has numbers that change with each pass."""
    return held.variant, held.reason, held.message if held.reason in PRUNE_GUARDS else ""


def _guarded(keys: Iterable[tuple[str, Reason, str]]) -> bool:
    return any(reason in PRUNE_GUARDS for _, reason, _ in keys)


def _facts(change: Change) -> dict[str, object]:
    named = change.variant or f"artifact {change.build_key[7:19]}"
    words = {"action": change.action, "word": word_of(change), "reason": change.reason}
    return {**words, "variant": named, "number": change.number}


def _facts_of_problem(problem: Problem) -> dict[str, object]:
    facts = {"code": problem.code, "file": problem.file, "line": problem.line, "field": problem.field}
    return facts | {"message": one_line(problem.message), "hint": problem.hint}
