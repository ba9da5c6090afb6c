"""The quick steps of one plan, grouped by variant: within a variant a failure skips what follows it. One failing
variant never stops the others, and each step leaves one outcome: told, and recorded."""

import time
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import partial

from reconciler.domain.changes import Change
from reconciler.domain.errors import Cancelled, CatalogBroken, PermanentError, ReconcilerError, Throttled, refused
from reconciler.domain.plan import Outcome
from reconciler.engine import log
from reconciler.engine.executor import carry_out
from reconciler.engine.pass_context import PassContext
from reconciler.engine.report import Reporter
from reconciler.engine.status_writer import record_outcome

NOT_WANTED = "nobody wants it any more"
STOPPED = "reconciler was stopped; the next pass begins it again"
_BUG_HINT = "this is a bug in reconciler: please report it with the log"


class Steps:
    """`outcomes` grows with each step, also when the pass is interrupted."""

    def __init__(self, reporter: Reporter, outcomes: list[Outcome]) -> None:
        self._reporter = reporter
        self._outcomes = outcomes

    def run(self, group: Sequence[Change], context: PassContext) -> None:
        """One variant's changes, in their order."""
        broken: Outcome | None = None
        for change in group:
            if broken is not None:
                self._skip(change, context, because=broken)
                continue
            self._reporter.started(change)
            outcome = self.step(change, partial(carry_out, change, context), context)
            broken = outcome if outcome.status == "failed" else None

    def free(self, changes: Sequence[Change], context: PassContext, unused: Callable[[], Container[str]]) -> None:
        """What nothing uses once all has gone well. After a failure something still may, so `unused` looks again and
        says of what that is not so: a full disk wants the rest of it."""
        failure = next((outcome for outcome in self._outcomes if outcome.status == "failed"), None)
        left = unused() if failure is not None and changes else ()
        for change in changes:
            if failure is not None and change.build_key not in left:
                self._skip(change, context, because=failure)
            else:
                self.run([change], context)

    def step(self, change: Change, act: Callable[[], None], context: PassContext, *, spent: float = 0.0) -> Outcome:
        started = time.monotonic()
        told = Outcome(change=change, status="done")
        try:
            act()
        except Cancelled:
            told = _cancelled(change, NOT_WANTED)
        except Exception as error:  # noqa: BLE001 - one bad object harms only itself
            told = _judged(change, error)
        return self._tell(told, context, spent + time.monotonic() - started)

    def cancelled(self, change: Change, context: PassContext, because: str) -> None:
        self._tell(_cancelled(change, because), context)

    def _skip(self, change: Change, context: PassContext, *, because: Outcome) -> None:
        message = f"{because.change.action} failed: {because.message}"
        self._tell(Outcome(change=change, status="skipped", code=because.code, message=message), context)

    def _tell(self, outcome: Outcome, context: PassContext, seconds: float = 0.0) -> Outcome:
        outcome = replace(outcome, seconds=seconds)
        self._outcomes.append(outcome)
        record_outcome(context, outcome)
        self._reporter.finished(outcome)
        return outcome


def _judged(change: Change, error: Exception) -> Outcome:
    """What we did not think of is a bug, and the log gets its traceback."""
    known = refused(error) if isinstance(error, OSError) else error
    if not isinstance(known, ReconcilerError):
        log.bug("change.bug", error, action=change.action, variant=change.variant)
        return _failed(change, "Bug", f"{type(error).__name__}: {error}", _BUG_HINT, permanent=False)
    told = _failed(change, known.code, str(known), known.hint, permanent=_is_permanent(known))
    return replace(told, delay=known.delay if isinstance(known, Throttled) else 0.0)


def _is_permanent(error: ReconcilerError) -> bool:
    """A broken catalog is mended by a person without any change to what git declares."""
    return isinstance(error, PermanentError) and not isinstance(error, CatalogBroken)


def _failed(change: Change, code: str, message: str, hint: str, *, permanent: bool) -> Outcome:
    return Outcome(change=change, status="failed", code=code, message=message, hint=hint, permanent=permanent)


def _cancelled(change: Change, because: str) -> Outcome:
    return Outcome(change=change, status="cancelled", code=Cancelled.code, message=because)


def by_variant(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes of one variant together, in plan order. Those without a variant (freed artifacts) are one group each."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.variant or change.build_key, []).append(change)
    return list(groups.values())
