"""Garbage collection: `find` lists what this machine no longer needs, without any change; `free` removes it.

A pass frees most of it too. Here each item has a reason why it is freed or kept. A folder is renamed into trash before
it is deleted, so that the next collection frees what a process that died has left.
"""

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import inf

from reconciler.domain.changes import Change
from reconciler.domain.errors import HostRefused
from reconciler.domain.layout import DISPOSABLE, RECORDS
from reconciler.domain.plan import Outcome
from reconciler.domain.reasons import PRUNE_GUARDS
from reconciler.domain.text.quoting import count_of
from reconciler.domain.text.units import size_text
from reconciler.engine.log import best_effort
from reconciler.engine.machine import Machine
from reconciler.engine.options import Reporter
from reconciler.engine.pass_context import PassContext, Workers
from reconciler.engine.planning import Snapshot
from reconciler.engine.quarantine import free_quarantined, quarantined
from reconciler.engine.steps import Steps
from reconciler.host import durable
from reconciler.host.disk_usage import given_back
from reconciler.host.ownership import is_folder, is_plain
from reconciler.host.reading import names_in
from reconciler.planner.prune import (
    kept_to_go_back,
    plan_unused_artifacts,
    plan_unused_sources,
    users,
    why_artifacts_stay,
)
from reconciler.reports.checks import FAILED, FREED, KEPT, WOULD, Item
from reconciler.sources.git.source import alone

LOGS_KEPT = 10
DAY = 86_400.0
_ATTEMPT = re.compile(r"convert-\d{8}T.+\.log")
_DAMAGED = re.compile(r".+\.damaged-\d+")
_TREE = re.compile(r"[0-9a-f]{40}")
WRITTEN = ("", *RECORDS, "records/scrub", "oci", "oci/blobs/sha256", "sources/hub/facts")


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """An item, and how it is freed: by a `change` of the plan, else by removal of its one path."""

    item: Item
    paths: tuple[str, ...] = ()
    change: Change | None = None


@dataclass(frozen=True, kw_only=True)
class GarbageOptions:
    """`older_than` (seconds) is for logs and damaged documents. `from_repository`: the manifests were read from the
    repository that the exports come from. `confirm`: the user confirms what is declared."""

    older_than: float
    from_repository: bool = False
    confirm: bool = False


def find(machine: Machine, seen: Snapshot, options: GarbageOptions) -> list[Garbage]:
    """Everything that can be freed or is kept, with the bytes that each would give back. Reads only."""
    found = list(_Find(machine, seen, options).items())
    going = [one for one in found if one.item.status != KEPT]
    sizes = given_back(one.paths for one in going)
    kept = [_sized(one, given_back([one.paths])[0]) for one in found if one.item.status == KEPT]
    return [*map(_sized, going, sizes), *kept]


def _sized(one: Garbage, size: int) -> Garbage:
    return replace(one, item=replace(one.item, bytes=size)) if one.paths else one


