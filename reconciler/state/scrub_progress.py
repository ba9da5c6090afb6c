"""How far the scrub has come: a document, and its words for `status` and `doctor`. Times are RFC 3339, UTC.

It has a folder of its own, because the scrubbing thread writes it while a pass works, and a pass sweeps its folders.
"""

import contextlib
import os
from dataclasses import dataclass

from reconciler.domain.errors import DiskFull
from reconciler.domain.layout import Layout
from reconciler.domain.text.units import size_text
from reconciler.host import durable
from reconciler.state.documents import RecordCodec, Stored


@dataclass(frozen=True, kw_only=True)
class Round:
    """One reading of all files. `found` counts those whose bytes were not what their stamps promised."""

    began: str = ""
    ended: str = ""
    checked: int = 0  # bytes
    total: int = 0
    found: int = 0


@dataclass(frozen=True, kw_only=True)
class Scrubbed:
    """`last` is the newest complete round, `now` the current one (`began` is "" when there is none). `position` is the
    last file read, below the root, in the order of names."""

    last: Round = Round()
    now: Round = Round()
    position: str = ""

    def __str__(self) -> str:
        text = "no complete scrub yet"
        if self.last.ended:
            done = f"{size_text(self.last.checked)}, {self.last.found} damaged"
            text = f"every byte was read by {self.last.ended} ({done})"
        if self.now.began:
            text += f"; {size_text(self.now.checked)} of {size_text(self.now.total)} read since {self.now.began}"
        return text


_CODEC = RecordCodec(Scrubbed)


def read_scrubbed(layout: Layout) -> Scrubbed:
    """A damaged document counts as no progress."""
    return _stored(layout).read()


def write_scrubbed(layout: Layout, scrubbed: Scrubbed) -> None:
    """On a full disk it is lost: after a restart some bytes are read twice."""
    with contextlib.suppress(DiskFull):
        _stored(layout).write(scrubbed)


def sweep(layout: Layout) -> None:
    """Remove what a killed writer left. Call it before the thread begins."""
    durable.sweep_temporaries(os.path.dirname(_stored(layout).path))


def _stored(layout: Layout) -> Stored[Scrubbed]:
    return Stored(layout.at("records", "scrub", "scrub.json"), _CODEC, Scrubbed())
