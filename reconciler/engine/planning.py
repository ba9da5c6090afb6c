"""Snapshot and decide, without touching anything: what `plan` prints and what a pass begins and ends with."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from functools import partial

from reconciler.domain.changes import Plan, RemoveRelease
from reconciler.domain.failures import RememberedFailure, without_backoff
from reconciler.domain.observed import Observed
from reconciler.domain.recorded import Recorded
from reconciler.engine.machine import Machine, machine_labels, observe, recall
from reconciler.engine.resolve import Resolution, resolve
from reconciler.engine.runtime import NOTHING
from reconciler.host.clock import now
from reconciler.host.mapped import mapped_folders
from reconciler.manifests.parsed import Parsed
from reconciler.planner.plan import make_plan
from reconciler.planner.rollback import effective


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One look at the whole world, and what follows from it."""

    resolution: Resolution
    observed: Observed
    recorded: Recorded
    plan: Plan


def take_snapshot(
    machine: Machine,
    parsed: Parsed,
    *,
    confirm: bool = False,
    running: Container[str] = (),
    ignored: Container[RememberedFailure] = (),
    assumed: Mapping[str, str] = NOTHING,
    jobs: int = 1,
) -> Snapshot:
    """What a pass would do. Reads only. `running` are build keys that long work is busy with; `ignored` are failures
    whose back-off does not count; `assumed` are versions of the runtime's packages, in place of those installed."""
    observed = observe(machine)
    resolution = resolve(
        parsed, machine.stamps, observed.artifacts, _labels(machine, parsed), machine.sources
    )
    recorded = recall(machine, observed, assumed)
    if recorded.failures and ignored:
        recorded = replace(recorded, failures=without_backoff(recorded.failures, ignored))
    resolution = replace(resolution, desired=effective(resolution.desired, observed, recorded))
    planned = partial(
        make_plan,
        resolution.desired,
        recorded=recorded,
        now=now(),
        running=running,
        confirm=confirm,
        jobs=jobs,
    )
    plan = planned(observed)
    if in_use := _in_use(plan, observed):
        observed = replace(observed, in_use=in_use)
        plan = planned(observed)
    return Snapshot(resolution=resolution, observed=observed, recorded=recorded, plan=plan)


def _in_use(plan: Plan, observed: Observed) -> frozenset[str]:
    """The ids that are to go and whose files another process has mapped. Nobody looks when none is to go."""
    due = {
        (change.variant, number)
        for change in plan.changes
        if isinstance(change, RemoveRelease)
        for number in change.numbers
    }
    folders = {f.path: f"{f.variant}:{f.number}" for f in observed.folders if (f.variant, f.number) in due}
    return frozenset(folders[path] for path in mapped_folders(folders)) if folders else frozenset()


def _labels(machine: Machine, parsed: Parsed) -> dict[str, str] | None:
    """Not asked for where no model does: a machine's facts take a look into its packages."""
    selective = any(model.node_selector is not None for model in parsed.models)
    return machine_labels(machine) if selective else None
