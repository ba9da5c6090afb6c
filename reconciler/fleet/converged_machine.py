"""A machine that serves exactly what a commit declares: the one for which `diff` predicts what the next commit does.

A real machine may differ (see `--against`), but each that follows the repository comes to this state before the next
commit reaches it. It has all the disk that it needs. Pure.
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
        folders=tuple(
            ServedFolder(path=_path(one), variant=one.variant, number=_NUMBER, marker=one) for one in markers
        ),
        registrations=tuple(
            Registration(
                id=one.id,
                path=_path(one),
                properties=own_properties(owner=_OWNER, release=one.release, build_key=one.build_key, model=one.model),
            )
            for one in markers
        ),
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
    return stored + sum(folder_bytes(observed).values())


def folder_bytes(observed: Observed) -> dict[str, int]:
    """By variant: what its served folder has for itself."""
    markers = [folder.marker for folder in observed.folders if folder.marker is not None]
    return {marker.variant: sum(file.size for file in marker.files) for marker in markers}


def _path(marker: Marker) -> str:
    return f"served/{marker.variant}"


def _artifact(one: DesiredRelease) -> Artifact:
    file = StoredFile(path="model.onnx", digest="", size=one.predicted_bytes)
    return Artifact(digest="", build_key=one.release.recipe.build_key, files=(file,))


def _marker(one: DesiredRelease) -> Marker:
    release = one.release
    # As planner.variant_facts counts: large files are shared with the store.
    copied = one.predicted_bytes if one.predicted_bytes < ALWAYS_COPIED else 0
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
        files=(StoredFile(path="copied", digest="", size=copied),),
    )
