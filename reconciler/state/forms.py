"""How records look on disk: the only place that knows their field names there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.domain.failures import RememberedFailure
from reconciler.domain.recorded import Condition, RecordedRelease, Timing
from reconciler.domain.suspension import Suspension
from reconciler.domain.value import as_dict
from reconciler.domain.verdict import Verdict
from reconciler.gates.judged import Judged
from reconciler.host.sealed import Damaged
from reconciler.state.documents import Document

Conditions = dict[str, dict[str, Condition]]


@dataclass(frozen=True, kw_only=True)
class VariantRecord:
    """Kept after the release is gone: a number is never given twice."""

    release: RecordedRelease | None = None
    high_water: int = 0


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The commit that this machine follows on one branch. It only moves to descendants."""

    url: str
    branch: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class MachineRecord:
    last_attempted_revision: str = ""
    last_applied_revision: str = ""
    timings: tuple[Timing, ...] = ()
    accepted: tuple[Accepted, ...] = ()
    conditions: Mapping[str, Condition] = field(default_factory=dict)  # of the machine itself, by type


@dataclass(frozen=True, kw_only=True)
class PassRecord:
    """What the last pass found, by variant."""

    conditions: Conditions = field(default_factory=dict)  # by variant and type
    judged: dict[str, Judged] = field(default_factory=dict)


def read_variant(variant: str, document: Document) -> VariantRecord:
    """Raises Damaged also for a document that stands under another variant's name, or that another version
    wrote."""
    try:
        if document["variant"] != variant:
            raise Damaged(f"it is about {document['variant']}")
        release = document["release"]
        return VariantRecord(
            release=None if release is None else RecordedRelease(**release),
            high_water=document["highWater"],
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(str(error)) from None


def write_variant(variant: str, record: VariantRecord) -> Document:
    return {
        "variant": variant,
        "release": None if record.release is None else as_dict(record.release),
        "highWater": record.high_water,
    }


def read_pass(document: Document) -> PassRecord:
    """What older versions wrote has no gates."""
    try:
        return PassRecord(
            conditions={
                variant: {kind: _read_condition(kind, one) for kind, one in held.items()}
                for variant, held in document["conditions"].items()
            },
            judged={name: _read_judged(held) for name, held in document.get("gates", {}).items()},
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(str(error)) from None


def write_pass(conditions: Mapping[str, Mapping[str, Condition]], judged: Mapping[str, Judged]) -> Document:
    return {
        "conditions": {
            variant: {kind: _write_condition(one) for kind, one in held.items()}
            for variant, held in conditions.items()
        },
        "gates": {variant: _write_judged(held) for variant, held in judged.items()},
    }


def read_machine(document: Document) -> MachineRecord:
    try:
        return MachineRecord(
            last_attempted_revision=document["lastAttemptedRevision"],
            last_applied_revision=document["lastAppliedRevision"],
            timings=tuple(Timing(**timing) for timing in document["timings"]),
            accepted=tuple(Accepted(**one) for one in document.get("accepted", ())),
            conditions={
                kind: _read_condition(kind, one) for kind, one in document.get("conditions", {}).items()
            },
        )
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(str(error)) from None


def write_machine(record: MachineRecord) -> Document:
    return {
        "lastAttemptedRevision": record.last_attempted_revision,
        "lastAppliedRevision": record.last_applied_revision,
        "timings": [as_dict(timing) for timing in record.timings],
        "accepted": [as_dict(one) for one in record.accepted],
        "conditions": {kind: _write_condition(one) for kind, one in record.conditions.items()},
    }


def read_suspensions(document: Document) -> tuple[Suspension, ...]:
    try:
        return tuple(Suspension(**one) for one in document["suspensions"])
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(str(error)) from None


def write_suspensions(suspensions: Iterable[Suspension]) -> Document:
    return {"suspensions": [as_dict(one) for one in suspensions]}


def read_failures(document: Document) -> tuple[RememberedFailure, ...]:
    try:
        return tuple(RememberedFailure(**one) for one in document["failures"])
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise Damaged(str(error)) from None


def write_failures(failures: Iterable[RememberedFailure]) -> Document:
    return {"failures": [as_dict(one) for one in failures]}


def _read_judged(document: Document) -> Judged:
    verdicts = tuple(Verdict(**one) for one in document["verdicts"])
    return Judged(release=document["release"], prompts=document["prompts"], verdicts=verdicts)


def _write_judged(judged: Judged) -> Document:
    verdicts = [{name: held for name, held in as_dict(one).items() if held != ()} for one in judged.verdicts]
    return {"release": judged.release, "prompts": judged.prompts, "verdicts": verdicts}


def _read_condition(kind: str, document: Document) -> Condition:
    return Condition(
        type=kind,
        status=document["status"],
        reason=document["reason"],
        message=document["message"],
        last_transition_time=document["lastTransitionTime"],
    )


def _write_condition(condition: Condition) -> Document:
    return {
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": condition.last_transition_time,
    }
