"""`release.json`: whose a served folder is and what it must hold, with a digest of its own content.

The digest finds damage, not forgery: whoever can write here can also serve another model. A marker of an
unknown version is refused rather than guessed at; the folder is then repaired from the store.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from reconciler.core import digest
from reconciler.core.release import Marker, StoredFile

FORMAT_VERSION = 1


class MarkerUnreadable(ValueError):
    """The text is not a marker that this program wrote."""


def format_marker(marker: Marker) -> bytes:
    content = {"formatVersion": FORMAT_VERSION, **asdict(marker)}
    document = {**content, "sha256": digest.of_value(content)}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def parse_marker(text: bytes) -> Marker:
    try:
        return _marker(json.loads(text))
    except MarkerUnreadable:
        raise
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise MarkerUnreadable(f"not a marker: {error}") from None


def _marker(document: dict[str, Any]) -> Marker:
    claimed = document.pop("sha256")
    if claimed != digest.of_value(document):
        raise MarkerUnreadable("the content does not match its digest")
    version = document.pop("formatVersion")
    if version != FORMAT_VERSION:
        raise MarkerUnreadable(f"format version {version!r} is not known here")
    files = tuple(StoredFile(**file) for file in document.pop("files"))
    return Marker(files=files, **document)
