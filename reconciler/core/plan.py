"""Turn facts into a plan. Nothing here reads a file or a clock, so every case is a table row (tests/core/test_plan.py).

A plan is a value: ordered changes, each with its reason, the manifest fields that forced it, before, after and cost;
and what is held back, with why. The order is: mend what serves, release what needs no conversion, prune, convert and
release, free what nothing refers to. Within a variant the new release is registered before the old one is retired.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from reconciler.core.desired import Desired, Wanted
from reconciler.core.observed import Observed, Registration, ServedFolder
from reconciler.core.recorded import Recorded
from reconciler.core.release import Artifact, Marker

# Reasons: a closed set, documented in docs/reasons.md (a test compares).
REASONS = {
    "ArtifactMissing": "the recipe has not been built on this machine yet",
    "ReleaseMissing": "the variant is declared and not served yet",
    "RecipeChanged": "the source, precision, quantization, target or tool versions changed: new weights",
    "TemplateChanged": "the prompt template changed: a new registration of the same weights",
    "GenerationChanged": "the generation defaults changed: a new registration of the same weights",
    "FormatChanged": "this version of reconciler writes served folders differently",
    "DriftDetected": "the machine changed behind our back: a file, a folder or a registration",
    "Superseded": "a newer release of the same variant is served",
    "Orphaned": "no manifest declares the variant any more",
    "Unreferenced": "no release uses the artifact any more",
    "Suspended": "the manifest says suspend: true",
    "Protected": "the manifest said prune: disabled when it was last seen",
    "NameTaken": "a registration that is not ours already has this name",
    "ManifestsUnreadable": "a manifest is invalid, so what is no longer declared cannot be told",
    "NothingDeclared": "no model is declared at all: a wrong folder or branch is likelier than a wish",
    "ConfirmationNeeded": "more than half of the models, or more than five, would be pruned at once",
    "DiskInsufficient": "the conversion would need more disk than is free",
}

MOST_UNCONFIRMED_PRUNES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Predicted: bytes fetched, bytes that stay on disk (negative when freed), bytes at the peak, wall seconds (None
    when this machine has no history to tell from)."""

    download_bytes: int = 0
    disk_bytes: int = 0
    peak_disk_bytes: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step. `variant` is empty for an artifact that nothing uses. `number` is the `<n>` of the Foundry id that it
    makes, mends or removes; `numbers` are the releases that a prune removes."""

    action: str  # convert | verify | register | repair | retire | prune
    reason: str
    variant: str
    build_key: str = ""
    number: int = 0
    numbers: tuple[int, ...] = ()
    forced_by: tuple[str, ...] = ()
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Something that would be done, but for `reason`."""

    variant: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """False when there is nothing to do."""

    revision: str
    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changes)


def make_plan(desired: Desired, observed: Observed, recorded: Recorded, *, confirm: bool = False) -> Plan:
    """The changes that take this machine from `observed` to `desired`. Deterministic, and empty once carried out.

    `confirm` lifts the prune rails that ask for a confirmation (NothingDeclared, ConfirmationNeeded), never the others.
    """
    world = _World(observed, recorded)
    releases = [_for_variant(wanted, world) for wanted in sorted(desired.wanted, key=lambda w: w.variant)]
    prunes, prunes_held = _prunes(desired, world, confirm)
    steps = [change for changes, _ in releases for change in _convert_once(changes, releases)]
    ordered = [
        *(c for c in steps if _phase(c, steps) == "mend"),
        *(c for c in steps if _phase(c, steps) == "release"),
        *prunes,
        *(c for c in steps if _phase(c, steps) == "convert"),
    ]
    freed = _unreferenced(desired, world, ordered)
    held = [h for _, holds in releases for h in holds] + prunes_held
    return Plan(revision=desired.revision, changes=(*ordered, *freed), held=tuple(held))
