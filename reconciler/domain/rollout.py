"""Rollout: in which order the machines of a fleet get a new release of the models that it covers. `Ring`: one group of
machines, with what must hold there before the next ring begins.

A field's type, limits and meaning stand here, in its annotation, and nowhere else (as in domain.manifest).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from reconciler.domain.accepts import DURATION, FLAG, REASON, About, Accepts, whole
from reconciler.domain.manifest import LabelSelector, ModelName
from reconciler.domain.text.units import Count

DAY = 86_400.0

RingName = Annotated[
    str,
    Accepts(
        expected="a name of at most 40 lower-case letters, digits and dashes, starting with a letter",
        pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$",
        least=1,
        most=40,
    ),
]
ReleaseDigest = Annotated[
    str,
    Accepts(expected="the digest of a release: sha256: and 64 hex digits", pattern=r"^sha256:[0-9a-f]{64}$", most=71),
]
MachineName = Annotated[str, Accepts(expected="the name of a machine, at most 63 characters", least=1, most=63)]


@dataclass(frozen=True, kw_only=True)
class Ring:
    """A group of machines. Of `node_selector`, `machines`, `share` and `count` those that are there must all hold; none
    of them: every machine that is in no earlier ring."""

    name: Annotated[RingName, About("What the ring is called, in messages and in `promoted`.")]
    node_selector: Annotated[
        LabelSelector | None, About("Labels that a machine of the ring has, as in a Model. Default: any.")
    ] = None
    machines: Annotated[tuple[MachineName, ...], About("Its machines by name."), Accepts(most=1000)] = ()
    share: Annotated[
        float | None,
        About(
            "This share of all machines, drawn by a hash of the machine's name and the Rollout's: the same each time."
        ),
        Accepts(expected="a number above 0, at most 1", above=0, most=1),
    ] = None
    count: Annotated[
        int | None, About("So many of the machines whose reports are there, drawn by the same hash."), whole(1, 100_000)
    ] = None
    soak: Annotated[
        float, About("How long the ring must serve a release before the next ring gets it, such as 24h."), DURATION
    ] = DAY
    ready_share: Annotated[
        float,
        About(
            "The share of its machines that must serve the release and be Ready, all that time; a silent one is not."
        ),
        Accepts(expected="a number above 0, at most 1", above=0, most=1),
    ] = 0.9
    failure_limit: Annotated[
        int,
        About(
            "How many of its machines may refuse the release (a gate or the rehearsal failed, or it was rolled back) "
            "without stopping it."
        ),
        whole(0, 100_000),
    ] = 0


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A release that some rings get without waiting."""

    release: Annotated[ReleaseDigest, About("The release.")]
    ring: Annotated[str, About("The last ring that gets it at once. Default: all."), Accepts(most=40)] = ""


@dataclass(frozen=True, kw_only=True)
class Abortion:
    """A release that no machine gets through this Rollout any more."""

    release: Annotated[ReleaseDigest, About("The release.")]
    reason: Annotated[str, About("Why, for people."), REASON] = "aborted"


@dataclass(frozen=True, kw_only=True)
class RolloutOptions:
    """The fields of a Rollout's spec."""

    rings: Annotated[
        tuple[Ring, ...],
        About("From the first to the last. A machine is in the first that it fits; in none of them, it comes last."),
        Accepts(least=1, most=20),
    ]
    models: Annotated[
        tuple[ModelName, ...], About("The models it is about, by name. Default: all."), Accepts(most=1000)
    ] = ()
    selector: Annotated[LabelSelector | None, About("The models it is about, by their labels. Default: all.")] = None
    silent_after: Annotated[
        float,
        About("A machine of which nothing new was heard for so long counts as not ready. Machines report once a day."),
        DURATION,
    ] = 2 * DAY
    paused: Annotated[bool, About("No machine gets a new release, whichever ring it is in."), FLAG] = False
    promoted: Annotated[
        tuple[Promotion, ...],
        About("Releases that do not wait. `reconciler rollout promote` writes it."),
        Accepts(most=100),
    ] = ()
    aborted: Annotated[
        tuple[Abortion, ...],
        About("Releases that go no further. `reconciler rollout abort` writes it."),
        Accepts(most=100),
    ] = ()


