"""What a plan is made of: a thing you can hold. Ordered changes, each with its reason, the manifest fields that forced
it, before, after and cost; and what is held back, with why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.domain.verdict import Verdict

# Reasons: a closed set, documented in docs/reference.md (generated).
REASONS = {
    "ArtifactMissing": "the recipe has not been built on this machine yet",
    "SourceMissing": "the weights are not on this machine yet, or only a part of them",
    "ReleaseMissing": "the variant is declared and not served yet",
    "RecipeChanged": "the source, precision, quantization, target or tool versions changed: new weights",
    "TemplateChanged": "the prompt template changed: a new registration of the same weights",
    "GenerationChanged": "the generation defaults changed: a new registration of the same weights",
    "FormatChanged": "this version of reconciler writes served folders differently",
    "DriftDetected": "the machine changed behind our back: a file, a folder or a registration",
    "Superseded": "a newer release of the same variant is served",
    "Retained": "a newer release is served; the manifest says retainFor, and that time is not over",
    "InUse": "it is to go, but another process still has its files in its memory: it goes when that ends",
    "DiskShort": "kept only to be served again; a download or a conversion needs its room",
    "MakesWay": "delete-then-build: it goes before its successor is built, because both do not fit on the disk",
    "RolledBack": "an earlier release is served instead: by `reconciler rollback`, or the gates reject the later one",
    "RuntimeChanged": "Foundry Local or its libraries are others than those it was verified with: measured again",
    "Orphaned": "no manifest declares the variant any more",
    "NotSelected": "the model is declared for other machines: its nodeSelector does not match this one",
    "Unreferenced": "no release uses the artifact, or no manifest the source from the hub, any more",
    "Suspended": "the manifest says suspend: true, or somebody ran `reconciler suspend`",
    "Protected": "the manifest said prune: disabled when it was last seen",
    "NameTaken": "a registration that is not ours already has this name",
    "ManifestsUnreadable": "a manifest is invalid, so what is no longer declared cannot be told",
    "NothingDeclared": "no model is declared at all: a wrong folder or branch is likelier than a wish",
    "ConfirmationNeeded": "more than half of the models, or more than five, would go: --confirm, or PruneConfirmation",
    "GateUnmeasured": "it is served, and a gate was declared since for which it has not been measured",
    "GateFailed": "what was measured of the release misses a bar of its gates: the number stands beside the bar",
    "Unrecorded": "only the mark in its folder says that it is ours, no record and no registration: `--confirm`",
    "Unreadable": "its served folders cannot be listed: what is there is left alone until they can",
    "DiskInsufficient": "the download or the conversion would need more disk than is free or than limits allow",
    "FailedBefore": "it failed here and will fail again: tried when its input changes, or with `apply --retry`",
    "BackoffActive": "it failed here and may pass by itself: tried again at the time that is named; `apply` tries now",
}


# Held back because somebody wants it so: a machine that follows such a wish has converged.
USER_HOLDS = frozenset({"Suspended", "Protected", "RolledBack"})

# Held back because it failed here before (domain.failures).
BY_FAILURE = frozenset({"FailedBefore", "BackoffActive"})

# Rails that wait for a person: until then nothing else that seems unused is freed either.
PRUNE_GUARDS = frozenset({"NothingDeclared", "ConfirmationNeeded"})

# Freed before the work that needs the room.
MAKES_ROOM = "DiskShort"

# What serves goes even before that, where its manifest says so.
MAKES_WAY = "MakesWay"

# Work that may take hours: it goes on beside passes, and only its result is taken in by one (engine.job_queue).
LONG = frozenset({"convert", "fetch", "measure"})


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Predicted: bytes fetched, bytes that stay on disk (negative when freed), bytes at the peak, wall seconds (None
    when this machine has no history to tell from)."""

    download_bytes: int = 0
    disk_bytes: int = 0
    peak_disk_bytes: int = 0
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """One step. `variant` is empty for an artifact or a source that nothing uses. `build_key` names what is built or
    fetched: a recipe's digest, or that of a source's files. `number` is the `<n>` of the Foundry id that it
    makes, mends or removes; `numbers` are the releases that a prune removes."""

    action: str  # fetch | convert | measure | verify | register | repair | retire | prune
    reason: str
    variant: str
    build_key: str = ""
    number: int = 0
    numbers: tuple[int, ...] = ()
    forced_by: tuple[str, ...] = ()
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    cost: Cost = Cost()


@dataclass(frozen=True, kw_only=True)
class Held:
    """Something that would be done, but for `reason`. `until` is when time alone ends it (RFC 3339), else empty."""

    variant: str
    reason: str
    message: str
    until: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """False when there is nothing to do."""

    revision: str
    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()
    later: tuple[Held, ...] = ()  # predecessors that go in time, and until then harm nothing
    not_selected: dict[str, str] = field(
        default_factory=dict
    )  # by name of a model for other machines: why not for this one

    verdicts: dict[str, tuple[Verdict, ...]] = field(
        default_factory=dict
    )  # by variant: what is known of its gates

    def __bool__(self) -> bool:
        return bool(self.changes)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`status`: done | failed | skipped (something it needs failed) | cancelled (nobody wants it any more). `seconds`
    is wall time; `code`, `message` and `hint` are set when it failed, `permanent` when it will fail again."""

    change: Change
    status: str
    seconds: float = 0.0
    code: str = ""
    message: str = ""
    hint: str = ""
    permanent: bool = False
    delay: float = 0.0  # seconds that the other side asked for before the next try
