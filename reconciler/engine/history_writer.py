"""Writes what serves, what went and what was rejected: into the history of each variant and the record of its release.

A history is only needed for roll-backs. Losing it loses those, and nothing that serves.
"""

from functools import partial

from reconciler.domain import history
from reconciler.domain.history import REJECTED, HistoryEntry
from reconciler.domain.plan import Outcome
from reconciler.domain.recorded import RecordedRelease
from reconciler.domain.release import Marker, Release
from reconciler.engine.machine import Machine, served_folders
from reconciler.engine.pass_context import PassContext
from reconciler.engine.planning import Snapshot
from reconciler.host.clock import now


def record_served(marker: Marker, release: Release, machine: Machine) -> None:
    """The one place that writes down what serves: `release`, which was just registered as `marker` says."""
    _remember(marker, release, machine)
    record_release(marker, machine)  # order: a successor is recorded, then its predecessor goes


def record_release(marker: Marker, machine: Machine) -> None:
    """The name leads to this release, which stands in the history already."""
    machine.records.save_release(RecordedRelease.from_marker(marker, registered=now()))


def catch_up(seen: Snapshot, machine: Machine) -> None:
    """What serves or went and was not written down, because the process that did it ended before it could. Done before
    a predecessor is retired, so that the history has that one too."""
    for wanted in seen.resolution.desired.wanted:
        folder = seen.observed.folder_behind(seen.observed.serving(wanted.variant))
        marker = folder.marker if folder is not None else None
        if marker is None or marker.release != wanted.release.digest:
            continue
        past = machine.records.history(wanted.variant)
        if all(one.number != marker.number for one in past):
            _remember(marker, wanted.release, machine)
        if marker.owner == machine.owner:
            machine.records.follow(RecordedRelease.from_marker(marker, registered=now()))
        for number in history.missing_retirements(past, _present(seen, wanted.variant)):
            remember_retired(wanted.variant, number, machine, serving=marker.number)


def _remember(marker: Marker, release: Release, machine: Machine) -> None:
    """In the history, once; with what served before where that is missing (a root of an earlier version has none)."""
    known = {one.number for one in machine.records.history(marker.variant)}
    for path, older in _older(marker, machine):
        if older.number not in known and (found := machine.backend.release_in(path, older)) is not None:
            _add(older, found, older.created, machine)
    if marker.number not in known:
        _add(marker, release, now(), machine)


def _present(seen: Snapshot, variant: str) -> set[int]:
    """The numbers of which a name or a folder is there."""
    names = {one.number for one in seen.observed.registrations_of.get(variant, ())}
    return names | {one.number for one in seen.observed.folders_of.get(variant, ())}


def remember_taken_back(variant: str, number: int, machine: Machine, why: str) -> None:
    machine.records.change_history(variant, partial(history.taken_back, number=number, why=why))


def remember_retired(variant: str, number: int, machine: Machine, *, serving: int = 0) -> None:
    change = partial(history.retired, number=number, now=now(), serving=serving)
    machine.records.change_history(variant, change)


def remember_rejected(outcome: Outcome, context: PassContext) -> None:
    """A candidate that was never served, and why."""
    wanted = context.wanted(outcome.change.variant)
    past = HistoryEntry(
        number=0,
        digest=wanted.release.digest,
        release=wanted.release,
        artifact="",
        revision=context.resolution.desired.revision,
        registered=now(),
        outcome=REJECTED,
        message=f"{outcome.code}: {outcome.message}",
    )
    records = context.machine.records
    records.change_history(wanted.variant, partial(history.rejected, past=past))


def _add(marker: Marker, release: Release, when: str, machine: Machine) -> None:
    past = HistoryEntry(
        number=marker.number,
        digest=marker.release,
        release=release,
        artifact=marker.artifact,
        revision=marker.revision,
        registered=when,
    )
    machine.records.change_history(marker.variant, partial(history.registered, past=past))


def _older(marker: Marker, machine: Machine) -> list[tuple[str, Marker]]:
    """What is registered besides. A folder that nobody registered never served: its maker died before."""
    registered = {one.id for one in machine.backend.registrations() if one.owner == machine.owner}
    folders = [f for f in served_folders(machine) if f.variant == marker.variant and f.number < marker.number]
    whole = [(f.path, f.marker) for f in folders if f.marker is not None and not f.damage]
    return sorted(
        ((path, one) for path, one in whole if one.owner == machine.owner and one.id in registered),
        key=lambda p: p[1].number,
    )
