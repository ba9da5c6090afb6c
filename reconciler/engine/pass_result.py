"""PassResult: what a pass returns. Whether it converged, what failed, what is left, when to come back, and the facts of
its one line in the log."""

from dataclasses import dataclass, field

from reconciler.domain.changes import LongWork
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Outcome, Plan
from reconciler.domain.reasons import BY_ORDER, USER_HOLDS
from reconciler.domain.recorded import Recorded
from reconciler.engine.resolve import Resolution


@dataclass(frozen=True, kw_only=True)
class PassResult:
    """`remaining` is what a second observation still finds to do: empty when the pass converged. `running` are the
    jobs that go on; what remains because of them is no failure. `unrecorded` says why the records could not be
    written; they are then older than the machine. `observed` and `recorded` are what `remaining` was planned from."""

    plan: Plan
    remaining: Plan
    outcomes: tuple[Outcome, ...]
    resolution: Resolution
    running: tuple[LongWork, ...] = ()
    unrecorded: str = ""
    observed: Observed = field(default_factory=Observed)
    recorded: Recorded = field(default_factory=Recorded)

    @property
    def converged(self) -> bool:
        held = [hold for hold in self.remaining.held if hold.reason not in USER_HOLDS]
        left = self.remaining or held or self.resolution.problems or self.failed or self.running
        return not (left or self.unrecorded)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == "failed")

    @property
    def facts(self) -> dict[str, object]:
        """For the log."""
        return {
            "revision": self.remaining.revision,
            "converged": self.converged,
            "changes": len(self.outcomes),
            "failed": len(self.failed),
            "held": len(self.remaining.held),
            "left": len(self.remaining.changes),
            "running": len(self.running),
            "problems": len(self.resolution.problems),
        }

    @property
    def released(self) -> bool:
        """Whether something was held back for the sake of order, and may be carried out now."""
        waited = {hold.variant for hold in self.plan.held if hold.reason in BY_ORDER}
        waiting = {hold.variant for hold in self.remaining.held}
        return any(one.variant in waited - waiting for one in self.remaining.changes)

    @property
    def next_wake(self) -> str | None:
        """The earliest time (RFC 3339) at which something held back may be tried, or goes."""
        waiting = (*self.remaining.held, *self.remaining.later)
        return min((hold.until for hold in waiting if hold.until), default=None)
