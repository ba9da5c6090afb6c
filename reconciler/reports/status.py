"""The JSON view of a machine: what it serves now, and the last pass's conditions corrected by what is seen. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.domain.measured import MeasurementSet
from reconciler.domain.observed import Observed, Registration, ServedFolder
from reconciler.domain.plain_data import as_dict
from reconciler.domain.recorded import Condition, Recorded, RecordedRelease
from reconciler.domain.suspension import Suspension
from reconciler.gates.status import GateStatus
from reconciler.planner.conditions import TYPES
from reconciler.planner.difference import camel
from reconciler.reports.view import FORMAT_VERSION, View, verdict_view
from reconciler.state.scrub_progress import Scrubbed

Conditions = Mapping[str, Mapping[str, Condition]]


NOTHING: dict[str, GateStatus] = {}


@dataclass(frozen=True, kw_only=True)
class _Served:
    """One variant: the registration that answers, the folder behind it, and what the records say."""

    variant: str
    registration: Registration | None
    folder: ServedFolder | None
    release: RecordedRelease | None
    conditions: Mapping[str, Condition]
    suspension: Suspension | None
    measured: MeasurementSet
    judged: GateStatus | None


def make_status(
    observed: Observed,
    recorded: Recorded,
    conditions: Conditions,
    scrubbed: Scrubbed | None = None,
    judged: Mapping[str, GateStatus] = NOTHING,
) -> View:
    """`conditions` are those of the last pass, by variant and type; `judged` is what its gates said."""
    ours = {name for name in observed.registrations_of if observed.serving(name)}
    names = ours | recorded.releases.keys() | conditions.keys()
    return {
        "formatVersion": FORMAT_VERSION,
        "revision": recorded.last_applied_revision,
        "lastAttemptedRevision": recorded.last_attempted_revision,
        "lastAppliedRevision": recorded.last_applied_revision,
        "conditions": [_condition(recorded.conditions[kind]) for kind in sorted(recorded.conditions)],
        "scrub": scrub_view(scrubbed) if scrubbed is not None else None,
        "variants": [
            _variant(_served(name, observed, recorded, conditions, judged.get(name))) for name in sorted(names)
        ],
    }


def scrub_view(scrubbed: Scrubbed) -> View:
    return {
        "last": as_dict(scrubbed.last) if scrubbed.last.ended else None,
        "now": as_dict(scrubbed.now) if scrubbed.now.began else None,
        "text": str(scrubbed),
    }


def _served(
    variant: str, observed: Observed, recorded: Recorded, conditions: Conditions, judged: GateStatus | None
) -> _Served:
    registration = observed.serving(variant)
    return _Served(
        variant=variant,
        registration=registration,
        folder=observed.folder_behind(registration),
        release=recorded.releases.get(variant),
        conditions=conditions.get(variant, {}),
        suspension=recorded.suspension_of(variant, variant.rpartition("-")[0]),
        measured=recorded.measured,
        judged=judged,
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
        "suspension": as_dict(one.suspension) if one.suspension else None,
        "measured": _measured(one, facts.release, facts.build_key) if facts else None,
        "gates": [verdict_view(verdict) for verdict in one.judged.verdicts] if one.judged else [],
        "gatesOf": one.judged.release if one.judged else None,
        "conditions": _conditions(one),
    }


def _measured(one: _Served, release: str, build_key: str) -> View:
    """The numbers that its gates were judged by; null for what was never measured, or by another runtime."""
    found, fidelity = one.measured.releases.get(release), one.measured.fidelity.get(build_key)
    return {
        "fidelity": _camel(fidelity),
        "load": _camel(found.load if found else None),
        "speeds": [_camel(speed) for speed in found.speeds] if found else [],
        "endured": _camel(found.endured if found else None),
    }


def _camel(found: object | None) -> View | None:
    return {camel(name): held for name, held in as_dict(found).items()} if found is not None else None


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