class _Find:
    def __init__(self, machine: Machine, seen: Snapshot, options: GarbageOptions) -> None:
        self._machine, self._layout = machine, machine.layout
        self._seen = seen
        self._options = options

    def items(self) -> Iterator[Garbage]:
        yield from self._store()
        yield from self._sources()
        yield from self._exports()
        yield from self._quarantine()
        yield from self._unfinished()
        yield from self._unfinished_fetches()
        yield from self._logs()
        yield from self._damaged_documents()

    def _store(self) -> Iterator[Garbage]:
        desired, observed, recorded = self._seen.resolution.desired, self._seen.observed, self._seen.recorded
        doubt = self._doubt() or why_artifacts_stay(desired, observed)
        going = [] if doubt else plan_unused_artifacts(desired, observed, recorded)
        keys = {change.build_key for change in going}
        paths, unnamed = self._machine.store.only_of([change.build_key for change in going])
        for change in going:
            files = paths.get(change.build_key, ())
            yield _item("artifact", change.build_key, "nothing uses it", files, change=change)
        for path in unnamed:
            yield _item("blob", self._name(path), "no artifact names it", [path])
        used, artifacts = users(desired, observed), observed.artifacts
        back = kept_to_go_back(desired, observed, recorded)
        for key in sorted({*artifacts, *observed.damaged_artifacts} - keys):
            kept = f"served until {back[key]}, kept to go back to (revisionHistoryLimit)" if key in back else doubt
            size = artifacts[key].size if key in artifacts else 0
            yield _item("artifact", key, used.get(key) or kept, kept=True, size=size)

    def _sources(self) -> Iterator[Garbage]:
        doubt, cache, observed = self._doubt(), self._machine.sources, self._seen.observed
        desired = self._seen.resolution.desired
        going = [] if doubt else plan_unused_sources(desired, observed)
        for change in going:
            paths = cache.places(change.build_key)
            yield _item("source", change.build_key, "no manifest pins it", paths, change=change)
        for digest in sorted(observed.locked_sources.keys() - {change.build_key for change in going}):
            why = doubt or "a manifest is invalid, and may want it"
            if digest in desired.locked_sources:
                why = "a manifest pins it"
            yield _item("source", digest, why, cache.places(digest), kept=True)

    def _doubt(self) -> str:
        """Why artifacts and sources may still be needed; empty when they are not."""
        held = next((hold for hold in self._seen.plan.held if hold.reason in PRUNE_GUARDS), None)
        if held is not None:
            return f"{held.variant} waits for a confirmation ({held.reason}): until then everything is kept"
        desired = self._seen.resolution.desired
        if desired.declared or desired.confirmed or self._options.confirm:
            return ""
        return "no model is declared for this machine: use --confirm if that is intended"

    def _exports(self) -> Iterator[Garbage]:
        folder, found = self._layout.at("sources"), self._seen.resolution
        paths = [path for one in found.sources.values() for path in (one.path, one.adapter) if path]
        used = {part for path in paths for part in path.split(os.sep)}
        complete = self._options.from_repository and found.desired.complete and not found.desired.unresolved
        for name in self._below("sources"):
            path = os.path.join(folder, name)
            if _TREE.fullmatch(name) and is_folder(path):
                why = "the repository was not read (--repo), or not completely"
                if complete:
                    why = "no manifest of the accepted commit names it"
                if name in used:
                    why = "a manifest names it"
                yield _item("export", f"sources/{name}", why, [path], kept=name in used or not complete)

    def _quarantine(self) -> Iterator[Garbage]:
        for name, left in quarantined(self._machine).items():
            why = "its time is over"
            if left:
                stays = "stays (quarantineFor: off)" if left == inf else f"stays for {left / DAY:.1f} days more"
                why = f"it may belong to someone else, and {stays}"
            path = self._layout.at("quarantine", name)
            yield _item("quarantine", f"quarantine/{name}", why, [path], kept=bool(left))

    def _unfinished(self) -> Iterator[Garbage]:
        for folder in DISPOSABLE:
            for name in self._below(folder):
                yield _item("half-made", f"{folder}/{name}", "nothing uses it", [self._path(folder, name)])
        for folder in WRITTEN:
            for name in filter(durable.is_temporary, self._below(folder)):
                what, path = os.path.join(folder, name), self._path(folder, name)
                yield _item("half-made", what, "a write that was never finished", [path])

    def _unfinished_fetches(self) -> Iterator[Garbage]:
        """Locks and temporary files of a git that was killed."""
        mirror = self._layout.at("mirror.git")
        if is_plain(self._layout.root, mirror):
            for folder, _, names in os.walk(mirror):
                for name in names:
                    if name.endswith(".lock") or name.startswith(("tmp_", ".tmp-")):
                        path = os.path.join(folder, name)
                        yield _item("half-made", self._name(path), "a fetch that was never finished", [path])

    def _logs(self) -> Iterator[Garbage]:
        for name in [*filter(_ATTEMPT.fullmatch, self._below("logs"))][:-LOGS_KEPT]:
            path = self._layout.at("logs", name)
            if self._is_old(path):
                yield _item("log", f"logs/{name}", "it is old", [path])

    def _damaged_documents(self) -> Iterator[Garbage]:
        for folder in ("", *RECORDS, "oci"):
            for name in filter(_DAMAGED.fullmatch, self._below(folder)):
                path = self._path(folder, name)
                kept = not self._is_old(path)
                why = "it shows what was damaged" if kept else "it is old"
                yield _item("set-aside", os.path.join(folder, name), why, [path], kept=kept)

    def _is_old(self, path: str) -> bool:
        """By the time of its last change; a time in the future counts as new."""
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            return stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > self._options.older_than
        return False

    def _below(self, folder: str) -> list[str]:
        """The names in a folder of the root; none where a link or a file is in the way, because others own what is
        behind it."""
        path = self._path(folder)
        if folder and not is_plain(self._layout.root, path):  # guard: gc enters no link
            return []
        return names_in(path)

    def _path(self, *parts: str) -> str:
        return os.path.normpath(os.path.join(self._layout.root, *parts))

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._layout.root).replace(os.sep, "/")


