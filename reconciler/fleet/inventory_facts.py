"""Between an inventory and the values that the planner reads.

    variants_of, artifacts_of, ...   on the machine, from what it observes and has recorded; no answer leaves it
    to_observed, to_recorded         elsewhere: the input of `planner.plan.make_plan`

A plan made from an inventory equals the machine's own, but for: the path in the message of `NameTaken`; the names of
the files in a damaged artifact; what a free costs where an artifact is damaged; seconds, where the machine remembers
more than five timings of one kind; the words of answers, which stay there: where golden prompts are compared with
something else, only the machine can judge them; and an earlier release that the machine serves in place of a rejected
one. Pure.
"""

import json
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from reconciler.domain.digest import StoredFile
from reconciler.domain.machine.facts import Memory
from reconciler.domain.machine.precision_choice import Capacity, capacity
from reconciler.domain.machine.registries import RegistryAnswers
from reconciler.domain.measured import Fidelity, Measured, MeasurementSet
from reconciler.domain.observed import Observed, Registration, ServedFolder, own_properties
from reconciler.domain.plain_data import as_dict, field_names
from reconciler.domain.recorded import Condition, Recorded, RecordedRelease, Timing
from reconciler.domain.release import ALWAYS_COPIED, Artifact, Marker, ServedRelease
from reconciler.fleet.inventory import (
    LONGEST_NAME,
    FolderState,
    HeldArtifact,
    HeldRelease,
    Inventory,
    RegistrationState,
    ReleaseContent,
    Variant,
)
from reconciler.gates.judgement import GateStatus

T = TypeVar("T")

MOST_TIMINGS = 5  # of each action and precision, the newest
NEWEST = 3  # measured releases of one artifact, the newest
MOST_ASKED = 1000
UNASKED = RegistryAnswers(unreached="a comparison asks no registry: it may have it", code="NotAsked")
EXPORTED_CONDITIONS = ("Ready", "Stalled", "PrecisionChosen")
OURS, OTHERS = "this", "another"  # owner marks, as the reader of an inventory sees them


def variants_of(
    observed: Observed, recorded: Recorded, conditions: Mapping[str, Mapping[str, Condition]]
) -> tuple[Variant, ...]:
    names = {*observed.registrations_of, *observed.folders_of, *recorded.releases, *conditions}
    names |= {*recorded.high_water, *observed.occupied}
    return tuple(
        Variant(
            variant=name,
            highest_number=max(recorded.high_water.get(name, 0), observed.occupied.get(name, 0)),
            conditions=tuple(
                found for kind in EXPORTED_CONDITIONS if (found := conditions.get(name, {}).get(kind)) is not None
            ),
            releases=tuple(_held(name, observed, recorded)),
        )
        for name in sorted(filter(_is_name, names))
    )


def artifacts_of(observed: Observed) -> tuple[HeldArtifact, ...]:
    whole = [
        HeldArtifact(
            build_key=one.build_key,
            digest=one.digest,
            size_bytes=one.size,
            copied_bytes=sum(file.size for file in one.files if file.size < ALWAYS_COPIED),
        )
        for one in observed.artifacts.values()
    ]
    damaged = [
        HeldArtifact(build_key=key, digest="", size_bytes=0, copied_bytes=0, damaged=True)
        for key in observed.damaged_artifacts
    ]
    return tuple(sorted((*whole, *damaged), key=lambda one: one.build_key))


def build_keys_of(observed: Observed, recorded: Recorded) -> frozenset[str]:
    """Of the artifacts that are held, or that something is served from."""
    return frozenset({*observed.artifacts, *(one.build_key for one in recorded.releases.values())})


def newest_timings(timings: Iterable[Timing]) -> tuple[Timing, ...]:
    return _newest(timings, MOST_TIMINGS, lambda one: (one.action, one.precision))


def _newest(found: Iterable[T], most: int, kind: Callable[[T], object]) -> tuple[T, ...]:
    """The last `most` of each kind, in their order."""
    found = tuple(found)
    later = [sum(kind(other) == kind(one) for other in found[at:]) for at, one in enumerate(found)]
    return tuple(one for one, count in zip(found, later, strict=True) if count <= most)


