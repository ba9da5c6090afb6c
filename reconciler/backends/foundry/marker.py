"""`release.json` as plain data: whose a served folder is and what it must hold.

On disk it is sealed with a digest of its own content, which finds damage, not forgery: whoever can write
there can also serve another model. A marker of an unknown version is refused rather than guessed at; its
folder is then repaired.
"""

from __future__ import annotations

from typing import Any

from reconciler.domain.release import Marker
from reconciler.domain.stored_file import StoredFile
from reconciler.domain.value import as_dict

FORMAT_VERSION = 1


class MarkerUnreadable(ValueError):
    """The data is not a marker that this version knows."""


def marker_to_json(marker: Marker) -> dict[str, object]:
    files = [as_dict(file) for file in marker.files]
    return {"formatVersion": FORMAT_VERSION, **as_dict(marker), "files": files}


def marker_from_json(document: Any) -> Marker:
    try:
        version = document.pop("formatVersion")
        if version != FORMAT_VERSION:
            raise MarkerUnreadable(f"format version {version!r} is not known here")
        files = tuple(StoredFile(**file) for file in document.pop("files"))
        return Marker(files=files, **document)
    except (AttributeError, KeyError, TypeError) as error:
        raise MarkerUnreadable(f"not a marker: {error}") from None
