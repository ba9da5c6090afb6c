"""`release.json` as plain data: whose a served folder is and what it must hold.

On disk it is sealed with a digest of its own content, which finds damage, not forgery: a user who can write there can
also serve another model. A marker of an unknown version is refused rather than guessed at; its folder is then repaired.
"""

from typing import Any

from reconciler.domain.release import Marker
from reconciler.host.codec import Codec, Misformed

FORMAT_VERSION = 1

_CODEC = Codec(Marker)


class MarkerUnreadable(ValueError):
    """The data is not a marker that this version knows."""


def marker_to_json(marker: Marker) -> dict[str, Any]:
    return {"formatVersion": FORMAT_VERSION, **_CODEC.write(marker)}


def marker_from_json(document: object) -> Marker:
    version = document.get("formatVersion") if isinstance(document, dict) else None
    if not isinstance(document, dict) or version != FORMAT_VERSION:
        raise MarkerUnreadable(f"format version {version!r} is not known here")
    try:
        return _CODEC.read({name: held for name, held in document.items() if name != "formatVersion"})
    except Misformed as error:
        raise MarkerUnreadable(f"not a marker: {error}") from None
