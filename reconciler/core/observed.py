"""What this machine holds and serves right now, as plain values."""

from __future__ import annotations

from reconciler.core.release import Artifact, Marker
from reconciler.core.value import fresh, value


@value
class Registration:
    """One entry of Foundry Local's local catalog. `properties` are its string properties (ours begin with
    `reconciler_`)."""

    id: str
    path: str
    properties: dict[str, str] = fresh(factory=dict)

    @property
    def name(self) -> str:
        return self.id.rpartition(":")[0]

    @property
    def number(self) -> int:
        return int(self.id.rpartition(":")[2])

    @property
    def owner(self) -> str:
        return self.properties.get("reconciler_owner", "")


@value
class ServedFolder:
    """One `served/<variant>/<n>`. `marker` is None when release.json is missing or unreadable; `damage` names the files
    that are missing, changed or foreign."""

    path: str
    variant: str
    number: int
    marker: Marker | None
    damage: tuple[str, ...] = ()


@value
class Observed:
    """`artifacts` are whole and by build key; `damaged_artifacts` are listed in the store but have lost or changed
    blobs. `owner` is this root's mark. Sizes in bytes."""

    owner: str = ""
    artifacts: dict[str, Artifact] = fresh(factory=dict)
    damaged_artifacts: dict[str, tuple[str, ...]] = fresh(factory=dict)
    folders: tuple[ServedFolder, ...] = ()
    registrations: tuple[Registration, ...] = ()
    disk_free: int = 0