@dataclass(frozen=True, kw_only=True)
class Rollout(RolloutOptions):
    """One `kind: Rollout` document. `covers` are the names of the models it is about: with one of them undeclared or
    broken, still. `broken`: what is wrong with it; then what it covers waits, whatever the rest says."""

    name: str
    file: str
    line: int
    covers: frozenset[str] | None = None  # None: any model (a broken one whose models cannot be read)
    broken: str = ""

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    def is_about(self, model: str) -> bool:
        return self.covers is None or model in self.covers

    def aborts(self, release: str) -> Abortion | None:
        return next((one for one in self.aborted if one.release == release), None)

    def promoted_to(self, release: str) -> int:
        """How many rings get it without waiting."""
        numbers = {ring.name: at for at, ring in enumerate(self.rings, 1)}
        everyone = len(self.rings) + 1  # and those that are in no ring
        return max((numbers.get(one.ring, everyone) for one in self.promoted if one.release == release), default=0)


def position(rollout: str, machine: str) -> float:
    """Where on the line from 0 to 1 a machine stands in this Rollout: the same on every machine, each time."""
    drawn = hashlib.sha256(f"{rollout}\n{machine}".encode()).digest()
    return int.from_bytes(drawn[:6], "big") / (1 << 48)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one report says of one release on one machine, and what its reader knows of it. Times are durations in
    seconds: no clock is compared with another machine's.

    `serves`: it serves this release and is Ready, `claimed` for so long by the machine's own clock (between two times
    of one report). `watched` is for how long the reader itself has seen that, `unchanged` for how long it has seen
    nothing new of the machine; both by the reader's watch, which never counts more time than has passed. `behind` is
    how much older the report is than most of its ring, or than the reader's clock says; 0 where the reader has itself
    seen it come. `refused` says why the machine does not serve the release, where it tried."""

    machine: str
    serves: bool = False
    claimed: float = 0.0
    watched: float = 0.0
    unchanged: float = 0.0
    behind: float = 0.0
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class RingEvidence:
    """What is known of one ring about one release. `members` counts its machines: of a large ring only some reports are
    read. `also` are machines of it beside these, read because they say to refuse the release: they count for
    failureLimit alone, because for a share they are no fair draw; `unread` counts those that say so too and were not
    read, being too many. `known_for`: no machine can have served the release for longer, as far as this reader knows
    (None: it may have been away when the release came). `doubted` are reports that do not count, with why; `why_not`
    says why nothing could be read."""

    read: tuple[Evidence, ...] = ()
    also: tuple[Evidence, ...] = ()
    unread: int = 0
    members: int = 0
    known_for: float | None = None
    doubted: tuple[str, ...] = ()
    why_not: str = ""


@dataclass(frozen=True, kw_only=True)
class RefusedCandidate:
    """A release that stopped in a ring, as this machine has seen it: remembered by its digest, though the report that
    said so may go."""

    release: str
    rollout: str
    ring: str
    message: str


@dataclass(frozen=True, kw_only=True)
class WatchedMachine:
    """What this machine remembers of another one's reports about one release. `order` is that of the newest report,
    `generated` its time; `changed` is the reader's watch when it came, `renewed` that an older one was seen before it.
    `serving` is the watch when it was first seen to serve the release, without a break since; None: it does not."""

    machine: str
    order: Count
    generated: str
    changed: float
    renewed: bool = False
    serving: float | None = None
    claimed: float = 0.0
    refused: str = ""


@dataclass(frozen=True, kw_only=True)
class WatchedRelease:
    """A release that waits here. `begun` is the watch when it was first wanted; `gap` the seconds since the pass before
    that one, None where this machine may have been away."""

    release: str
    variant: str
    begun: float
    gap: float | None = None
    machines: tuple[WatchedMachine, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RolloutMemory:
    """What a machine keeps between passes. `watch` counts seconds that have passed for sure, as of `ticks` of the
    system's monotonic clock. `covered` are models by name, with the Rollout that was about them last."""

    watch: float = 0.0
    ticks: float = 0.0
    watched: tuple[WatchedRelease, ...] = ()
    refused: tuple[RefusedCandidate, ...] = ()
    covered: Mapping[str, str] = field(default_factory=dict)
