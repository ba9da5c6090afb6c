"""The changes of a plan, each kind a type of its own.

`Change` is the closed union of these types. A change holds what it takes to carry it out, why it is needed (`reason`),
which manifest fields forced it and what it costs. Executor, views and records dispatch on the type.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from reconciler.domain.digest import of_value
from reconciler.domain.machine.registries import Offer
from reconciler.domain.reasons import Reason
from reconciler.domain.release import Release
from reconciler.domain.sources.locked import LockedSource


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Predicted: bytes fetched, bytes that stay on disk (negative when freed), bytes at the peak of disk and of memory,
    wall seconds (None when this machine has no history to estimate from)."""

    download_bytes: int = 0
    disk_bytes: int = 0
    peak_disk_bytes: int = 0
    peak_memory_bytes: int = 0
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """A manifest field, or a tool's version, that differs from what is served."""

    name: str
    before: object
    after: object


@dataclass(frozen=True, kw_only=True)
class _OfRelease:
    """A change of one release. `field_changes` are those that decide it; None where nothing is served that they could
    be compared with."""

    reason: Reason
    release: Release
    forced_by: tuple[str, ...] = ()
    field_changes: tuple[FieldChange, ...] | None = None
    cost: Cost = Cost()

    @property
    def variant(self) -> str:
        return self.release.variant

    @property
    def model(self) -> str:
        return self.release.model

    @property
    def build_key(self) -> str:
        return self.release.recipe.build_key


@dataclass(frozen=True, kw_only=True)
class _Making(_OfRelease):
    """Long work for all releases of one build key."""

    action: ClassVar[str]
    number: ClassVar[int] = 0

    @property
    def work_key(self) -> tuple[str, str]:
        return self.action, self.build_key


@dataclass(frozen=True, kw_only=True)
class FetchSource(_Making):
    """Download what is missing of a source from the hub, for `release` and all others that name it. Files that changed
    since they came have forced it."""

    action: ClassVar[str] = "fetch"
    source: LockedSource
    urgent: bool = False  # waits for no window

    @property
    def build_key(self) -> str:
        """The digest of the source's files: before it is here, a recipe may only stand for the one to come."""
        return self.source.digest

    @property
    def failure_key(self) -> str:
        return self.source.fetch_key


@dataclass(frozen=True, kw_only=True)
class Convert(_Making):
    """Build the artifact of a recipe, for `release` and all others of the same recipe."""

    action: ClassVar[str] = "convert"

    @property
    def failure_key(self) -> str:
        return self.build_key


@dataclass(frozen=True, kw_only=True)
class Pull(_Making):
    """Take the artifact of a recipe, as another machine built it, from a registry: for `release` and all others of the
    same recipe."""

    action: ClassVar[str] = "pull"
    offer: Offer
    urgent: bool = False  # waits for no window

    @property
    def failure_key(self) -> str:
        """Another build of the same key is another try."""
        return pull_key(self.build_key, self.offer)


@dataclass(frozen=True, kw_only=True)
class _Step(_OfRelease):
    """One step of a release, which is or will be registered as `number`."""

    number: int

    @property
    def id(self) -> str:
        return f"{self.variant}:{self.number}"

    @property
    def failure_key(self) -> str:
        return self.release.digest


@dataclass(frozen=True, kw_only=True)
class _Measure(_Step):
    """`measure_key` names the release and what its gates ask to be measured: other gates, another try."""

    action: ClassVar[str] = "measure"
    measure_key: str

    @property
    def failure_key(self) -> str:
        return self.measure_key

    @property
    def work_key(self) -> tuple[str, str]:
        return self.action, f"{self.variant} {self.measure_key}"


class MeasureCandidate(_Measure):
    """Measure what takes long of a release before it is verified and registered."""


class MeasureServed(_Measure):
    """Measure a release while it serves, for a gate that was declared since."""


class VerifyCandidate(_Step):
    """Assemble a release, rehearse it in the runtime and judge it by its gates, before it is registered."""

    action: ClassVar[str] = "verify"


@dataclass(frozen=True, kw_only=True)
class VerifyServed(_Step):
    """Rehearse a release that serves with the runtime that is `installed` now (versions by package), because it was
    verified with another one."""

    action: ClassVar[str] = "verify"
    reason: Reason = Reason.RUNTIME_CHANGED
    installed: Mapping[str, str]

    @property
    def failure_key(self) -> str:
        return runtime_key(self.release.digest, self.installed)


class Register(_Step):
    """Publish the verified release and register it: from then on it serves."""

    action: ClassVar[str] = "register"


@dataclass(frozen=True, kw_only=True)
class RepairRelease(_Step):
    """Restore the damaged files, or the registration, of a release that was served before, under its own number. The
    damage has forced it."""

    action: ClassVar[str] = "repair"
    reason: Reason = Reason.DRIFT_DETECTED


