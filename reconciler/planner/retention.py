"""Predecessors that are not retired yet: the manifest retains them for a time, or another process has their files in
its memory. Pure; part of planner.plan.

No clock is trusted with a deletion or with a wait. A predecessor that was superseded in the future (somebody set the
clock back) is kept as if it had been superseded now, and the records are told so (domain.history.not_in_the_future): it
goes neither at once nor in ten years.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.observed import Observed
from reconciler.domain.plan import Held
from reconciler.domain.reasons import Reason
from reconciler.domain.recorded import Recorded

FORM = "%Y-%m-%dT%H:%M:%SZ"
LONGEST_IN_USE = 24 * 3600.0  # seconds; a process that never ends must not keep gigabytes for ever


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Why `number` stays, of a variant that another number serves now."""

    wanted: DesiredRelease
    observed: Observed
    recorded: Recorded
    now: str

    def of(self, number: int) -> Held | None:
        variant = self.wanted.variant
        since, identity = self._superseded(number), f"{variant}:{number}"
        if self.wanted.retain_for and _is_before(self.now, until := _after(since, self.wanted.retain_for)):
            message = f"{identity} stays registered until {until}: retainFor"
            return Held(variant=variant, reason=Reason.RETAINED, message=message, until=until)
        if identity not in self.observed.in_use:
            return None
        until = _after(since, self.wanted.retain_for + LONGEST_IN_USE)
        if not _is_before(self.now, until):
            return None
        message = f"another process has files of {identity} in its memory: it goes when that ends, or at {until}"
        return Held(variant=variant, reason=Reason.IN_USE, message=message, until=until)

    def _superseded(self, number: int) -> str:
        """When its successor was registered: now, if that is still to come; never later than now."""
        history = self.recorded.history.get(self.wanted.variant, ())
        known = next((one.superseded for one in history if one.number == number), "")
        return min(known, self.now) if known else self.now


def _is_before(now: str, until: str) -> bool:
    return not until or now < until


def _after(moment: str, seconds: float) -> str:
    """ "" where there is no clock at all: then no time ends it."""
    if not moment:
        return ""
    since = datetime.strptime(moment, FORM).replace(tzinfo=UTC)
    return (since + timedelta(seconds=seconds)).strftime(FORM)
