"""One variant as this machine knows it: what the steps of its plan are decided by. Pure; part of planner.plan."""

from collections.abc import Container
from dataclasses import dataclass

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.observed import Observed, Registration, ServedFolder
from reconciler.domain.recorded import Recorded, RecordedRelease
from reconciler.domain.release import ALWAYS_COPIED, Marker


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One variant as this machine knows it. `registrations` are ours only, highest number first."""

    wanted: DesiredRelease
    observed: Observed
    recorded: Recorded
    registrations: tuple[Registration, ...]
    folders: dict[int, ServedFolder]
    remembered: RecordedRelease | None
    now: str
    running: bool  # the download or the conversion is under way

    @property
    def artifact_is_held(self) -> bool:
        """Or will be, when the store is mended: that comes first in a plan."""
        key = self.wanted.release.recipe.build_key
        return key in self.observed.artifacts or key in self.observed.mendable

    @property
    def artifact_is_rotten(self) -> bool:
        return not self.artifact_is_held and (self.wanted.release.recipe.build_key in self.observed.damaged_artifacts)

    def folder_is_whole(self, number: int) -> bool:
        folder = self.folders.get(number)
        return (
            folder is not None
            and folder.marker is not None
            and folder.marker.release == self.wanted.release.digest
            and self.observed.owns(folder.marker.owner)
            and not folder.damage
        )


def facts_of(
    wanted: DesiredRelease, observed: Observed, recorded: Recorded, now: str, running: Container[str]
) -> Facts:
    mine = observed.registrations_of.get(wanted.variant, [])
    return Facts(
        wanted=wanted,
        observed=observed,
        recorded=recorded,
        registrations=tuple(sorted(mine, key=lambda r: -r.number)),
        folders={folder.number: folder for folder in observed.folders_of.get(wanted.variant, [])},
        remembered=recorded.releases.get(wanted.variant),
        now=now,
        running=any(key in running for key in wanted.work_keys),
    )


def number_of_wanted(facts: Facts) -> int | None:
    """The number under which the wanted release is, or was, served here. The world is asked first; the records only
    know of what has vanished without trace."""
    digest = facts.wanted.release.digest
    for registration in facts.registrations:
        if registration.release == digest:
            return registration.number
    remembered = facts.remembered
    if remembered is not None and remembered.release == digest:
        return remembered.number
    return None


def what_is_broken(facts: Facts, number: int) -> tuple[str, ...]:
    folder = facts.folders.get(number)
    registration = next((r for r in facts.registrations if r.number == number), None)
    broken = []
    if registration is None:
        broken.append("registration removed")
    elif folder is not None and registration.path.rstrip("/\\") != folder.path:
        broken.append("registration points elsewhere")
    elif registration.release != facts.wanted.release.digest:
        broken.append("registration names another release")
    if folder is None:
        broken.append("served folder missing")
    elif folder.marker is None:
        broken.append("release.json unreadable")
    elif folder.damage:
        broken.extend(folder.damage)
    elif not facts.folder_is_whole(number):
        broken.append("served folder holds another release, or another root's")
    return tuple(broken)


def predecessor_of(facts: Facts) -> Marker | RecordedRelease | None:
    """What the variant is served as now: the folder behind the newest registration, else what the records say."""
    for registration in facts.registrations:
        folder = facts.folders.get(registration.number)
        if folder is not None and folder.marker is not None:
            return folder.marker
    return facts.remembered


def next_number(facts: Facts) -> int:
    """One more than any number this name ever had: an id is never reused for other content (foundry-local.md, 2)."""
    seen = [
        *(r.number for r in facts.registrations),
        *facts.folders,
        facts.recorded.high_water.get(facts.wanted.variant, 0),
        facts.observed.occupied.get(facts.wanted.variant, 0),
    ]
    return max(seen, default=0) + 1


def copied_bytes(facts: Facts) -> int:
    """What a served folder adds to the disk beside the store: large files are shared with it."""
    artifact = facts.observed.artifacts.get(facts.wanted.release.recipe.build_key)
    if artifact is not None:
        return sum(file.size for file in artifact.files if file.size < ALWAYS_COPIED)
    predicted = facts.wanted.predicted_bytes
    return predicted if predicted < ALWAYS_COPIED else 0
