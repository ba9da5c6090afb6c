"""How far the threads beside a pass have come: the scrub, each notification sink, and downloads; and what was seen of
other machines' reports. Small documents in folders of their own, because these threads write them while a pass works,
and a pass sweeps its folders.

A damaged document, or one of another version, counts as none. When the disk refuses one, only the thread knows its
position: after a restart some bytes are read twice, something is sent twice, or a budget is larger than it was. Times
are RFC 3339, UTC.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from reconciler.domain.errors import HostRefused
from reconciler.domain.layout import Layout
from reconciler.domain.rollout import RolloutMemory
from reconciler.domain.text.units import Count, size_text
from reconciler.host import durable
from reconciler.host.codec import Codec
from reconciler.state.benchmarks import benchmark_folder
from reconciler.state.documents import ENDING, Document, RecordCodec, Stored

T = TypeVar("T")


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


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """Bytes of a daily budget that are used, by the date of the day."""

    days: Mapping[str, Count] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reported:
    """The last report that arrived: its counter, which no other has; what it said (a digest), where it went and when;
    `marks` are what it left there beside itself. `why` no later one arrives, and since when; "" where it is well."""

    counter: Count = 0
    said: str = ""
    to: str = ""
    when: str = ""
    marks: tuple[str, ...] = ()
    why: str = ""
    failing_since: str = ""

    def of(self, to: str) -> "Reported":
        """What is known of this place; the counter is one for all places."""
        return self if self.to == to else Reported(counter=self.counter, to=to)

    def __str__(self) -> str:
        last = f"the last arrived at {self.when}" if self.when else "none has arrived yet"
        if self.why:
            return f"no report arrives at {self.to} since {self.failing_since}: {self.why}; {last}"
        return f"to {self.to}: {last}"


class _Progress(Stored[T]):
    def write(self, value: T) -> None:
        with contextlib.suppress(HostRefused, OSError):
            super().write(value)


_SCRUBBED = RecordCodec(Scrubbed)
_DOWNLOADED = RecordCodec(Downloaded)
_REPORTED = RecordCodec(Reported)
_ROLLOUTS = RecordCodec(RolloutMemory)
_DELIVERED: Codec[Document | None] = Codec(dict[str, object])


def scrub_progress(layout: Layout) -> Stored[Scrubbed]:
    return _Progress(os.path.join(_scrub(layout), f"scrub{ENDING}"), _SCRUBBED, Scrubbed())


def download_progress(layout: Layout) -> Stored[Downloaded]:
    return _Progress(os.path.join(_downloads(layout), f"downloads{ENDING}"), _DOWNLOADED, Downloaded())


def rollout_progress(layout: Layout) -> Stored[RolloutMemory]:
    return _Progress(os.path.join(_rollouts(layout), f"rollouts{ENDING}"), _ROLLOUTS, RolloutMemory())


def delivery_progress(layout: Layout, sink: str) -> Stored[Document | None]:
    return _Progress(os.path.join(_deliveries(layout), f"{sink}{ENDING}"), _DELIVERED, None)


def report_progress(layout: Layout) -> Stored[Reported]:
    return _Progress(os.path.join(_deliveries(layout), f"report{ENDING}"), _REPORTED, Reported())


def sweep(layout: Layout) -> None:
    """Remove what a killed writer left, here and of a benchmark. Call it before the threads begin."""
    kept = (_scrub(layout), _deliveries(layout), _downloads(layout), _rollouts(layout))
    for folder in (*kept, benchmark_folder(layout)):
        durable.sweep_temporaries(folder)


def _scrub(layout: Layout) -> str:
    return layout.at("records", "scrub")


def _downloads(layout: Layout) -> str:
    return layout.at("records", "downloads")


def _rollouts(layout: Layout) -> str:
    return layout.at("records", "rollouts")


def _deliveries(layout: Layout) -> str:
    return layout.at("records", "told")
