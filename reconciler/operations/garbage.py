"""What nothing on this machine needs: found without touching anything, then freed, each by itself.

A pass frees most of it too, when it comes to it. This does nothing else, and tells of each thing why it goes or stays.
What is freed loses its name first, so a process that dies leaves a rest in trash, which the next one takes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from reconciler.domain.changes import Change, Outcome
from reconciler.domain.errors import HostRefused
from reconciler.domain.reasons import PRUNE_GUARDS
from reconciler.domain.units import size_text
from reconciler.engine.machine import Machine
from reconciler.engine.pass_context import PassContext
from reconciler.engine.planning import Snapshot
from reconciler.engine.quarantine import free_quarantined, quarantined
from reconciler.engine.refusals import best_effort
from reconciler.engine.report import Silent
from reconciler.engine.steps import Steps
from reconciler.engine.workers import Workers
from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.host.own_path import is_plain
from reconciler.host.usage import given_back
from reconciler.planner.prune import (
    kept_to_go_back,
    plan_unused_artifacts,
    plan_unused_sources,
    users,
    why_artifacts_stay,
)
from reconciler.reports.garbage import FAILED, FREED, KEPT, Item
from reconciler.sources.git.source import alone

LOGS_KEPT = 10
DAY = 86_400.0
_ATTEMPT = re.compile(r"convert-\d{8}T.+\.log")
_ASIDE = re.compile(r".+\.damaged-\d+")
_TREE = re.compile(r"[0-9a-f]{40}")
DISPOSABLE = ("staging", "trash", "sources/staging", "sources/trash", "sources/hub/trash")
WRITTEN = (
    *("", "records", "records/variants", "records/history", "records/suspended", "records/scrub"),
    *("oci", "oci/blobs/sha256", "sources/hub/facts"),
)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing and how it goes: by a `change` of the plan, else its `paths`."""

    item: Item
    paths: tuple[str, ...] = ()
    change: Change | None = None


@dataclass(frozen=True, kw_only=True)
class Wish:
    """`older_than` (seconds) is for logs. `from_repository`: the manifests came from what exports are made of.
    `confirm`: a person says that what is declared is meant so."""

    older_than: float
    from_repository: bool = False
    confirm: bool = False


def find(machine: Machine, seen: Snapshot, wish: Wish) -> list[Thing]:
    """Everything that could go and everything that is kept, with the bytes that each gives back. Reads only."""
    found = list(_Find(machine, seen, wish).things())
    going = [thing for thing in found if thing.item.status != KEPT]
    sizes = given_back(thing.paths for thing in going)
    kept = [_sized(thing, given_back([thing.paths])[0]) for thing in found if thing.item.status == KEPT]
    return [*map(_sized, going, sizes), *kept]


def _sized(thing: Thing, size: int) -> Thing:
    return replace(thing, item=replace(thing.item, bytes=size)) if thing.paths else thing


