"""What real machines will do about a commit, predicted from their inventories: the plan of each, and why some will
fail. Machines to which the same happens are one group. Pure: the time is given.

A source that cannot be read here is taken to be what the machine itself recorded for that model, as long as the commit
does not name another one.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.manifest import Model
from reconciler.domain.plain_data import grouped
from reconciler.domain.plan import Plan
from reconciler.domain.recorded import Recorded
from reconciler.domain.text.units import FORM
from reconciler.fleet.comparison import Disk, Side, disk_during
from reconciler.fleet.inventory import Inventory
from reconciler.fleet.inventory_facts import capacity_of, to_observed, to_recorded
from reconciler.gates.judgement import GateChange, gate_changes
from reconciler.manifests.paths import inside
from reconciler.manifests.selector import labels_of, mismatch
from reconciler.planner.plan import make_plan
from reconciler.planner.precision_choice import NONE_FITS, OF_MACHINE, chosen_for

WEEK = 7 * 86_400
# Reasons of the planner for holding a change back that are failures of the machine.
_FAILURES = {"DiskInsufficient": "disk", "MemoryInsufficient": "memory", "NameTaken": "name"}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """`kind` is disk | memory | provider | notAllowed | name."""

    variant: str
    kind: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What one machine will do, by its inventory in `file`. `age` of that is in seconds, None where its time cannot be
    read."""

    machine: str
    file: str
    generated: str
    age: float | None
    plan: Plan
    failures: tuple[Failure, ...]
    disk: Disk
    gates: tuple[GateChange, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def old(self) -> bool:
        """Older than a week, or from a time that cannot be right."""
        return self.age is None or not -3600 <= self.age <= WEEK


def outlook(inventory: Inventory, file: str, base: Side, head: Side, now: str) -> Outlook:
    recorded, observed = to_recorded(inventory), to_observed(inventory)
    desired = desired_for(inventory, recorded, base, head)
    plan = make_plan(desired, observed, recorded, now=now, to_the_end=True)
    used = inventory.disk.used_bytes or sum(one.size for one in observed.artifacts.values())
    return Outlook(
        machine=inventory.machine,
        file=file,
        generated=inventory.generated,
        age=_age(inventory.generated, now),
        plan=plan,
        failures=tuple(_failures(inventory, plan, desired, head)),
        disk=disk_during(plan, used, {}),
        gates=tuple(gate_changes(desired_for(inventory, recorded, base, base), desired, recorded)),
        labels=labels_of(inventory.machine, inventory.labels, inventory.facts),
    )


def by_effect(outlooks: Iterable[Outlook]) -> list[list[Outlook]]:
    """Largest groups first. Seconds are a machine's own, and tell no groups apart."""
    return sorted(grouped(outlooks, _effect).values(), key=lambda group: (-len(group), group[0].machine))


def desired_for(inventory: Inventory, recorded: Recorded, base: Side, head: Side) -> Desired:
    labels = labels_of(inventory.machine, inventory.labels, inventory.facts)
    why = {m.name: mismatch(m.node_selector, labels) for m in head.models if m.node_selector is not None}
    elsewhere = {name: reason for name, reason in why.items() if reason}
    other = {f"{model.name}-{p}" for model in head.models if model.name in elsewhere for p in model.precisions}
    # Models whose source cannot be read here and is declared as it was.
    before = set(map(_made_of, base.models))
    same = head.unknown & {model.name for model in head.models if _made_of(model) in before}
    meant = replace(
        head.desired,
        wanted=tuple(
            _as_recorded(wanted, recorded) if wanted.release.model in same else wanted
            for wanted in head.desired.wanted
            if wanted.variant not in other
        ),
        declared=head.desired.declared - other,
        unresolved={name: reason for name, reason in head.desired.unresolved.items() if name not in other},
        not_selected=elsewhere,
    )
    return chosen_for(meant, capacity_of(inventory))


def _made_of(model: Model) -> tuple[object, ...]:
    """Where all comes from that its recipe names."""
    return model.name, model.source_path, model.remote, model.adapter_path, model.original_path, model.original


def _as_recorded(wanted: DesiredRelease, recorded: Recorded) -> DesiredRelease:
    for one in recorded.releases.values():
        if one.model == wanted.release.model:
            kept: dict[str, Any] = {name: one.recipe.get(name) for name in ("source", "adapter", "architecture")}
            if isinstance(kept["source"], str) and isinstance(kept["architecture"], str):
                recipe = replace(wanted.release.recipe, **kept)
                return replace(wanted, release=replace(wanted.release, recipe=recipe))
    return wanted


def _failures(inventory: Inventory, plan: Plan, desired: Desired, head: Side) -> Iterator[Failure]:
    for held in plan.held:
        if held.reason in _FAILURES:
            yield Failure(variant=held.variant, kind=_FAILURES[held.reason], message=held.message)
    for problem in {one.message: one for one in desired.unresolved.values() if one.code in OF_MACHINE}.values():
        variant = next(name for name, one in desired.unresolved.items() if one == problem)
        kind = "memory" if problem.code == NONE_FITS else "provider"
        yield Failure(variant=variant, kind=kind, message=problem.message)
    changed = {change.variant for change in plan.changes}
    models = {model.name: model for model in head.models}
    for wanted in desired.wanted:
        if wanted.variant in changed and (model := models.get(wanted.release.model)) is not None:
            found = unfit(inventory, wanted, model)
            yield from (Failure(variant=wanted.variant, kind=kind, message=message) for kind, message in found)


def unfit(inventory: Inventory, wanted: DesiredRelease, model: Model) -> Iterator[tuple[str, str]]:
    """Why it cannot run there: the kind of failure and its message."""
    facts, provider = inventory.facts, model.target.execution_provider
    if provider not in facts.execution_providers:
        yield "provider", f"wants {provider}; there is {', '.join(facts.execution_providers) or 'none'}"
    if facts.memory_bytes and wanted.predicted_bytes > facts.memory_bytes:
        yield "memory", f"needs {wanted.predicted_bytes} bytes of memory; there are {facts.memory_bytes}"
    for path in (model.source_path, model.adapter_path):
        if path and posixpath.isabs(path) and not any(inside(path, root) for root in inventory.source_roots):
            yield "notAllowed", f"{path} is below no --source-root of it"


def _effect(one: Outlook) -> object:
    steps = tuple((c.action, c.variant, c.reason, c.forced_by, c.build_key) for c in one.plan.changes)
    held = tuple((h.variant, h.reason) for h in one.plan.held)
    gates = tuple(
        (g.variant, g.gate, g.measure, *(v and (v.status, v.bar, v.rejects) for v in (g.before, g.after)))
        for g in one.gates
    )
    return steps, held, gates, tuple((f.variant, f.kind) for f in one.failures)


def _age(generated: str, now: str) -> float | None:
    try:
        end, start = (datetime.strptime(time, FORM) for time in (now, generated))
    except ValueError:
        return None
    return (end - start).total_seconds()
