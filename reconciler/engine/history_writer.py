"""What the history of a variant is told: what came to serve, what went, what was rejected.

A history is only ever needed to go back. Losing it loses that, and nothing that serves.
"""

from __future__ import annotations

import contextlib
import json
import os
from functools import partial

from reconciler.domain import history
from reconciler.domain.changes import Outcome
from reconciler.domain.history import REJECTED, HistoryEntry
from reconciler.domain.manifest import Generation, Target
from reconciler.domain.release import Marker, Recipe, Release
from reconciler.engine.machine import Machine, served_folders
from reconciler.engine.pass_context import PassContext
from reconciler.engine.planning import Snapshot
from reconciler.host.clock import now


def remember_registered(marker: Marker, release: Release, machine: Machine) -> None:
    """`release` is what was just registered as `marker` says. What served before it is written down too, if it is not
    yet: a root of an earlier version has no history."""
    known = {one.number for one in machine.records.history(marker.variant)}
    for path, older in _older(marker, machine):
        if older.number not in known and (found := _read_back(path, older)) is not None:
            _add(older, found, older.created, machine)
    if marker.number not in known:
        _add(marker, release, now(), machine)


def remember_served(look: Snapshot, machine: Machine) -> None:
    """What serves and is not written down: whoever registered it died before it could. Before its predecessor is
    retired: that one is written down, too. And what is gone, and was not written down as gone."""
    for wanted in look.resolution.desired.wanted:
        folder = look.observed.folder_behind(look.observed.serving(wanted.variant))
        marker = folder.marker if folder is not None else None
        if marker is None or marker.release != wanted.release.digest:
            continue
        past = machine.records.history(wanted.variant)
        if all(one.number != marker.number for one in past):
            remember_registered(marker, wanted.release, machine)
        for number in history.missing_retirements(past, _present(look, wanted.variant)):
            remember_retired(wanted.variant, number, machine, serving=marker.number)


def _present(look: Snapshot, variant: str) -> set[int]:
    """The numbers of which a name or a folder is there."""
    names = {one.number for one in look.observed.registrations_of.get(variant, ())}
    return names | {one.number for one in look.observed.folders_of.get(variant, ())}


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


def _read_back(path: str, marker: Marker) -> Release | None:
    """The release that a whole folder serves; None where its digest is another, so that nothing is made up."""
    with contextlib.suppress(OSError, ValueError, TypeError, LookupError):
        with open(os.path.join(path, "chat_template.jinja"), encoding="utf-8", newline="") as file:
            template = file.read()
        with open(os.path.join(path, "inference_model.json"), encoding="utf-8") as file:
            roles = json.load(file)["PromptTemplate"]
        recipe = dict(marker.recipe)
        recipe["target"] = Target(**recipe["target"])  # type: ignore[arg-type]
        release = Release(
            variant=marker.variant,
            model=marker.model,
            precision=marker.precision,
            recipe=Recipe(**recipe),  # type: ignore[arg-type]
            template=template,
            template_origin=marker.template_origin,
            roles=roles,
            generation=Generation(**marker.generation),  # type: ignore[arg-type]
        )
        return release if release.digest == marker.release else None
    return None