class _Find:
    def __init__(self, machine: Machine, seen: Snapshot, wish: Wish) -> None:
        self._machine = machine
        self._seen = seen
        self._wish = wish

    def things(self) -> Iterator[Thing]:
        yield from self._store()
        yield from self._sources()
        yield from self._exports()
        yield from self._quarantine()
        yield from self._half_made()
        yield from self._logs()
        yield from self._set_aside()

    def _store(self) -> Iterator[Thing]:
        seen, why = self._seen, self._doubt()
        why = why or why_artifacts_stay(seen.resolution.desired, seen.observed)
        going = [] if why else plan_unused_artifacts(seen.resolution.desired, seen.observed, seen.recorded)
        keys = [change.build_key for change in going]
        paths, unnamed = self._machine.store.only_of(keys)
        for change in going:
            yield _going(
                "artifact", change.build_key, "nothing uses it", paths.get(change.build_key, ()), change
            )
        for path in unnamed:
            yield _going("blob", self._name(path), "no artifact names it", [path])
        yield from self._kept_artifacts(set(keys), why)

    def _kept_artifacts(self, going: set[str], doubt: str) -> Iterator[Thing]:
        seen = self._seen
        used = users(seen.resolution.desired, seen.observed)
        back = kept_to_go_back(seen.resolution.desired, seen.observed, seen.recorded)
        for key in sorted({*seen.observed.artifacts, *seen.observed.damaged_artifacts} - going):
            kept = f"served until {back[key]}, kept to go back to (historyLimit)" if key in back else doubt
            held = seen.observed.artifacts.get(key)
            yield _kept("artifact", key, used.get(key) or kept, size=held.size if held else 0)

    def _sources(self) -> Iterator[Thing]:
        seen, doubt, cache = self._seen, self._doubt(), self._machine.sources
        going = [] if doubt else plan_unused_sources(seen.resolution.desired, seen.observed)
        for change in going:
            paths = cache.places(change.build_key)
            yield _going("source", change.build_key, "no manifest pins it", paths, change)
        for digest in sorted(seen.observed.hub_sources.keys() - {change.build_key for change in going}):
            pinned = digest in seen.resolution.desired.hub_sources
            why = "a manifest pins it" if pinned else doubt or "a manifest is invalid, and may want it"
            yield _kept("source", digest, why, cache.places(digest))

    def _doubt(self) -> str:
        rail = next((hold for hold in self._seen.plan.held if hold.reason in PRUNE_GUARDS), None)
        if rail is not None:
            return f"{rail.variant} waits for a confirmation ({rail.reason}): until then all may be wanted"
        desired = self._seen.resolution.desired
        if desired.declared or desired.confirmed or self._wish.confirm:
            return ""
        return "no model is declared at all: --confirm if that is meant"

    def _exports(self) -> Iterator[Thing]:
        folder, found = self._machine.layout.at("sources"), self._seen.resolution
        paths = [path for one in found.sources.values() for path in (one.path, one.adapter) if path]
        used = {part for path in paths for part in path.split(os.sep)}
        understood = self._wish.from_repository and found.desired.complete and not found.desired.unresolved
        for name in self._below("sources"):
            path = os.path.join(folder, name)
            if not _TREE.fullmatch(name) or not _is_folder(path):
                continue
            if name in used or not understood:
                why = (
                    "a manifest names it"
                    if name in used
                    else "the repository was not read (--repo), or not all of it"
                )
                yield _kept("export", f"sources/{name}", why, [path])
            else:
                yield _going(
                    "export", f"sources/{name}", "no manifest of the accepted commit names it", [path]
                )

    def _quarantine(self) -> Iterator[Thing]:
        for name, left in quarantined(self._machine).items():
            path, what = self._machine.layout.at("quarantine", name), f"quarantine/{name}"
            if not left:
                yield _going("quarantine", what, "its time is over", [path])
            else:
                days = (
                    "for ever (quarantineFor: off)"
                    if left == float("inf")
                    else f"for {left / DAY:.1f} days more"
                )
                yield _kept("quarantine", what, f"it may be somebody's, and stays {days}", [path])

    def _half_made(self) -> Iterator[Thing]:
        for folder in DISPOSABLE:
            for name in self._below(folder):
                path = self._machine.layout.at(*folder.split("/"), name)
                yield _going("half-made", f"{folder}/{name}", "nobody uses it", [path])
        for folder in WRITTEN:
            for name in self._below(folder):
                if durable.is_temporary(name):
                    path = os.path.join(self._machine.layout.root, *folder.split("/"), name)
                    yield _going(
                        "half-made", os.path.join(folder, name), "a write that was never finished", [path]
                    )
        yield from self._half_fetched()

    def _half_fetched(self) -> Iterator[Thing]:
        """What a killed git left in the mirror."""
        mirror = self._machine.layout.at("mirror.git")
        if is_plain(self._machine.layout.root, mirror):
            for folder, _, names in os.walk(mirror):
                for name in names:
                    if name.endswith(".lock") or name.startswith(("tmp_", ".tmp-")):
                        path = os.path.join(folder, name)
                        yield _going("half-made", self._name(path), "a fetch that was never finished", [path])

    def _logs(self) -> Iterator[Thing]:
        logs = sorted((name for name in self._below("logs") if _ATTEMPT.fullmatch(name)), reverse=True)
        for place, name in enumerate(logs):
            path = self._machine.layout.at("logs", name)
            if place >= LOGS_KEPT and self._is_old(path):
                yield _going("log", f"logs/{name}", "it is old", [path])

    def _set_aside(self) -> Iterator[Thing]:
        for folder in (*WRITTEN[:5], "oci"):
            for name in self._below(folder):
                path = os.path.join(self._machine.layout.root, *folder.split("/"), name)
                if not _ASIDE.fullmatch(name):
                    continue
                if self._is_old(path):
                    yield _going("set-aside", os.path.join(folder, name), "it is old", [path])
                else:
                    yield _kept(
                        "set-aside", os.path.join(folder, name), "somebody may want to look at it", [path]
                    )

    def _is_old(self, path: str) -> bool:
        """By the time of its last change. A file of the future is new."""
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            return stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > self._wish.older_than
        return False

    def _below(self, folder: str) -> list[str]:
        """Nothing where a link or a file stands in the way: what is behind it is not ours."""
        path = (
            os.path.join(self._machine.layout.root, *folder.split("/"))
            if folder
            else self._machine.layout.root
        )
        if folder and not is_plain(self._machine.layout.root, path):  # guard: gc enters no link
            return []
        try:
            return sorted(os.listdir(path))
        except OSError:
            return []

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._machine.layout.root).replace(os.sep, "/")


