"""Steps: carries out the quick changes of one plan, grouped by variant. Within a variant a failure skips what follows;
other variants go on. Each change leaves one outcome, which is recorded and reported."""

import time
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import partial

from reconciler.domain.changes import Change, word_of
from reconciler.domain.errors import Cancelled, CatalogBroken, Paused, PermanentError, TemporaryError
from reconciler.domain.plain_data import grouped
from reconciler.domain.plan import Outcome
from reconciler.engine import log
from reconciler.engine.executor import carry_out
from reconciler.engine.options import Reporter
from reconciler.engine.pass_context import PassContext
from reconciler.engine.record_writer import record_outcome

NOT_WANTED = "no longer planned"
STOPPED = "reconciler was stopped; the next pass begins it again"


class Steps:
    """`outcomes` grows with each step, also when the pass is interrupted."""

    def __init__(self, reporter: Reporter, outcomes: list[Outcome]) -> None:
        self._reporter = reporter
        self._outcomes = outcomes

    def run(self, group: Sequence[Change], context: PassContext) -> bool:
        """One variant's changes, in their order. False when one failed."""
        broken: Outcome | None = None
        for change in group:
            if broken is not None:
                self._skip(change, context, because=broken)
                continue
            self._reporter.started(change)
            outcome = self.step(change, partial(carry_out, change, context), context)
            broken = outcome if outcome.status == "failed" else None
        return broken is None

    def free(self, changes: Sequence[Change], context: PassContext, unused: Callable[[], Container[str]]) -> None:
        """Free what nothing uses. After a failure something still may, so `unused` observes again which build keys
        nothing uses: on a full disk the rest has to go."""
        failure = next((outcome for outcome in self._outcomes if outcome.status == "failed"), None)
        left = unused() if failure is not None and changes else ()
        for change in changes:
            if failure is not None and change.build_key not in left:
                self._skip(change, context, because=failure)
            else:
                self.run([change], context)

    def step(self, change: Change, act: Callable[[], None], context: PassContext, *, spent: float = 0.0) -> Outcome:
        started = time.monotonic()
        outcome = Outcome(change=change, status="done")
        try:
            act()
        except Cancelled as error:
            outcome = _cancelled(change, str(error) if isinstance(error, Paused) else NOT_WANTED)
        except Exception as error:  # noqa: BLE001 - one bad object harms only itself
            outcome = _failed(change, error)
        return self._end(replace(outcome, seconds=spent + time.monotonic() - started), context)

    def cancelled(self, change: Change, context: PassContext, because: str) -> None:
        self._end(_cancelled(change, because), context)

    def _skip(self, change: Change, context: PassContext, *, because: Outcome) -> None:
        message = f"{word_of(because.change)} failed: {because.message}"
        self._end(Outcome(change=change, status="skipped", code=because.code, message=message), context)

    def _end(self, outcome: Outcome, context: PassContext) -> Outcome:
        self._outcomes.append(outcome)
        record_outcome(context, outcome)
        self._reporter.finished(outcome)
        return outcome


def _failed(change: Change, error: Exception) -> Outcome:
    known = log.known_error("change.bug", error, action=change.action, variant=change.variant)
    return Outcome(
        change=change,
        status="failed",
        code=known.code,
        message=str(known),
        hint=known.hint,
        # A broken catalog is mended by a person without any change of the manifests.
        permanent=isinstance(known, PermanentError) and not isinstance(known, CatalogBroken),
        delay=known.delay if isinstance(known, TemporaryError) else 0.0,
    )


def _cancelled(change: Change, because: str) -> Outcome:
    return Outcome(change=change, status="cancelled", code=Cancelled.code, message=because)


def by_variant(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes of one variant together, in plan order. Those without a variant (freed artifacts) are one group each."""
    return list(grouped(changes, lambda change: change.variant or change.build_key).values())
