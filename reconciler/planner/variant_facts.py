"""One variant as this machine knows it: what the steps of its plan are decided by. Pure; part of planner.plan."""

from dataclasses import dataclass
from functools import cached_property

from reconciler.domain.changes import pull_key
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.machine.maintenance_windows import Permission
from reconciler.domain.machine.registries import LOCAL, REGISTRY_ONLY, Offer
from reconciler.domain.machine.trust import Refusal
from reconciler.domain.observed import Observed, Registration, ServedFolder
from reconciler.domain.recorded import Recorded
from reconciler.domain.release import ALWAYS_COPIED, ServedRelease


@dataclass(frozen=True, kw_only=True)
class VariantFacts:
    wanted: DesiredRelease
    observed: Observed
    recorded: Recorded
    now: str = ""
    running: bool = False  # its download or its conversion is under way

    @cached_property
    def registrations(self) -> list[Registration]:
        """The highest number first."""
        mine = self.observed.registrations_of.get(self.wanted.variant, [])
        return sorted(mine, key=lambda one: -one.number)

    @cached_property
    def folders(self) -> dict[int, ServedFolder]:
        return {folder.number: folder for folder in self.observed.folders_of.get(self.wanted.variant, [])}

    @property
    def build_key(self) -> str:
        return self.wanted.release.recipe.build_key

    @property
    def artifact_is_held(self) -> bool:
        """Or will be, when the store is repaired: that comes first in a plan."""
        return self.build_key in self.observed.artifacts or self.build_key in self.observed.mendable

    @property
    def artifact_is_damaged(self) -> bool:
        return not self.artifact_is_held and self.build_key in self.observed.damaged_artifacts

    @cached_property
    def offer(self) -> Offer | None:
        """What a registry has of it. A machine that may convert does so where pulling that build failed before."""
        if self.observed.convert == LOCAL or not self.wanted.recipe_is_known:
            return None
        found = self.observed.answers.offers.get(self.build_key)
        if found is None or self.observed.convert == REGISTRY_ONLY:
            return found
        failed = any(one.key == pull_key(self.build_key, found) for one in self.recorded.failures)
        return None if failed else found

    @property
    def turn(self) -> Permission | None:
        """When the registries may be asked for it, where that is not now."""
        asks = self.observed.convert != LOCAL and self.wanted.recipe_is_known
        return self.observed.answers.turn if asks else None

    @property
    def awaits_build(self) -> bool:
        only_pulls = self.observed.convert == REGISTRY_ONLY or not self.wanted.source_is_here
        return only_pulls and self.wanted.recipe_is_known

    @property
    def compares(self) -> bool:
        """Whether this machine compares its artifact with its original: one of its own, or one to come."""
        artifact = self.observed.artifacts.get(self.build_key)
        pulled = artifact is not None and artifact.digest in self.recorded.origins
        is_able = self.observed.convert != REGISTRY_ONLY and not self.observed.lacks_to_compare
        return is_able and self.wanted.source_is_here and not pulled

    @property
    def stored_refusal(self) -> Refusal | None:
        """Why what the store has of it must not serve anew, or its build key must not."""
        refusal = self.observed.refused.get(self.build_key)
        return refusal if refusal is not None and refusal.enforced else None

    @property
    def refusal(self) -> Refusal | None:
        """Why no build of it can be had: no other is offered, and none is made here."""
        stored, offered = self.stored_refusal, self.observed.answers.refused.get(self.build_key)
        if self.awaits_build:
            return offered if offered is not None and offered.enforced else stored
        return stored if stored is not None and stored.final else None

    @property
    def why_not_offered(self) -> str:
        if self.observed.answers.unreached:
            return f"{self.observed.answers.code}: {self.observed.answers.unreached}"
        if not self.wanted.source_is_here:
            return "no archive that was imported has it, and its source is not on this machine"
        because = self.observed.serves_only or "its configuration says convert: registry-only"
        return f"no registry of this machine has it yet, and {because}"

    @property
    def served_number(self) -> int | None:
        """The number under which the wanted release is, or was, served here. The catalog is asked first: the records
        only know of what has vanished without a trace."""
        digest, recorded = self.wanted.release.digest, self.recorded.releases.get(self.wanted.variant)
        for registration in self.registrations:
            if registration.release == digest:
                return registration.number
        return recorded.number if recorded is not None and recorded.release == digest else None

    @property
    def predecessor(self) -> ServedRelease | None:
        """What the variant is served as now: the folder behind the newest registration, else what the records say."""
        behind = (self.folders.get(registration.number) for registration in self.registrations)
        markers = (folder.marker for folder in behind if folder is not None and folder.marker is not None)
        return next(markers, self.recorded.releases.get(self.wanted.variant))

    @property
    def next_number(self) -> int:
        """One more than any number this name ever had: an id is never reused for other content."""
        variant = self.wanted.variant
        given = self.recorded.high_water.get(variant, 0), self.observed.occupied.get(variant, 0)
        return max(*given, *self.folders, *(one.number for one in self.registrations)) + 1

    @property
    def copied_bytes(self) -> int:
        """What a served folder adds to the disk beside the store: large files are shared with it."""
        artifact = self.observed.artifacts.get(self.wanted.release.recipe.build_key)
        sizes = [file.size for file in artifact.files] if artifact else [self.wanted.predicted_bytes]
        return sum(size for size in sizes if size < ALWAYS_COPIED)

    def folder_is_whole(self, number: int) -> bool:
        folder = self.folders.get(number)
        return (
            folder is not None
            and folder.marker is not None
            and folder.marker.release == self.wanted.release.digest
            and self.observed.owns(folder.marker.owner)
            and not folder.damage
        )

    def damage_of(self, number: int) -> tuple[str, ...]:
        """What is wrong with the wanted release as it is served under `number`: its registration, then its folder."""
        folder, digest = self.folders.get(number), self.wanted.release.digest
        registration = next((one for one in self.registrations if one.number == number), None)
        found = []
        if registration is None:
            found.append("registration removed")
        elif folder is not None and registration.path.rstrip("/\\") != folder.path:
            found.append("registration points elsewhere")
        elif registration.release != digest:
            found.append("registration names another release")
        else:
            found += registration.damage
        if folder is None:
            found.append("served folder missing")
        elif folder.marker is None:
            found.append("release.json unreadable")
        elif folder.damage or self.folder_is_whole(number):
            found += folder.damage
        else:
            found.append("served folder holds another release, or another root's")
        return tuple(found)


def serves(variant: str, observed: Observed) -> bool:
    """Whether a release of it is served whole by us, be it the one that git declares now or not."""
    folder = observed.folder_behind(observed.serving(variant))
    return folder is not None and folder.marker is not None and not folder.damage


def is_ours(folder: ServedFolder, observed: Observed, recorded: Recorded) -> bool:
    """A marker decides. Without a readable one: a registration of ours that leads there, or the release's record."""
    if folder.marker is not None:
        return observed.owns(folder.marker.owner)  # guard: only our folders
    registered = any(
        observed.owns(r.owner) and r.path.rstrip("/\\") == folder.path
        for r in observed.registrations_of.get(folder.variant, [])
    )
    release = recorded.releases.get(folder.variant)
    return registered or (release is not None and release.number == folder.number)