class _OfNoVariant:
    """A change of the store or of the sources: it belongs to no variant."""

    variant: ClassVar[str] = ""
    model: ClassVar[str] = ""
    number: ClassVar[int] = 0


@dataclass(frozen=True, kw_only=True)
class RepairArtifact(_OfNoVariant):
    """Restore damaged blobs of an artifact from whole bytes that are at hand, without a conversion."""

    action: ClassVar[str] = "repair"
    reason: ClassVar[Reason] = Reason.DRIFT_DETECTED
    cost: ClassVar[Cost] = Cost()
    failure_key: ClassVar[str] = ""  # not remembered: the next look sees what is left
    build_key: str
    damage: tuple[str, ...]

    @property
    def forced_by(self) -> tuple[str, ...]:
        return tuple(f"{one} changed" for one in self.damage)


@dataclass(frozen=True, kw_only=True)
class ServesInstead:
    """The release `number` serves in place of one that is refused, for the reason in `message`."""

    number: int
    message: str


@dataclass(frozen=True, kw_only=True)
class _Remove:
    """Remove releases of one variant."""

    build_key: ClassVar[str] = ""
    forced_by: ClassVar[tuple[str, ...]] = ()
    reason: Reason
    variant: str
    model: str


@dataclass(frozen=True, kw_only=True)
class Retire(_Remove):
    """Remove one release of a variant that another one serves. `serves_instead` where it is taken back by a
    roll-back."""

    action: ClassVar[str] = "retire"
    cost: ClassVar[Cost] = Cost()
    number: int
    registered: bool
    serves_instead: ServesInstead | None = None

    @property
    def id(self) -> str:
        return f"{self.variant}:{self.number}"

    @property
    def numbers(self) -> tuple[int, ...]:
        return (self.number,)

    @property
    def failure_key(self) -> str:
        return f"{self.action} {self.id}"


@dataclass(frozen=True, kw_only=True)
class PruneVariant(_Remove):
    """Remove all releases of a variant, the `numbers`: nothing declares it (`confirmed` by a PruneConfirmation in git,
    or not), or it makes way for the variant `makes_way_for`, its own successor or another precision of its model, which
    does not fit on the disk beside it."""

    action: ClassVar[str] = "prune"
    number: ClassVar[int] = 0
    numbers: tuple[int, ...]
    confirmed: bool = False
    makes_way_for: str = ""
    cost: Cost = Cost()

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(f"{self.variant}:{number}" for number in self.numbers)

    @property
    def failure_key(self) -> str:
        return f"{self.action} {self.variant}"


@dataclass(frozen=True, kw_only=True)
class _Free(_OfNoVariant):
    action: ClassVar[str] = "prune"
    forced_by: ClassVar[tuple[str, ...]] = ()
    build_key: str
    size: int

    @property
    def cost(self) -> Cost:
        return Cost(disk_bytes=-self.size)

    @property
    def failure_key(self) -> str:
        return f"{self.action} {self.build_key}"


@dataclass(frozen=True, kw_only=True)
class PruneArtifact(_Free):
    """Free an artifact: nothing uses it, or it is kept only for roll-backs and `makes_room` for work that needs the
    disk. `artifact` is its digest, where it can be read."""

    artifact: str | None
    makes_room: bool = False

    @property
    def reason(self) -> Reason:
        return Reason.DISK_SHORT if self.makes_room else Reason.UNREFERENCED


class PruneSource(_Free):
    """Free a source from the hub that no manifest names. Its `build_key` is the digest of its files."""

    reason: ClassVar[Reason] = Reason.UNREFERENCED


# May take hours: it runs beside the passes, and a later pass takes its result in (engine.job_queue).
LongWork = FetchSource | Convert | Pull | MeasureCandidate | MeasureServed
Measure = MeasureCandidate | MeasureServed
Verify = VerifyCandidate | VerifyServed

RemoveRelease = Retire | PruneVariant  # of these `numbers`
Removal = RemoveRelease | PruneArtifact | PruneSource

Change = LongWork | Verify | Register | RepairRelease | RepairArtifact | Removal


def word_of(change: Change) -> str:
    """For people: a ready ONNX model is taken, not converted. The only place that says so; documents that give an
    `action` give this `word` beside it, and metrics count by action."""
    return "take" if isinstance(change, Convert) and change.release.recipe.as_is else change.action


def pull_key(build_key: str, offer: Offer) -> str:
    return f"{build_key}@{offer.digest[7:23]}"


def runtime_key(release: str, runtime: Mapping[str, str]) -> str:
    """Names a release that served before, tried with another runtime: each runtime is another try."""
    return f"{release}@{of_value(dict(runtime))[7:23]}"
