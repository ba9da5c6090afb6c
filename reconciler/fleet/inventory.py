"""The inventory of one machine: small enough to lie in git, and enough to make the machine's plan elsewhere. The fields
of its JSON form are those of `Inventory`, with their limits; `fleet.inventory_form` reads and writes it.

It holds no secret, no owner mark, and no path but the allowed source roots. Pure.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import MaxLen, Predicate

from reconciler.domain.failures import RememberedFailure
from reconciler.domain.machine.facts import Facts, StorageLimits
from reconciler.domain.machine.registries import LOCAL, ConvertMode
from reconciler.domain.machine_report import VariantReport
from reconciler.domain.measured import Fidelity, Measured
from reconciler.domain.recorded import Condition, Suspension, Timing
from reconciler.domain.text.units import Count

FORMAT_VERSION = 1
LONGEST_NAME = 200  # characters, of a machine, a variant and whatever else has a name
MOST_LEVELS, MOST_ITEMS = 3, 64  # of a recipe


def _text(pattern: str, expected: str) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        if not re.fullmatch(pattern, text, re.DOTALL):
            raise ValueError(expected)
        return True

    return check


is_name = _text(rf"\S.{{0,{LONGEST_NAME - 1}}}", "a name")
is_digest = _text(r"\S{0,100}", "a digest")  # may be empty: not known
is_short = _text(r".{0,40}", "one line of at most 40 characters")


def _is_plain(found: object, levels: int = MOST_LEVELS) -> bool:
    """A recipe may be another version's, so only its shape is known."""
    if isinstance(found, dict) and levels and len(found) <= MOST_ITEMS:
        return all(_is_plain(inner, levels - 1) for inner in found.values())
    if isinstance(found, dict | list):
        raise ValueError(f"plain values, at most {MOST_LEVELS} levels of {MOST_ITEMS}")
    return True


# What `fleet.inventory_form` checks when it reads the inventory of another machine.
Name = Annotated[str, Predicate(is_name)]
Digest = Annotated[str, Predicate(is_digest)]
Moment = Annotated[str, Predicate(is_short)]
Plain = Annotated[dict[str, object], Predicate(_is_plain)]
Few = MaxLen(100)
Versions = Annotated[dict[Name, str], Few]


@dataclass(frozen=True, kw_only=True)
class DiskSpace:
    """Bytes of the file system that the root is on; `used_bytes` are the root's own, None when not counted."""

    free_bytes: Count
    total_bytes: Count
    used_bytes: Count | None = None


@dataclass(frozen=True, kw_only=True)
class ReleaseContent:
    """What one release is, from its marker or its record."""

    model: Name
    precision: Name
    release: Digest
    parts: Annotated[dict[Name, Digest], Few]
    build_key: Digest
    artifact: Digest
    recipe: Plain
    generation: Plain
    template_origin: str
    protected: bool
    size_bytes: Count
    revision: str
    since: Moment


@dataclass(frozen=True, kw_only=True)
class FolderState:
    """A served folder. `owned`: its marker carries this root's mark."""

    owned: bool
    readable: bool
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RegistrationState:
    """An entry of Foundry's catalog. `leads_to` is the number of the variant's served folder that it points at, None
    when it points elsewhere."""

    owned: bool
    leads_to: Count | None
    release: str = ""
    build_key: str = ""
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class HeldRelease:
    """Whatever there is under one number of a variant. `recorded`: the records say that the variant is served so."""

    number: Count
    recorded: bool
    content: ReleaseContent | None = None
    folder: FolderState | None = None
    registration: RegistrationState | None = None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """`highest_number` is the highest that was ever given, or at which anything is found."""

    variant: Name
    highest_number: Count
    conditions: Annotated[tuple[Condition, ...], Few] = ()
    releases: Annotated[tuple[HeldRelease, ...], Few] = ()


@dataclass(frozen=True, kw_only=True)
class HeldArtifact:
    """`copied_bytes` are those that each served folder has for itself; the others it shares with the store."""

    build_key: Digest
    digest: Digest
    size_bytes: Count
    copied_bytes: Count
    damaged: bool = False


@dataclass(frozen=True, kw_only=True)
class ImportedFrom:
    """The archive that was imported last: the digest of its index, the commit that it brought, and when."""

    archive: Digest
    revision: str
    when: Moment


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """`machine` is the machine's name, `generated` RFC 3339 UTC, `reconciler` our version, `versions` those of the
    packages that convert and serve. `labels` are those of its configuration; facts give more."""

    format_version: int = FORMAT_VERSION
    machine: Name
    generated: Moment
    reconciler: Name
    labels: Annotated[dict[Name, str], Few] = field(default_factory=dict)
    facts: Facts
    versions: Versions = field(default_factory=dict)
    source_roots: Annotated[tuple[str, ...], Few] = ()
    disk: DiskSpace
    limits: StorageLimits = StorageLimits()
    convert: ConvertMode = LOCAL
    conversion_memory: Count = 0  # as its configuration limits one conversion; 0: a share of its memory
    attempted_revision: str = ""
    applied_revision: str = ""
    variants: tuple[Variant, ...] = ()
    artifacts: tuple[HeldArtifact, ...] = ()
    suspensions: tuple[Suspension, ...] = ()
    timings: tuple[Timing, ...] = ()
    failures: tuple[RememberedFailure, ...] = ()
    hub_sources: dict[Digest, Count] = field(default_factory=dict)  # downloaded ones: bytes by digest
    fidelity: tuple[Fidelity, ...] = ()
    measured: tuple[Measured, ...] | None = None  # None: earlier versions do not say
    runtime: Versions = field(default_factory=dict)  # as in domain.recorded
    outdated: dict[Digest, Versions] = field(default_factory=dict)
    imported: ImportedFrom | None = None
    counter: Count = 0  # of a report that travels; grows with each one
    left_out: Annotated[tuple[Name, ...], Few] = ()  # what a report has no room for
    conditions: Annotated[tuple[Condition, ...], Few] = ()  # of the machine itself
    summary: tuple[VariantReport, ...] = ()  # each variant in short
