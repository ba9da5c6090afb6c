"""What a change replaces, and what it leaves behind: the `before` and `after` of a change in the JSON views. Pure."""

from reconciler.domain.changes import (
    Change,
    Convert,
    FetchSource,
    FieldChange,
    MeasureCandidate,
    MeasureServed,
    PruneArtifact,
    PruneSource,
    PruneVariant,
    Register,
    Removal,
    RepairArtifact,
    RepairRelease,
    Retire,
    VerifyCandidate,
    VerifyServed,
)

Shown = dict[str, object]
_Step = MeasureCandidate | MeasureServed | VerifyCandidate | Register


def before_view(change: Change) -> Shown | None:
    match change:
        case Retire() | PruneVariant() | PruneArtifact() | PruneSource():
            return _before_removal(change)
        case RepairRelease() | RepairArtifact():
            return {"damage": list(change.damage)}
        case VerifyServed():
            return {f"runtime.{name}": change.previous[name] for name in change.changed_packages}
        case FetchSource():
            return None
    return _old(change.field_changes)


def _before_removal(change: Removal) -> Shown:
    match change:
        case Retire():
            return {"id": change.id, "registered": change.registered}
        case PruneVariant():
            return {"ids": list(change.ids)}
        case PruneSource():
            return {"source": change.digest, "sizeBytes": change.size}
    return {"artifact": change.artifact, "buildKey": change.build_key, "sizeBytes": change.size}


def after_view(change: Change) -> Shown | None:
    match change:
        case Retire() | PruneVariant() | PruneArtifact() | PruneSource():
            return _after_removal(change)
        case FetchSource():
            return _after_fetch(change)
        case Convert():
            return _after_conversion(change)
        case RepairArtifact():
            return {"buildKey": change.build_key}
    return {"id": change.id, "release": change.release.digest, **_after_step(change)}


def _after_removal(change: Removal) -> Shown | None:
    match change:
        case Retire(serves_instead=instead) if instead is not None:
            return {"serves": instead.number, "because": instead.message}
        case PruneVariant(makes_way=True):
            return {"meanwhile": f"{change.variant} is down until its successor is registered"}
        case PruneVariant(confirmed=True):
            return {"confirmed": "by a PruneConfirmation in git"}
    return None


def _after_fetch(change: FetchSource) -> Shown:
    source = change.source
    return {
        "source": source.digest,
        "fetch": source.fetch_key,
        "repo": source.repo,
        "revision": source.revision,
        "sizeBytes": source.size,
    }


def _after_conversion(change: Convert) -> Shown:
    recipe = change.release.recipe
    return {
        "buildKey": recipe.build_key,
        "precision": recipe.precision,
        "source": recipe.source,
        **_new(change.field_changes),
    }


def _after_step(change: _Step | VerifyServed | RepairRelease) -> Shown:
    match change:
        case RepairRelease():
            return {}
        case VerifyServed():
            packages = {f"runtime.{name}": change.installed[name] for name in change.changed_packages}
            return {"runtime": dict(change.installed), **packages}
        case MeasureCandidate() | MeasureServed():
            return {**_new(change.field_changes), "measure": change.measure_key}
    return _new(change.field_changes)


def _old(changes: tuple[FieldChange, ...] | None) -> Shown | None:
    return None if changes is None else {one.name: one.before for one in changes}


def _new(changes: tuple[FieldChange, ...] | None) -> Shown:
    return {one.name: one.after for one in changes or ()}
