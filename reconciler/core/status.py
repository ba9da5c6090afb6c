"""The JSON view of a machine: what it serves now, and the last pass's conditions corrected by what is seen. Pure."""

from __future__ import annotations

from reconciler.core.conditions import TYPES
from reconciler.core.value import value
from reconciler.core.view import FORMAT_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.core.observed import Observed, Registration, ServedFolder
    from reconciler.core.recorded import Condition, Recorded, RecordedRelease
    from reconciler.core.view import View


@value
class _Served:
    """One variant: the registration that answers, the folder behind it, and what the records say."""

    variant: str
    registration: Registration | None
    folder: ServedFolder | None
    release: RecordedRelease | None
    conditions: dict[str, Condition]


def make_status(observed: Observed, recorded: Recorded) -> View:
    mine = [r for r in observed.registrations if r.owner == observed.owner and observed.owner]
    names = {r.name for r in mine} | recorded.releases.keys() | recorded.conditions.keys()
    return {
        "formatVersion": FORMAT_VERSION,
        "revision": recorded.last_applied_revision,
        "lastAttemptedRevision": recorded.last_attempted_revision,
        "lastAppliedRevision": recorded.last_applied_revision,
        "variants": [_variant(_served(name, observed, recorded)) for name in sorted(names)],
    }


def _served(variant: str, observed: Observed, recorded: Recorded) -> _Served:
    ours = [r for r in observed.registrations if r.name == variant and r.owner == observed.owner]
    newest = max(ours, key=lambda r: r.number, default=None)
    folder = next((f for f in observed.folders if newest and f.path == newest.path.rstrip("/\\")), None)
    return _Served(
        variant=variant,
        registration=newest,
        folder=folder,
        release=recorded.releases.get(variant),
        conditions=recorded.conditions.get(variant, {}),
    )


def _variant(one: _Served) -> View:
    marker = one.folder.marker if one.folder else None
    facts = marker or one.release
    return {
        "variant": one.variant,
        "id": one.registration.id if one.registration else None,
        "model": facts.model if facts else "",
        "precision": facts.precision if facts else one.variant.rpartition("-")[2],
        "template": facts.template_origin if facts else "",
        "release": facts.release if facts else None,
        "artifact": facts.artifact if facts else None,
        "sizeBytes": sum(file.size for file in marker.files) if marker else 0,
        "revision": facts.revision if facts else "",
        "since": one.release.registered if one.release else (marker.created if marker else None),
        "answersTo": [one.registration.id, one.variant] if one.registration else [],
        "conditions": _conditions(one),
    }


def _conditions(one: _Served) -> list[View]:
    """What the last pass found, with what the world says now on top: a status must not praise what is gone."""
    wrong = _what_is_wrong(one)
    seen = {"Serving": one.registration is not None, "IntegrityVerified": not wrong, "Ready": not wrong}
    views = []
    for condition in (one.conditions[kind] for kind in TYPES if kind in one.conditions):
        view = _condition(condition)
        if condition.status == "True" and not seen.get(condition.type, True):
            view |= {"status": "False", "reason": "DriftDetected", "message": wrong}
        views.append(view)
    return views


def _what_is_wrong(one: _Served) -> str:
    if one.registration is None:
        return "the registration is gone" if one.release else ""
    if one.folder is None:
        return "the served folder is gone"
    return ", ".join(one.folder.damage)


def _condition(condition: Condition) -> View:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": condition.last_transition_time,
    }
