"""Two commits side by side: what each declares, and the plan that takes a machine from the one to the other. Pure.

The plan is `planner.plan`'s own, made for a machine that serves exactly BASE (`fleet.converged_machine`); nothing
here decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from reconciler.domain.changes import Retire
from reconciler.domain.desired import Desired
from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model
from reconciler.domain.observed import Observed
from reconciler.domain.plain_data import as_dict
from reconciler.domain.plan import Plan
from reconciler.fleet.converged_machine import disk_of, folder_bytes, observed_of, recorded_of
from reconciler.gates.judgement import gate_fields
from reconciler.planner.difference import camel
from reconciler.planner.plan import make_plan
from reconciler.templates.template_change import TemplateChange


@dataclass(frozen=True, kw_only=True)
class Side:
    """One commit. `revision` is what the user called it; `unknown` names the models whose source cannot be looked at
    from here."""

    revision: str
    commit: str
    models: tuple[Model, ...]
    desired: Desired
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Field:
    """One line of a manifest that says something else now; None: it said nothing."""

    name: str
    before: object
    after: object


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes that the store of a machine holds: before, at most meanwhile, after."""

    before: int
    peak: int
    after: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`sources` tells what the digests of sources stand for: the names of git's trees."""

    path: str
    base: Side
    head: Side
    plan: Plan
    disk: Disk
    sources: dict[str, str] = field(default_factory=dict)
    templates: tuple[TemplateChange, ...] = ()


def compare_sides(
    path: str, base: Side, head: Side, sources: dict[str, str], templates: tuple[TemplateChange, ...] = ()
) -> Comparison:
    observed, recorded = observed_of(base.desired), recorded_of(base.desired)
    plan = make_plan(_fetched(head.desired, base.desired), observed, recorded)
    disk = disk_during(plan, observed)
    return Comparison(path=path, base=base, head=head, plan=plan, disk=disk, sources=sources, templates=templates)


def _fetched(head: Desired, base: Desired) -> Desired:
    """What BASE took from remote sources the machine has."""
    wanted = tuple(
        replace(one, fetch=None) if one.fetch and one.fetch.source.digest in base.locked_sources else one
        for one in head.wanted
    )
    return replace(head, wanted=wanted)


def disk_during(plan: Plan, observed: Observed) -> Disk:
    """Steps follow each other, so the peak is that of one step on top of what those before it left."""
    before = now = peak = disk_of(observed)
    for change in plan.changes:
        peak = max(peak, now + change.cost.peak_disk_bytes)
        now += change.cost.disk_bytes
        if isinstance(change, Retire):  # a plan promises nothing for it
            now -= folder_bytes(observed, change.variant)
        peak = max(peak, now)
    return Disk(before=before, peak=peak, after=max(now, 0))


def changed_fields(before: Model | None, after: Model | None) -> tuple[Field, ...]:
    """What the manifests say differently, also where no machine does anything about it (labels, suspend)."""
    latest = after or before
    precisions = latest.precisions if latest is not None else ()  # of both: a default of theirs is no change
    old, new = (dict(_fields(one, precisions)) if one is not None else {} for one in (before, after))
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return tuple(Field(name=name, before=old.get(name), after=new.get(name)) for name in names)


_ELSEWHERE = frozenset({"name", "file", "line", "lines", "gates"})
_NAMES = {
    "labels": "metadata.labels",
    "annotations": "metadata.annotations",
    "source_path": "spec.source.path",
    "adapter_path": "spec.source.adapter",
    "template": "spec.promptTemplate",
}


def _fields(model: Model, precisions: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """By the name that a person finds it by. A field that a later version adds has the name that it has in YAML."""
    yield from gate_fields(model.gates, precisions)
    for name, held in as_dict(model).items():
        if name == "remote" and model.remote is not None:
            yield from _flat(f"spec.source.{model.remote.kind}", {**held, "kind": None})
        elif name not in _ELSEWHERE:
            yield from _flat(_NAMES.get(name, f"spec.{camel(name)}"), held)


def _flat(name: str, held: object) -> Iterator[tuple[str, object]]:
    if isinstance(held, dict):
        for inner, said in held.items():
            yield from _flat(f"{name}.{camel(str(inner))}" if name.startswith("spec.") else f"{name}.{inner}", said)
    elif held not in (None, (), ""):
        yield name, held
