"""What this machine did and promised, as plain values. Where it contradicts what is observed, the observation holds;
most of it can be rebuilt from what is served."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from reconciler.domain.failures import RememberedFailure
from reconciler.domain.history import History, Rollback
from reconciler.domain.machine.trust import Origin
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.observed import Registration
from reconciler.domain.plain_data import field_names
from reconciler.domain.release import Marker, ServedRelease
from reconciler.domain.text.units import Count, Seconds

LONGEST_DAYS = 30  # then the user is asked whether it is still meant


@dataclass(frozen=True, kw_only=True)
class RecordedRelease(ServedRelease):
    """The release that a variant is served as now."""

    registered: str  # when Foundry Local got it; RFC 3339, UTC
    size: int  # bytes

    @classmethod
    def from_marker(cls, marker: Marker, *, registered: str) -> "RecordedRelease":
        shared = {name: getattr(marker, name) for name in field_names(ServedRelease)}
        return cls(registered=registered, size=sum(file.size for file in marker.files), **shared)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One statement about a variant, in Kubernetes' form."""

    type: str
    status: str  # True | False | Unknown
    reason: str
    message: str
    last_transition_time: str


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long one action took here; the cost of the next one is predicted from these."""

    action: str
    precision: str
    source_bytes: Count
    seconds: Seconds


@dataclass(frozen=True, kw_only=True)
class Suspension:
    """A model or variant that this machine leaves alone because a user asked for it (`reconciler suspend`), until
    `reconciler resume` or by itself at `until`. What the manifest declares (spec.suspend) is independent of it.

    `name` is a model or a variant. Times are RFC 3339, UTC, whole seconds, so they compare as text; `until` is
    empty when it lasts until it is resumed."""

    name: str
    reason: str
    since: str
    until: str = ""

    def __str__(self) -> str:
        end = f" until {self.until}" if self.until else ""
        return f"suspended since {self.since}{end}: {self.reason}"


def still_on(suspensions: Iterable[Suspension], now: str) -> tuple[Suspension, ...]:
    return tuple(one for one in suspensions if not one.until or now < one.until)


def suspension_of(suspensions: Iterable[Suspension], *, variant: str, model: str) -> Suspension | None:
    """The variant's own comes first."""
    covering = {one.name: one for one in suspensions}
    return covering.get(variant) or covering.get(model)


def lasts_too_long(suspension: Suspension, now: str) -> bool:
    return datetime.fromisoformat(now) - datetime.fromisoformat(suspension.since) > timedelta(LONGEST_DAYS)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """`releases` by variant. `high_water` is the highest number ever given to a variant: it outlives the
    release, because an id is never used for different content. `damaged` names documents that could not be
    trusted: what they held is missing here until it is rebuilt. `suspensions` are those that have not ended;
    `failures` are at most one for each key; `measured` is what holds for the runtime of today. `uncorroborated` are ids
    of which only a marker is left: no record of their number, no registration."""

    releases: dict[str, RecordedRelease] = field(default_factory=dict)
    high_water: dict[str, int] = field(default_factory=dict)
    timings: tuple[Timing, ...] = ()
    last_attempted_revision: str = ""
    last_applied_revision: str = ""
    damaged: tuple[str, ...] = ()
    suspensions: tuple[Suspension, ...] = ()
    conditions: dict[str, Condition] = field(default_factory=dict)  # of the machine itself, by type
    failures: tuple[RememberedFailure, ...] = ()
    measured: MeasurementSet = MeasurementSet()
    uncorroborated: frozenset[str] = frozenset()
    history: dict[str, History] = field(default_factory=dict)  # by variant, where there ever was a second number
    rollbacks: dict[str, Rollback] = field(default_factory=dict)  # by variant, those by hand
    origins: dict[str, Origin] = field(default_factory=dict)  # by the digest of an artifact that others built
    runtime: dict[str, str] = field(
        default_factory=dict
    )  # package -> version that is installed now, as far as it matters
    outdated: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # release -> the other runtime that it was measured with
    depends_on: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by model, as git declared it last

    def suspension_of(self, variant: str, model: str) -> Suspension | None:
        return suspension_of(self.suspensions, variant=variant, model=model)


def completed(
    recorded: Recorded, *, owner: str, markers: Iterable[Marker], registrations: Iterable[Registration]
) -> Recorded:
    """Fill in what the records lack from what is served: per variant the highest release of ours that is
    registered, else the highest folder. It is then known since it was made, and every number that is in sight
    counts as given."""
    registrations = tuple(registrations)
    registered = {one.id for one in registrations if one.owner == owner}
    ours = [marker for marker in markers if owner and marker.owner == owner]
    releases, numbers = dict(recorded.releases), dict(recorded.high_water)
    known = numbers | {name: max(numbers.get(name, 0), one.number) for name, one in releases.items()}
    alone = {one.id for one in ours if one.id not in registered and one.number > known.get(one.variant, 0)}
    for marker in sorted(ours, key=lambda one: (one.id in registered, one.number), reverse=True):
        if marker.variant not in releases:
            releases[marker.variant] = RecordedRelease.from_marker(marker, registered=marker.created)
    given = [(marker.variant, marker.number) for marker in ours]
    given += [(release.variant, release.number) for release in releases.values()]
    given += [(registration.name, registration.number) for registration in registrations]
    for name, number in given:
        numbers[name] = max(number, numbers.get(name, 0))
    return replace(recorded, releases=releases, high_water=numbers, uncorroborated=frozenset(alone))
