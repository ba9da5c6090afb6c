"""The progress of the scrub, on disk. It has a folder of its own, because the thread that scrubs writes it while a pass
works, and a pass sweeps its own folders."""

import contextlib
import os

from reconciler.domain.errors import DiskFull
from reconciler.domain.layout import Layout
from reconciler.host import durable
from reconciler.state.documents import RecordCodec, Stored
from reconciler.state.scrub_progress import Scrubbed

_CODEC = RecordCodec(Scrubbed)


def read_scrubbed(layout: Layout) -> Scrubbed:
    """A damaged document counts as no progress."""
    return _stored(layout).read()


def write_scrubbed(layout: Layout, scrubbed: Scrubbed) -> None:
    """On a full disk it is lost: after a restart some bytes are read twice."""
    with contextlib.suppress(DiskFull):
        _stored(layout).write(scrubbed)


def sweep(layout: Layout) -> None:
    """Removes what a killed writer left. Call it before the thread begins."""
    durable.sweep_temporaries(os.path.dirname(_stored(layout).path))


def _stored(layout: Layout) -> Stored[Scrubbed]:
    return Stored(layout.at("records", "scrub", "scrub.json"), _CODEC, Scrubbed())
