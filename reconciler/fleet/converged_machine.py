"""A machine that serves exactly what a commit declares: the one of which `diff` tells what the next commit does.

No machine is quite so (see `--against`), but each that follows the repository comes to be so before the next commit
reaches it. It has all the disk that it wants. Pure.
"""

from collections.abc import Iterable

from reconciler.domain.desired import Desired, DesiredRelease
from reconciler.domain.digest import StoredFile
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.observed import Observed, Registration, ServedFolder, own_properties
from reconciler.domain.plain_data import as_dict
from reconciler.domain.recorded import Recorded, RecordedRelease, Timing
from reconciler.domain.release import ALWAYS_COPIED, Artifact, Marker

_OWNER = "notional"
_NUMBER = 1
_PLENTY = 1 << 62  # bytes


def observed_of(desired: Desired) -> Observed:
    markers = [_marker(one) for one in desired.wanted]
    return Observed(
        owner=_OWNER,
        artifacts={one.release.recipe.build_key: _artifact(one) for one in desired.wanted},
        folders=tuple(_folder(marker) for marker in markers),
        registrations=tuple(_registration(marker) for marker in markers),
        disk_free=_PLENTY,
    )


def recorded_of(desired: Desired, timings: Iterable[Timing] = ()) -> Recorded:
    return Recorded(
        measured=MeasurementSet(told=False),
        releases={one.variant: RecordedRelease.from_marker(_marker(one), registered="") for one in desired.wanted},
        timings=tuple(timings),
    )


def disk_of(observed: Observed) -> int:
    """Bytes of what it stores, and of what served folders have for themselves."""
    stored = sum(artifact.size for artifact in observed.artifacts.values())
    return stored + sum(folder_bytes(observed, folder.variant) for folder in observed.folders)


def folder_bytes(observed: Observed, variant: str) -> int:
    """What goes with a variant's folders."""
    markers = [one.marker for one in observed.folders_of.get(variant, []) if one.marker is not None]
    return sum(file.size for marker in markers for file in marker.files)


def _artifact(one: DesiredRelease) -> Artifact:
    key = one.release.recipe.build_key
    return Artifact(digest="", build_key=key, files=(_bytes_of(one),))


def _bytes_of(one: DesiredRelease) -> StoredFile:
    return StoredFile(path="model.onnx", digest="", size=one.predicted_bytes)


def _marker(one: DesiredRelease) -> Marker:
    release = one.release
    return Marker(
        owner=_OWNER,
        variant=release.variant,
        number=_NUMBER,
        release=release.digest,
        parts=release.parts,
        artifact="",
        build_key=release.recipe.build_key,
        recipe=release.recipe.as_json(),
        model=release.model,
        precision=release.precision,
        template_origin=release.template_origin,
        generation=as_dict(release.generation),
        protected=one.protected,
        revision="",
        created="",
        files=(StoredFile(path="copied", digest="", size=_copied(one)),),
    )


def _copied(one: DesiredRelease) -> int:
    """As planner.variant_facts counts: large files are shared with the store."""
    return one.predicted_bytes if one.predicted_bytes < ALWAYS_COPIED else 0


def _folder(marker: Marker) -> ServedFolder:
    return ServedFolder(path=f"served/{marker.variant}", variant=marker.variant, number=_NUMBER, marker=marker)


def _registration(marker: Marker) -> Registration:
    properties = own_properties(owner=_OWNER, release=marker.release, build_key=marker.build_key, model=marker.model)
    return Registration(id=marker.id, path=f"served/{marker.variant}", properties=properties)