def free(machine: Machine, seen: Snapshot, things: list[Thing], tell: Callable[[Item], None]) -> list[Item]:
    """Each by itself: what cannot go keeps nothing else. The caller holds the lock."""
    context = PassContext(machine=machine, workers=Workers(machine), resolution=seen.resolution)
    done = []
    sources = machine.layout.at("sources")
    beside = any(
        path.startswith(sources + os.sep) for one in things for path in one.paths if one.item.status != KEPT
    )
    with alone(sources) if beside else contextlib.nullcontext():  # a `plan --repo` may be reading there
        for thing in things:
            item = thing.item if thing.item.status == KEPT else _freed(thing, context)
            done.append(item)
            if item.status != KEPT:
                tell(item)
    machine.stamps.save()
    _remember(machine, done)
    return done


def _remember(machine: Machine, done: list[Item]) -> None:
    freed = [item for item in done if item.status == FREED]
    if freed:
        message = f"{len(freed)} thing(s), {size_text(sum(item.bytes for item in freed))}"
        with best_effort("event.lost"):
            machine.records.append_event({"time": now(), "type": "gc.freed", "message": message})


def _freed(thing: Thing, context: PassContext) -> Item:
    """What the plan knows goes as a pass lets it go."""
    if thing.change is not None:
        outcomes: list[Outcome] = []
        Steps(Silent(), outcomes).run([thing.change], context)
        (outcome,) = outcomes
        if outcome.status == "done":
            return replace(thing.item, status=FREED)
        return replace(thing.item, status=FAILED, why=outcome.message)
    try:
        _free(context.machine, thing)
    except (OSError, HostRefused) as error:
        return replace(thing.item, status=FAILED, why=getattr(error, "strerror", None) or str(error))
    return replace(thing.item, status=FREED)


def _free(machine: Machine, thing: Thing) -> None:
    (path,) = thing.paths
    parent = os.path.dirname(path)
    if not is_plain(machine.layout.root, parent):
        raise OSError(errno.ELOOP, "a link stands in the way")
    if thing.item.kind == "quarantine":
        free_quarantined(machine, os.path.basename(path))
    elif os.path.basename(parent) in durable.DISPOSABLE:
        durable.free(path, machine.stamps.remove)
    elif _is_folder(path):
        durable.free(durable.unname(path, os.path.join(parent, "trash")), machine.stamps.remove)
    else:
        with contextlib.suppress(FileNotFoundError):
            machine.stamps.remove(path)


def _going(kind: str, what: str, why: str, paths: Iterable[str], change: Change | None = None) -> Thing:
    return Thing(item=Item(kind=kind, what=what, bytes=0, why=why), paths=tuple(paths), change=change)


def _kept(kind: str, what: str, why: str, paths: Iterable[str] = (), size: int = 0) -> Thing:
    return Thing(item=Item(kind=kind, what=what, bytes=size, why=why, status=KEPT), paths=tuple(paths))


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
