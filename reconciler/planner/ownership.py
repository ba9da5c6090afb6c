"""Which served folders are ours: by their own marker, or, where that is damaged, by what else speaks for them. Pure."""

from reconciler.domain.observed import Observed, ServedFolder
from reconciler.domain.recorded import Recorded


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