def free(machine: Machine, seen: Snapshot, items: list[Garbage], report: Callable[[Item], None]) -> list[Item]:
    """Free each item; one that cannot be freed does not stop the others. The caller holds the lock."""
    context = PassContext(machine=machine, workers=Workers(machine), resolution=seen.resolution)
    done = []
    sources = machine.layout.at("sources")
    beside = any(path.startswith(sources + os.sep) for one in items for path in one.paths if one.item.status != KEPT)
    with alone(sources) if beside else contextlib.nullcontext():  # a `plan --repo` may be reading there
        for one in items:
            item = one.item
            if item.status != KEPT:
                item = _freed(one, context)
                report(item)
            done.append(item)
    machine.stamps.save()
    if freed := [item for item in done if item.status == FREED]:
        message = f"{count_of(len(freed), 'item')}, {size_text(sum(item.bytes for item in freed))}"
        with best_effort("event.lost"):
            machine.records.add_event("gc.freed", message=message)
    return done


def _freed(one: Garbage, context: PassContext) -> Item:
    """A change of the plan is carried out as in a pass."""
    if one.change is not None:
        outcomes: list[Outcome] = []
        Steps(Reporter(), outcomes).run([one.change], context)
        (outcome,) = outcomes
        why = "" if outcome.status == "done" else outcome.message or outcome.status
    else:
        why = _free(context.machine, one)
    return replace(one.item, status=FAILED, why=why) if why else replace(one.item, status=FREED)


def _free(machine: Machine, one: Garbage) -> str:
    """Why it failed, "" when it did not."""
    (path,) = one.paths
    parent = os.path.dirname(path)
    if not is_plain(machine.layout.root, parent):
        return "a link stands in the way"
    try:
        if one.item.kind == "quarantine":
            free_quarantined(machine, os.path.basename(path))
        elif os.path.basename(parent) in durable.DISPOSABLE:
            durable.free(path, machine.stamps.remove)
        elif is_folder(path):
            durable.free(durable.unname(path, os.path.join(parent, "trash")), machine.stamps.remove)
        else:
            with contextlib.suppress(FileNotFoundError):
                machine.stamps.remove(path)
    except (OSError, HostRefused) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


def _item(
    kind: str,
    what: str,
    why: str,
    paths: Iterable[str] = (),
    *,
    kept: bool = False,
    change: Change | None = None,
    size: int = 0,
) -> Garbage:
    item = Item(kind=kind, what=what, bytes=size, why=why, status=KEPT if kept else WOULD)
    return Garbage(item=item, paths=tuple(paths), change=change)
