"""Two commits side by side: what each declares, and the plan that takes a machine from the one to the other. Pure.

The plan is `planner.plan`'s own, made for a machine that serves exactly BASE. A real machine may differ
(`fleet.forecast`), but each that follows the repository comes to this state before the next commit reaches it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from reconciler.domain.changes import FieldChange, Retire
from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import Problem
from reconciler.domain.manifest import Model
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.observed import Observed, Registration, ServedFolder, own_properties
from reconciler.domain.plain_data import as_dict
from reconciler.domain.plan import Plan
from reconciler.domain.policy.policy import PolicyResult
from reconciler.domain.recorded import Recorded, RecordedRelease
from reconciler.domain.release import ALWAYS_COPIED, Artifact, Marker
from reconciler.domain.rollout import Rollout
from reconciler.domain.sources.locked import GIT
from reconciler.domain.text.names import camel
from reconciler.gates.judgement import gate_fields
from reconciler.planner.plan import make_plan
from reconciler.templates.rendering import TemplateChange

_OWNER = "notional"
_PLENTY = 1 << 62  # bytes


@dataclass(frozen=True, kw_only=True)
class Side:
    """One commit. `revision` is the user's name for it; `unknown` are the models whose source cannot be read here,
    `broken` those that are there with a problem of theirs, or of a template that they refer to."""

    revision: str
    commit: str
    models: tuple[Model, ...]
    desired: Desired
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    unknown: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    policies: tuple[PolicyResult, ...] = ()
    rollouts: tuple[Rollout, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes that the store of a machine holds: before, at most meanwhile, after."""

    before: int
    peak: int
    after: int


@dataclass(frozen=True, kw_only=True)
class FleetComparison:
    """`sources` are readable names for the digests of sources: the names of git's trees."""

    path: str
    base: Side
    head: Side
    plan: Plan
    disk: Disk
    sources: dict[str, str] = field(default_factory=dict)
    templates: tuple[TemplateChange, ...] = ()


def compare_sides(
    path: str, base: Side, head: Side, sources: dict[str, str], templates: tuple[TemplateChange, ...] = ()
) -> FleetComparison:
    denied = {one.variant: one.release.digest for one in base.desired.wanted if one.denial}
    allowed = tuple(one for one in base.desired.wanted if not one.denial)  # what policies deny it does not serve
    observed, recorded = _converged(replace(base.desired, wanted=allowed))
    wanted = tuple(
        replace(one, fetch=None) if one.fetch and one.fetch.source.digest in base.desired.locked_sources else one
        for one in head.desired.wanted
        if not one.denial or denied.get(one.variant) != one.release.digest  # denied as before is no difference
    )  # what BASE took from the hub the machine has
    plan = make_plan(replace(head.desired, wanted=wanted), observed, recorded, to_the_end=True)
    folders = {one.variant: _copied_bytes(one) for one in base.desired.wanted}
    stored = sum(artifact.size for artifact in observed.artifacts.values())
    disk = disk_during(plan, stored + sum(folders.values()), folders)
    return FleetComparison(path=path, base=base, head=head, plan=plan, disk=disk, sources=sources, templates=templates)


def _converged(desired: Desired) -> tuple[Observed, Recorded]:
    """A machine that serves exactly what is desired, with all the disk that it needs."""
    markers = [_marker(one) for one in desired.wanted]
    keys = {one.release.recipe.build_key: one.predicted_bytes for one in desired.wanted}
    observed = Observed(
        owner=_OWNER,
        artifacts={
            key: Artifact(digest="", build_key=key, files=(StoredFile(path="model.onnx", digest="", size=size),))
            for key, size in keys.items()
        },
        folders=tuple(
            ServedFolder(path=f"served/{one.variant}", variant=one.variant, number=one.number, marker=one)
            for one in markers
        ),
        registrations=tuple(
            Registration(
                id=one.id,
                path=f"served/{one.variant}",
                properties=own_properties(owner=_OWNER, release=one.release, build_key=one.build_key, model=one.model),
            )
            for one in markers
        ),
        disk_free=_PLENTY,
    )
    releases = {one.variant: RecordedRelease.from_marker(one, registered="") for one in markers}
    return observed, Recorded(measured=MeasurementSet(known=False), releases=releases)


def _marker(one: DesiredRelease) -> Marker:
    return Marker.of(
        one.release,
        owner=_OWNER,
        number=1,
        artifact="",
        protected=one.protected,
        revision="",
        created="",
        files=(StoredFile(path="copied", digest="", size=_copied_bytes(one)),),
    )


def _copied_bytes(one: DesiredRelease) -> int:
    """What its served folder has for itself: large files are shared with the store."""
    return one.predicted_bytes if one.predicted_bytes < ALWAYS_COPIED else 0


def disk_during(plan: Plan, before: int, folders: Mapping[str, int]) -> Disk:
    """Steps follow each other, so the peak is that of one step on top of what those before it left. `folders` are the
    bytes that go when a release of a variant is retired, for which a plan promises nothing."""
    now = peak = before
    for change in plan.changes:
        peak = max(peak, now + change.cost.peak_disk_bytes)
        now += change.cost.disk_bytes - (folders.get(change.variant, 0) if isinstance(change, Retire) else 0)
        peak = max(peak, now)
    return Disk(before=before, peak=peak, after=max(now, 0))


def changed_fields(before: Model | None, after: Model | None) -> tuple[FieldChange, ...]:
    """What differs in the manifests, also where no machine does anything about it (labels, suspend)."""
    latest = after or before
    precisions = latest.precisions if latest is not None else ()  # of both: a default of theirs is no change
    old, new = (dict(_fields(one, precisions)) if one is not None else {} for one in (before, after))
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return tuple(FieldChange(name=name, before=old.get(name), after=new.get(name)) for name in names)


_SHOWN_ELSEWHERE = frozenset({"name", "file", "line", "lines", "gates", "chooses"})
_ORIGINAL = "spec.source.original"
_NAMES = {
    "labels": "metadata.labels",
    "annotations": "metadata.annotations",
    "source_path": "spec.source.path",
    "adapter_path": "spec.source.adapter",
    "original_path": f"{_ORIGINAL}.path",
    "template": "spec.promptTemplate",
}


def _fields(model: Model, precisions: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """By the name that a manifest has for it."""
    yield from gate_fields(model.gates, precisions)
    for name, value in as_dict(model).items():
        remotes = {"remote": model.remote, "original": model.original}
        if (remote := remotes.get(name)) is not None and remote.kind == GIT:
            continue  # its path says where it is, and its tree is shown as the source
        if remote is not None:
            field = f"{_ORIGINAL}.{remote.kind}" if name == "original" else remote.field
            yield from _flat(field, {**value, "kind": None, "ready": None})
        elif name == "precisions" and model.chooses:
            yield "spec.precisions.auto", value
        elif name not in _SHOWN_ELSEWHERE:
            yield from _flat(_NAMES.get(name, f"spec.{camel(name)}"), value)


def _flat(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{camel(str(key)) if name.startswith('spec.') else key}", inner)
    elif value not in (None, (), ""):
        yield name, value
