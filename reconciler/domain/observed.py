"""What this machine holds and serves right now, as plain values."""

from dataclasses import dataclass, field
from functools import cached_property

from reconciler.domain.machine.facts import Memory, StorageLimits
from reconciler.domain.machine.maintenance_windows import Permissions
from reconciler.domain.machine.registries import LOCAL, ConvertMode, RegistryAnswers
from reconciler.domain.machine.trust import Refusal
from reconciler.domain.plain_data import grouped
from reconciler.domain.plan import Held
from reconciler.domain.release import Artifact, Marker
from reconciler.domain.targets.tasks import CHAT

PREFIX = "reconciler_"  # of our properties in a catalog that others write to as well


def own_properties(**texts: str | None) -> dict[str, str]:
    """What the catalog keeps with a registration of ours, by the names of a marker's fields."""
    return {PREFIX + name: text for name, text in texts.items() if text is not None}


TASK = "task"  # the property that Foundry Local itself goes by


def task_properties(task: str) -> dict[str, str]:
    """Nothing for chat, which is what Foundry Local takes for granted."""
    return {} if task == CHAT else {TASK: task}


def properties_of(marker: Marker) -> dict[str, str]:
    """Enough to know it again, readable from any process."""
    names = ("owner", "release", "artifact", "build_key", "model", "precision", "revision")
    return task_properties(marker.task) | own_properties(**{name: getattr(marker, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One name in a back end's catalog. `properties` are texts that the catalog keeps with it; ours are those of
    `own_properties`. `damage` says why the program does not serve it as it was registered, if so: registering it again
    mends that."""

    id: str
    path: str
    properties: dict[str, str] = field(default_factory=dict)
    damage: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()  # which of several have it; none: there is one

    @cached_property
    def name(self) -> str:
        return self.id.rpartition(":")[0]

    @cached_property
    def number(self) -> int:
        return int(self.id.rpartition(":")[2])

    @cached_property
    def owner(self) -> str:
        return self._own("owner")

    @cached_property
    def release(self) -> str:
        return self._own("release")

    @cached_property
    def build_key(self) -> str:
        return self._own("build_key")

    @cached_property
    def model(self) -> str:
        return self._own("model")

    def _own(self, name: str) -> str:
        return self.properties.get(PREFIX + name, "")


@dataclass(frozen=True, kw_only=True)
class ServedFolder:
    """One `served/<variant>/<n>`. `marker` is None when release.json is missing or unreadable; `damage` names the files
    that are missing, changed or foreign."""

    path: str
    variant: str
    number: int
    marker: Marker | None
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Observed:
    """`artifacts` are whole and by build key; `damaged_artifacts` are listed in the store but have lost or changed
    blobs, or a manifest that cannot be read; for those that are also in `mendable`, whole bytes are at hand. `owner`
    is this root's mark. Sizes in bytes."""

    owner: str = ""
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    damaged_artifacts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    mendable: frozenset[str] = frozenset()
    folders: tuple[ServedFolder, ...] = ()
    registrations: tuple[Registration, ...] = ()
    disk_free: int = 0
    locked_sources: dict[str, int] = field(default_factory=dict)  # bytes by digest, also of what came only in part
    disk_used: int = 0  # by the root; only counted where there is a quota
    limits: StorageLimits = StorageLimits()
    memory: Memory = Memory()
    in_use: frozenset[str] = frozenset()  # ids whose files another process has mapped; asked only when one is to go
    unreadable: dict[str, str] = field(default_factory=dict)  # by variant: why its served folders cannot be listed
    convert: ConvertMode = LOCAL  # where missing artifacts come from
    serves_only: str = ""  # why this machine cannot convert; "" when it can
    lacks_to_compare: str = ""  # why no ready ONNX model is compared with its original here; "" where it can be
    answers: RegistryAnswers = field(default_factory=RegistryAnswers)
    refused: dict[str, Refusal] = field(default_factory=dict)  # by build key: what must not serve anew, or is doubted
    permissions: Permissions = field(default_factory=Permissions)
    rings: dict[str, Held] = field(default_factory=dict)  # by variant: why its new release waits for other machines
    occupied: dict[str, int] = field(default_factory=dict)  # by variant: the highest number that anything lies at

    @cached_property
    def usable(self) -> frozenset[str]:
        """Build keys of the artifacts that may serve anew."""
        refused = {key for key, one in self.refused.items() if one.enforced}
        return frozenset(self.artifacts.keys() - refused)

    @cached_property
    def registrations_of(self) -> dict[str, list[Registration]]:
        """By name, ours and those of others."""
        return grouped(self.registrations, lambda one: one.name)

    @cached_property
    def folders_of(self) -> dict[str, list[ServedFolder]]:
        """By variant."""
        return grouped(self.folders, lambda one: one.variant)

    def owns(self, owner: str) -> bool:
        """Whether this mark is ours. A root that has none yet owns nothing."""
        return bool(self.owner) and owner == self.owner

    def serving(self, variant: str) -> Registration | None:
        """The registration of ours that the variant's name leads to: the one with the highest number."""
        ours = [r for r in self.registrations_of.get(variant, []) if self.owns(r.owner)]
        return max(ours, key=lambda r: r.number, default=None)

    def folder_behind(self, registration: Registration | None) -> ServedFolder | None:
        if registration is None:
            return None
        path = registration.path.rstrip("/\\")
        return next((f for f in self.folders_of.get(registration.name, []) if f.path == path), None)
