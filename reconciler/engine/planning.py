"""Look and decide, without touching anything: what `plan` prints and what a pass begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.core.plan import make_plan
from reconciler.engine.machine import observe, recall
from reconciler.engine.resolve import resolve

if TYPE_CHECKING:
    from reconciler.core.changes import Plan
    from reconciler.core.parse import Parsed
    from reconciler.engine.machine import Machine
    from reconciler.engine.resolve import Resolution


def plan_only(machine: Machine, parsed: Parsed, *, confirm: bool = False) -> tuple[Plan, Resolution]:
    """What a pass would do. Reads only."""
    resolution = resolve(parsed, machine.stamps)
    observed = observe(machine)
    return make_plan(resolution.desired, observed, recall(machine, observed), confirm=confirm), resolution