def export_fidelity(known: MeasurementSet, build_keys: Container[str]) -> tuple[Fidelity, ...]:
    """Of the artifacts that matter now."""
    return tuple(one for key, one in known.fidelity.items() if key in build_keys and _is_finite(one))


def export_measurements(
    known: MeasurementSet, build_keys: Container[str], judged: Iterable[GateStatus]
) -> tuple[Measured, ...]:
    right = {(one.release, one.prompts): number for one in judged if (number := _right(one)) is not None}
    return tuple(
        replace(
            one,
            answers={},  # guard: answers stay on the machine
            asked=tuple(sorted(one.answers))[:MOST_ASKED],
            right={prompts: number for (release, prompts), number in right.items() if release == one.release},
        )
        for one in _newest(known.releases.values(), NEWEST, lambda one: one.build_key)
        if one.build_key in build_keys and _is_finite(one)
    )


def _right(judged: GateStatus) -> int | None:
    """How many golden prompts were answered rightly, where the last pass could tell."""
    found = (one.number for one in judged.verdicts if (one.gate, one.measure) == ("prompts", "passed"))
    number = next(found, None)
    return None if number is None or not judged.prompts else round(number)


def _is_finite(held: object) -> bool:
    """JSON has no other numbers."""
    try:
        json.dumps(as_dict(held), allow_nan=False)
    except ValueError:
        return False
    return True


def capacity_of(inventory: Inventory) -> Capacity:
    """What that machine has for a model with `precisions: auto`, as it says itself."""
    disk = inventory.disk.total_bytes
    return capacity(inventory.facts, disk, inventory.limits, inventory.convert, inventory.conversion_memory)


def to_observed(inventory: Inventory) -> Observed:
    """As the machine saw itself; folders lie at `served/<variant>/<n>`."""
    held = [(variant.variant, one) for variant in inventory.variants for one in variant.releases]
    return Observed(
        owner=OURS,
        artifacts={a.build_key: _stored(a) for a in inventory.artifacts if not a.damaged},
        damaged_artifacts={a.build_key: ("damaged",) for a in inventory.artifacts if a.damaged},
        folders=tuple(_folder(variant, one, one.folder) for variant, one in held if one.folder is not None),
        registrations=tuple(
            _registration(variant, one.number, one.registration)
            for variant, one in held
            if one.registration is not None
        ),
        disk_free=inventory.disk.free_bytes,
        disk_used=inventory.disk.used_bytes or 0,
        locked_sources=inventory.hub_sources,
        limits=inventory.limits,
        convert=inventory.convert,
        answers=UNASKED,
        memory=Memory(total=inventory.facts.memory_bytes, free=inventory.facts.memory_bytes),
        occupied={one.variant: one.highest_number for one in inventory.variants},
    )


def to_recorded(inventory: Inventory) -> Recorded:
    return Recorded(
        measured=MeasurementSet(
            fidelity={one.build_key: one for one in inventory.fidelity},
            releases={one.release: one for one in inventory.measured or ()},
            known=inventory.measured is not None,
        ),
        runtime=inventory.runtime,
        outdated=inventory.outdated,
        releases={
            variant.variant: RecordedRelease(
                variant=variant.variant,
                number=one.number,
                registered=one.content.since,
                size=one.content.size_bytes,
                **_shared(one.content),
            )
            for variant in inventory.variants
            for one in variant.releases
            if one.recorded and one.content is not None
        },
        high_water={one.variant: one.highest_number for one in inventory.variants},
        timings=inventory.timings,
        last_attempted_revision=inventory.attempted_revision,
        last_applied_revision=inventory.applied_revision,
        suspensions=inventory.suspensions,
        failures=inventory.failures,
    )


