"""Where the scrub stands, on disk, in a folder of its own: it is written by the thread that scrubs, also while a pass
works, and a pass sweeps its own folders."""

from __future__ import annotations

import contextlib
import os

from reconciler.domain.errors import DiskFull
from reconciler.domain.layout import Layout
from reconciler.domain.value import as_dict
from reconciler.host import durable
from reconciler.host.sealed import Damaged
from reconciler.state import documents
from reconciler.state.documents import Document
from reconciler.state.scrub_progress import Round, Scrubbed


def read_scrubbed(layout: Layout) -> Scrubbed:
    """What cannot be trusted counts as nothing read."""
    try:
        return documents.read(_path(layout), _form) or Scrubbed()
    except Damaged:
        return Scrubbed()


def write_scrubbed(layout: Layout, scrubbed: Scrubbed) -> None:
    """On a full disk it is lost: after a restart some bytes are read twice."""
    with contextlib.suppress(DiskFull):
        documents.write(
            _path(layout),
            {"last": as_dict(scrubbed.last), "now": as_dict(scrubbed.now), "position": scrubbed.position},
        )


def sweep(layout: Layout) -> None:
    """What a killed writer left. Before the thread begins."""
    durable.sweep_temporaries(os.path.dirname(_path(layout)))


def _form(document: Document) -> Scrubbed:
    try:
        last, now, position = document["last"], document["now"], document["position"]
        return Scrubbed(last=_round(last), now=_round(now), position=str(position))
    except (LookupError, TypeError, AttributeError):
        raise Damaged("it is not in the form of a scrub") from None


def _round(said: Document) -> Round:
    return Round(
        began=str(said["began"]),
        ended=str(said["ended"]),
        checked=int(said["checked"]),
        total=int(said["total"]),
        found=int(said["found"]),
    )


def _path(layout: Layout) -> str:
    return layout.at("records", "scrub", "scrub.json")
