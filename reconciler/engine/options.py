"""What a pass is given beside the manifests (Options, Reporter), and what it returns (PassResult)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconciler.backends.protocol import ServingRuntime
from reconciler.conversion.client.converter import Converter
from reconciler.domain.changes import Change, LongWork
from reconciler.domain.plan import Outcome, Plan
from reconciler.domain.reasons import BY_ORDER, USER_HOLDS
from reconciler.engine.resolve import Resolution


class Reporter:
    """Shows the steps of a pass; this one shows nothing. Called by the thread that makes the pass; `started` and
    `progressed` by the threads of jobs too."""

    def started(self, change: Change) -> None: ...

    def progressed(self, change: Change, fraction: float, text: str) -> None:
        """`fraction` from 0 to 1; `text` is what is being done."""

    def finished(self, outcome: Outcome) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Options:
    """`jobs`: conversions at a time. For each conversion `conversion_timeout` in seconds, `conversion_memory` in bytes
    (0: most of the machine's) and the sandbox `cage` ("auto", "require", "off"). `retry` forgets remembered failures
    first. `token_files` hold the tokens of remote sources, by kind. The last three are for tests."""

    confirm: bool = False
    jobs: int = 1
    conversion_timeout: float = 6 * 3600.0
    conversion_memory: int = 0
    cage: str = "auto"
    retry: bool = False
    token_files: Mapping[str, str] = field(default_factory=dict)
    converter_module: str = ""
    make_converter: Callable[[], Converter] | None = None
    make_runtime: Callable[[str, str, str], ServingRuntime] | None = None  # (catalog, scratch, log)


@dataclass(frozen=True, kw_only=True)
class PassResult:
    """`remaining` is what a second observation still finds to do: empty when the pass converged. `running` are the
    jobs that go on; what remains because of them is no failure. `unrecorded` says why the records could not be
    written; they are then older than the machine."""

    plan: Plan
    remaining: Plan
    outcomes: tuple[Outcome, ...]
    resolution: Resolution
    running: tuple[LongWork, ...] = ()
    unrecorded: str = ""

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
