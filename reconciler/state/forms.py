"""The documents among the records: what each holds, and its codec. The fields of a document are those of its dataclass.

Two points differ on disk, because earlier versions wrote them so: some names, and measurements are lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from reconciler.domain.failures import RememberedFailure, RetryRequest
from reconciler.domain.history import History, Rollback
from reconciler.domain.machine.trust import Origin
from reconciler.domain.measured import Fidelity, Measured, MeasurementSet, without_nothing
from reconciler.domain.quarantine import Ages
from reconciler.domain.recorded import Condition, RecordedRelease, Suspension, Timing
from reconciler.domain.targets.tasks import CHAT
from reconciler.gates.judgement import GateStatus
from reconciler.host.codec import Codec, Misformed
from reconciler.state.documents import Document, RecordCodec

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class StoredCondition:
    """A condition stands under its type, and does not repeat it."""

    status: str
    reason: str
    message: str
    last_transition_time: str


StoredConditions = Mapping[str, StoredCondition]  # by type


def stored(conditions: Mapping[str, Condition]) -> StoredConditions:
    return {
        kind: StoredCondition(
            status=one.status, reason=one.reason, message=one.message, last_transition_time=one.last_transition_time
        )
        for kind, one in conditions.items()
    }


def restored(conditions: StoredConditions) -> dict[str, Condition]:
    return {kind: Condition(type=kind, **vars(one)) for kind, one in conditions.items()}


@dataclass(frozen=True, kw_only=True)
class VariantRecord:
    """`high_water` is kept after the release is gone: a number is never given twice."""

    variant: str
    release: RecordedRelease | None
    high_water: int


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """The commit that this machine follows on one branch. It only moves to descendants."""

    url: str
    branch: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class MachineRecord:
    """Of the machine itself. `conditions` are by type."""

    last_attempted_revision: str
    last_applied_revision: str
    timings: tuple[Timing, ...]
    accepted: tuple[Accepted, ...] = ()
    conditions: StoredConditions = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PassRecord:
    """What the last pass found: conditions by variant and type, the verdicts of the gates by variant; `wanted` is, by
    variant, the digest of the release that git declares."""

    conditions: Mapping[str, StoredConditions]
    gates: Mapping[str, GateStatus] = field(default_factory=dict)
    wanted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HistoryRecord:
    """Of one variant, the oldest first."""

    variant: str
    releases: History


_NAMES = {
    "high_water": "highWater",
    "last_attempted_revision": "lastAttemptedRevision",
    "last_applied_revision": "lastAppliedRevision",
    "last_transition_time": "lastTransitionTime",
}
_MEASURED_NAMES = {"build_key": "buildKey", "load": "measured", "speed_memory_bytes": "speedMemoryBytes"}


class _FieldCodec(Codec[T]):
    """A document whose one field is the value."""

    def __init__(self, name: str, kind: type[T]) -> None:
        super().__init__(kind)
        self._name = name

    def read(self, plain: object) -> T:
        if not isinstance(plain, dict) or self._name not in plain:
            raise Misformed("", f"a mapping with {self._name}", plain)
        return super().read(plain[self._name])

    def write(self, value: T) -> Any:
        return {self._name: super().write(value)}


def _on_disk(name: str) -> str:
    return _NAMES.get(name, name)


class _PassCodec(RecordCodec[PassRecord]):
    """An empty list of misses is left out."""

    def write(self, value: PassRecord) -> Any:
        plain = super().write(value)
        for judged in plain["gates"].values():
            judged["verdicts"] = [_without(one, *(["misses"] * (not one["misses"]))) for one in judged["verdicts"]]
        return plain if value.wanted else _without(plain, "wanted")


class _HistoryCodec(RecordCodec[T]):
    """The task of a release for chat is left out, as earlier versions know none."""

    def write(self, value: T) -> Any:
        return _without_chat(super().write(value))


class _RollbackCodec(_FieldCodec[T]):
    """The same."""

    def write(self, value: T) -> Any:
        return _without_chat(super().write(value))


def _without_chat(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_without_chat(one) for one in plain]
    if not isinstance(plain, dict):
        return plain
    is_chat = plain.get("task") == CHAT
    return {name: _without_chat(held) for name, held in plain.items() if not (is_chat and name == "task")}


class _MeasurementCodec(Codec[MeasurementSet]):
    """Lists, the oldest first; in memory they are found by release and by build key."""

    _measured = Codec(tuple[Measured, ...], lambda name: _MEASURED_NAMES.get(name, name))
    _fidelity = Codec(tuple[Fidelity, ...])
    _artifacts = Codec(dict[str, str])

    def read(self, plain: object) -> MeasurementSet:
        """What older versions wrote has no fidelity and no artifacts."""
        plain = plain if isinstance(plain, dict) else {}
        return MeasurementSet(
            fidelity={one.build_key: one for one in self._fidelity.read(plain.get("fidelity", ()))},
            releases={one.release: one for one in self._measured.read(plain.get("measurements"))},
            artifacts=self._artifacts.read(plain.get("artifacts", {})),
        )

    def write(self, value: MeasurementSet) -> Document:
        measured = self._measured.write(tuple(value.releases.values()))
        return {
            "measurements": [_without(without_nothing(one), "asked", "right") for one in measured],
            "fidelity": [without_nothing(one) for one in self._fidelity.write(tuple(value.fidelity.values()))],
            **({"artifacts": value.artifacts} if value.artifacts else {}),
        }


VARIANT = RecordCodec(VariantRecord, _on_disk)
MACHINE = RecordCodec(MachineRecord, _on_disk)
PASS = _PassCodec(PassRecord, _on_disk)
HISTORY = _HistoryCodec(HistoryRecord)
ROLLBACKS = _RollbackCodec("rollbacks", dict[str, Rollback])
SUSPENSIONS = _FieldCodec("suspensions", tuple[Suspension, ...])
FAILURES = _FieldCodec("failures", tuple[RememberedFailure, ...])
RETRIES = _FieldCodec("retries", tuple[RetryRequest, ...])
DEPENDENCIES = _FieldCodec("dependsOn", dict[str, tuple[str, ...]])
MEASUREMENTS = _MeasurementCodec(MeasurementSet)
QUARANTINE = RecordCodec(Ages)
ORIGINS = _FieldCodec("origins", tuple[Origin, ...])


def _without(plain: Document, *names: str) -> Document:
    return {name: held for name, held in plain.items() if name not in names}
