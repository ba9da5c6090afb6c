"""How a pass is to be made, and what it came to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconciler.backends.protocol import ServingRuntime
from reconciler.conversion.client.converter import Converter
from reconciler.domain.changes import LongWork
from reconciler.domain.plan import Outcome, Plan
from reconciler.domain.reasons import USER_HOLDS
from reconciler.engine.resolve import Resolution


@dataclass(frozen=True, kw_only=True)
class Options:
    """`jobs` conversions at a time; `conversion_timeout` in seconds and `conversion_memory` in bytes (0: most
    of the machine's), each, in a `cage` ("auto", "require", "off"); `retry` forgets remembered failures first.
    `token_files` hold the tokens of remote sources, by kind. `converter_module` is the worker's, for tests of how it
    ends; `make_converter` and `make_runtime` (cache, scratch, log) are for tests that make a thousand passes."""

    confirm: bool = False
    jobs: int = 1
    conversion_timeout: float = 6 * 3600.0
    conversion_memory: int = 0
    cage: str = "auto"
    retry: bool = False
    token_files: Mapping[str, str] = field(default_factory=dict)
    converter_module: str = ""
    make_converter: Callable[[], Converter] | None = None
    make_runtime: Callable[[str, str, str], ServingRuntime] | None = None


@dataclass(frozen=True, kw_only=True)
class PassResult:
    """`remaining` is what a second look still finds to do: empty when the pass converged. `running` is the long work
    that goes on beside; what remains because of it has not failed to converge. `unrecorded` says why the records
    could not be written: they tell an older story then."""

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
    def next_wake(self) -> str | None:
        """When the earliest thing that time alone holds back may be tried, or goes (RFC 3339)."""
        waiting = (*self.remaining.held, *self.remaining.later)
        return min((hold.until for hold in waiting if hold.until), default=None)