def _is_name(name: str) -> bool:
    """Anything may be called anything in Foundry's catalog; nothing of ours is called like that."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and " " not in name


def _held(name: str, observed: Observed, recorded: Recorded) -> list[HeldRelease]:
    """By number. The record stands apart where a folder of other content has taken its number."""
    folders = {one.number: one for one in observed.folders_of.get(name, [])}
    registrations = {one.number: one for one in observed.registrations_of.get(name, [])}
    record = recorded.releases.get(name)
    found = [
        HeldRelease(
            number=number,
            recorded=_is_of(record, number, folders.get(number)),
            content=_content(record if _is_of(record, number, folders.get(number)) else None, folders.get(number)),
            folder=_folder_state(folders[number], observed) if number in folders else None,
            registration=_entry(registrations[number], folders, observed) if number in registrations else None,
        )
        for number in sorted(folders.keys() | registrations.keys())
    ]
    if record is not None and not any(one.recorded for one in found):
        found.append(HeldRelease(number=record.number, recorded=True, content=_content(record, None)))
    return found


def _is_of(record: RecordedRelease | None, number: int, folder: ServedFolder | None) -> bool:
    if record is None or record.number != number:
        return False
    return folder is None or folder.marker is None or folder.marker.release == record.release


def _content(record: RecordedRelease | None, folder: ServedFolder | None) -> ReleaseContent | None:
    """From the marker; but a record follows the manifest, and a marker is older."""
    found, marker = None, folder.marker if folder is not None else None
    if marker is not None:
        size = sum(file.size for file in marker.files)
        found = ReleaseContent(size_bytes=size, since=marker.created, **_shared(marker))
    if record is None:
        return found
    found = found or ReleaseContent(size_bytes=record.size, since=record.registered, **_shared(record))
    return replace(found, protected=record.protected, since=record.registered)


def _folder_state(folder: ServedFolder, observed: Observed) -> FolderState:
    marker = folder.marker
    owned = marker is not None and observed.owns(marker.owner)
    return FolderState(owned=owned, readable=marker is not None, damage=folder.damage)


def _entry(one: Registration, folders: Mapping[int, ServedFolder], observed: Observed) -> RegistrationState:
    path = one.path.rstrip("/\\")
    return RegistrationState(
        owned=observed.owns(one.owner),
        leads_to=next((number for number, folder in folders.items() if folder.path == path), None),
        release=one.release,
        build_key=one.build_key,
        model=one.model,
    )


def _stored(one: HeldArtifact) -> Artifact:
    """Of the same sizes: files that are copied into each folder, and one that is shared."""
    whole, rest = divmod(one.copied_bytes, ALWAYS_COPIED - 1)
    sizes = [*[ALWAYS_COPIED - 1] * whole, rest, one.size_bytes - one.copied_bytes]
    files = tuple(StoredFile(path=str(at), digest="", size=size) for at, size in enumerate(sizes))
    return Artifact(digest=one.digest, build_key=one.build_key, files=files)


def _place(variant: str, number: int) -> str:
    return f"served/{variant}/{number}"


def _folder(variant: str, held: HeldRelease, state: FolderState) -> ServedFolder:
    marker, content = None, held.content
    if state.readable and content is not None:
        marker = Marker(
            owner=OURS if state.owned else OTHERS,
            variant=variant,
            number=held.number,
            created=content.since,
            files=(StoredFile(path="all", digest="", size=content.size_bytes),),
            **_shared(content),
        )
    return ServedFolder(
        path=_place(variant, held.number), variant=variant, number=held.number, marker=marker, damage=state.damage
    )


def _registration(variant: str, number: int, state: RegistrationState) -> Registration:
    return Registration(
        id=f"{variant}:{number}",
        path="elsewhere" if state.leads_to is None else _place(variant, state.leads_to),
        properties=own_properties(
            owner=OURS if state.owned else OTHERS,
            release=state.release or None,
            build_key=state.build_key or None,
            model=state.model or None,
        ),
    )


def _shared(one: ServedRelease | ReleaseContent) -> dict[str, Any]:
    """What all three forms of a release have in common."""
    return {name: getattr(one, name) for name in field_names(ReleaseContent) if name not in ("size_bytes", "since")}
