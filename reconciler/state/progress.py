"""How far the threads beside a pass have come: the scrub, each notification sink, and downloads; what was seen of
other machines' reports; and the last benchmark, which `reconciler bench` writes. Small documents in folders of their
own, because they are written while a pass works, and a pass sweeps its folders.

A damaged document, or one of another version, counts as none. When the disk refuses one, only the thread knows its
position: after a restart some bytes are read twice, something is sent twice, or a budget is larger than it was. Times
are RFC 3339, UTC.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from reconciler.domain.errors import HostRefused
from reconciler.domain.layout import Layout
from reconciler.domain.rollout import RolloutMemory
from reconciler.domain.text.units import Count, size_text
from reconciler.host import durable
from reconciler.host.codec import Codec
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
_PLAIN: Codec[Document | None] = Codec(dict[str, object])
_FOLDERS = ("scrub", "downloads", "rollouts", "told", "benchmark")


def scrub_progress(layout: Layout) -> Stored[Scrubbed]:
    return _Progress(_path(layout, "scrub", "scrub"), _SCRUBBED, Scrubbed())


def download_progress(layout: Layout) -> Stored[Downloaded]:
    return _Progress(_path(layout, "downloads", "downloads"), _DOWNLOADED, Downloaded())


def rollout_progress(layout: Layout) -> Stored[RolloutMemory]:
    return _Progress(_path(layout, "rollouts", "rollouts"), _ROLLOUTS, RolloutMemory())


def delivery_progress(layout: Layout, sink: str) -> Stored[Document | None]:
    return _Progress(_path(layout, "told", sink), _PLAIN, None)


def report_progress(layout: Layout) -> Stored[Reported]:
    return _Progress(_path(layout, "told", "report"), _REPORTED, Reported())


def last_benchmark(layout: Layout) -> Stored[Document | None]:
    """As pages show it. For people only: no gate and no plan depends on it."""
    return Stored(_path(layout, "benchmark", "last"), _PLAIN, None)


def sweep(layout: Layout) -> None:
    """Remove what a killed writer left. Call it before the threads begin."""
    for folder in _FOLDERS:
        durable.sweep_temporaries(layout.at("records", folder))


def _path(layout: Layout, folder: str, name: str) -> str:
    return layout.at("records", folder, f"{name}{ENDING}")
