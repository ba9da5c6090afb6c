"""What this machine did and promised, as plain values. The world wins over it: it holds only what the world
cannot tell, and most of it can be rebuilt from what is served."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRelease:
    """The release that a variant is served as. Times are RFC 3339, UTC; sizes are bytes."""

    variant: str
    number: int
    release: str  # release digest
    parts: dict[str, str]
    build_key: str
    recipe: dict[str, object]
    generation: dict[str, object]
    registered: str  # when Foundry Local got it
    revision: str
    model: str
    precision: str
    protected: bool  # the manifest said prune: disabled
    artifact: str  # artifact digest
    size: int
    template_origin: str

    @property
    def id(self) -> str:
        return f"{self.variant}:{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One statement about a variant, in Kubernetes' form."""

    type: str
    status: str  # True | False | Unknown
    reason: str
    message: str
    last_transition_time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long one action took here; what the next one will cost is told from these."""

    action: str
    precision: str
    source_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """`releases` by variant. `high_water` is the highest number ever given to a variant: it outlives the
    release, because an id is never used for different content. `damaged` names documents that could not be
    trusted: what they held is missing here until it is rebuilt."""

    releases: dict[str, RecordedRelease] = field(default_factory=dict)
    high_water: dict[str, int] = field(default_factory=dict)
    conditions: dict[str, dict[str, Condition]] = field(default_factory=dict)
    timings: tuple[Timing, ...] = ()
    last_attempted_revision: str = ""
    last_applied_revision: str = ""
    damaged: tuple[str, ...] = ()
