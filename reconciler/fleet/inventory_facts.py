"""Between an inventory and the values that the planner reads.

    variants_of, artifacts_of, ...   on the machine, from what it observes and has recorded
    to_observed, to_recorded         elsewhere: the input of `planner.plan.make_plan`

A plan made from an inventory equals the machine's own, but for: the path in the message of `NameTaken`; the names of
the files in a damaged artifact; what a free costs where an artifact is damaged; seconds, where the machine remembers
more than five timings of one kind; the words of answers, which stay there: where golden prompts are compared with
something else, only the machine can judge them; and an earlier release that the machine serves in place of a rejected
one. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from reconciler.domain.digest import StoredFile
from reconciler.domain.observed import Observed, Registration, ServedFolder, own_properties
from reconciler.domain.recorded import Condition, Recorded, RecordedRelease, Timing
from reconciler.domain.release import ALWAYS_COPIED, Artifact, Marker
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
from reconciler.fleet.inventory_measured import known_of

MOST_TIMINGS = 5  # of each action and precision, the newest
EXPORTED_CONDITIONS = ("Ready", "Stalled")
OURS, OTHERS = "this", "another"  # owner marks, as the reader of an inventory sees them


def variants_of(
    observed: Observed, recorded: Recorded, conditions: Mapping[str, Mapping[str, Condition]]
) -> tuple[Variant, ...]:
    names = {*observed.registrations_of, *observed.folders_of, *recorded.releases, *conditions}
    names |= {*recorded.high_water, *observed.occupied}
    names = {name for name in names if _is_name(name)}
    return tuple(
        Variant(
            variant=name,
            highest_number=max(recorded.high_water.get(name, 0), observed.occupied.get(name, 0)),
            conditions=_exported(conditions.get(name, {})),
            releases=tuple(_held(name, observed, recorded)),
        )
        for name in sorted(names)
    )


def artifacts_of(observed: Observed) -> tuple[HeldArtifact, ...]:
    whole = [_artifact(one) for one in observed.artifacts.values()]
    damaged = [
        HeldArtifact(build_key=key, digest="", size_bytes=0, copied_bytes=0, damaged=True)
        for key in observed.damaged_artifacts
    ]
    return tuple(sorted((*whole, *damaged), key=lambda one: one.build_key))


def build_keys_of(observed: Observed, recorded: Recorded) -> frozenset[str]:
    """Of the artifacts that are held, or that something is served from."""
    return frozenset({*observed.artifacts, *(one.build_key for one in recorded.releases.values())})


def newest_timings(timings: Iterable[Timing]) -> tuple[Timing, ...]:
    kept: list[Timing] = []
    count: dict[tuple[str, str], int] = {}
    for one in reversed(tuple(timings)):
        kind = (one.action, one.precision)
        count[kind] = count.get(kind, 0) + 1
        if count[kind] <= MOST_TIMINGS:
            kept.append(one)
    return tuple(reversed(kept))


def to_observed(inventory: Inventory) -> Observed:
    """As the machine saw itself; folders lie at `served/<variant>/<n>`."""
    return Observed(
        owner=OURS,
        artifacts={a.build_key: _stored(a) for a in inventory.artifacts if not a.damaged},
        damaged_artifacts={a.build_key: ("damaged",) for a in inventory.artifacts if a.damaged},
        folders=tuple(
            _folder(one.variant, held, held.folder)
            for one in inventory.variants
            for held in one.releases
            if held.folder is not None
        ),
        registrations=tuple(
            _registration(one.variant, held.number, held.registration)
            for one in inventory.variants
            for held in one.releases
            if held.registration is not None
        ),
        disk_free=inventory.disk.free_bytes,
        disk_used=inventory.disk.used_bytes or 0,
        locked_sources=inventory.hub_sources,
        limits=inventory.limits,
        occupied={one.variant: one.highest_number for one in inventory.variants},
    )


def to_recorded(inventory: Inventory) -> Recorded:
    return Recorded(
        measured=known_of(inventory.fidelity, inventory.measured),
        runtime=inventory.runtime,
        outdated=inventory.outdated,
        releases={
            one.variant: _recorded(one.variant, held.number, held.content)
            for one in inventory.variants
            for held in one.releases
            if held.recorded and held.content is not None
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


def _exported(conditions: Mapping[str, Condition]) -> tuple[Condition, ...]:
    return tuple(conditions[kind] for kind in EXPORTED_CONDITIONS if kind in conditions)


def _held(name: str, observed: Observed, recorded: Recorded) -> list[HeldRelease]:
    """By number. The record stands apart where a folder of other content has taken its number."""
    folders = {one.number: one for one in observed.folders_of.get(name, [])}
    registrations = {one.number: one for one in observed.registrations_of.get(name, [])}
    record = recorded.releases.get(name)
    found = [
        _seen(number, folders, registrations.get(number), record, observed)
        for number in sorted(folders.keys() | registrations.keys())
    ]
    if record is not None and not any(one.recorded for one in found):
        found.append(HeldRelease(number=record.number, recorded=True, content=_content_of(record)))
    return found


def _seen(
    number: int,
    folders: Mapping[int, ServedFolder],
    registration: Registration | None,
    record: RecordedRelease | None,
    observed: Observed,
) -> HeldRelease:
    folder = folders.get(number)
    marker = folder.marker if folder is not None else None
    mine = record is not None and record.number == number and (marker is None or marker.release == record.release)
    content = _content_of(record) if mine and record is not None and marker is None else None
    if marker is not None:
        content = _content_of(marker)
        if mine and record is not None:  # a record follows the manifest, a marker is older
            content = replace(content, protected=record.protected, since=record.registered)
    return HeldRelease(
        number=number,
        recorded=mine,
        content=content,
        folder=_folder_state(folder, observed),
        registration=_registration_state(registration, folders, observed),
    )


def _content_of(one: Marker | RecordedRelease) -> ReleaseContent:
    shared = {name: getattr(one, name) for name in _SHARED}
    if isinstance(one, RecordedRelease):
        return ReleaseContent(size_bytes=one.size, since=one.registered, **shared)
    return ReleaseContent(size_bytes=sum(file.size for file in one.files), since=one.created, **shared)


def _folder_state(folder: ServedFolder | None, observed: Observed) -> FolderState | None:
    if folder is None:
        return None
    marker = folder.marker
    return FolderState(
        owned=marker is not None and observed.owns(marker.owner), readable=marker is not None, damage=folder.damage
    )


def _registration_state(
    one: Registration | None, folders: Mapping[int, ServedFolder], observed: Observed
) -> RegistrationState | None:
    if one is None:
        return None
    path = one.path.rstrip("/\\")
    return RegistrationState(
        owned=observed.owns(one.owner),
        leads_to=next((number for number, folder in folders.items() if folder.path == path), None),
        release=one.release,
        build_key=one.build_key,
        model=one.model,
    )


def _artifact(one: Artifact) -> HeldArtifact:
    copied = sum(file.size for file in one.files if file.size < ALWAYS_COPIED)
    return HeldArtifact(build_key=one.build_key, digest=one.digest, size_bytes=one.size, copied_bytes=copied)


def _stored(one: HeldArtifact) -> Artifact:
    """Of the same sizes: files that are copied into each folder, and one that is shared."""
    sizes = [ALWAYS_COPIED - 1] * (one.copied_bytes // (ALWAYS_COPIED - 1))
    sizes.append(one.copied_bytes % (ALWAYS_COPIED - 1))
    sizes.append(one.size_bytes - one.copied_bytes)
    files = tuple(StoredFile(path=str(at), digest="", size=size) for at, size in enumerate(sizes))
    return Artifact(digest=one.digest, build_key=one.build_key, files=files)


def _place(variant: str, number: int) -> str:
    return f"served/{variant}/{number}"


def _folder(variant: str, held: HeldRelease, state: FolderState) -> ServedFolder:
    marker = None
    if state.readable and held.content is not None:
        marker = _marker(variant, held.number, held.content, OURS if state.owned else OTHERS)
    return ServedFolder(
        path=_place(variant, held.number), variant=variant, number=held.number, marker=marker, damage=state.damage
    )


def _registration(variant: str, number: int, state: RegistrationState) -> Registration:
    properties = own_properties(
        owner=OURS if state.owned else OTHERS,
        release=state.release or None,
        build_key=state.build_key or None,
        model=state.model or None,
    )
    return Registration(
        id=f"{variant}:{number}",
        path="elsewhere" if state.leads_to is None else _place(variant, state.leads_to),
        properties=properties,
    )


def _marker(variant: str, number: int, content: ReleaseContent, owner: str) -> Marker:
    shared = {name: getattr(content, name) for name in _SHARED}
    size = StoredFile(path="all", digest="", size=content.size_bytes)
    return Marker(owner=owner, variant=variant, number=number, created=content.since, files=(size,), **shared)


def _recorded(variant: str, number: int, content: ReleaseContent) -> RecordedRelease:
    shared = {name: getattr(content, name) for name in _SHARED}
    return RecordedRelease(variant=variant, number=number, registered=content.since, size=content.size_bytes, **shared)


_SHARED = (
    "release",
    "parts",
    "artifact",
    "build_key",
    "recipe",
    "model",
    "precision",
    "template_origin",
    "generation",
    "protected",
    "revision",
)
