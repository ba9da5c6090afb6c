"""Look and decide, without touching anything: what `plan` prints and what a pass begins and ends with."""

from __future__ import annotations

from reconciler.core.plan import make_plan
from reconciler.core.value import value
from reconciler.engine.machine import observe, recall
from reconciler.engine.resolve import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.core.changes import Plan
    from reconciler.core.observed import Observed
    from reconciler.core.parsed import Parsed
    from reconciler.core.recorded import Recorded
    from reconciler.engine.machine import Machine
    from reconciler.engine.resolve import Resolution


@value
class Look:
    """One look at the whole world, and what follows from it."""

    resolution: Resolution
    observed: Observed
    recorded: Recorded
    plan: Plan


def look(machine: Machine, parsed: Parsed, *, confirm: bool = False) -> Look:
    """What a pass would do. Reads only."""
    observed = observe(machine)
    resolution = resolve(parsed, machine.stamps, observed.artifacts)
    recorded = recall(machine, observed)
    plan = make_plan(resolution.desired, observed, recorded, confirm=confirm)
    return Look(resolution=resolution, observed=observed, recorded=recorded, plan=plan)
