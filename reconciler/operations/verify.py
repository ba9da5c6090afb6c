"""`verify`: check a machine offline and without any change.

It hashes every byte, ignoring stamps, and also reports what a pass would repair. It takes no lock: beside a running
pass it may report that pass's unfinished work, but no leftovers, because the process that holds the lock sweeps them.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from reconciler.domain import digest
from reconciler.domain.errors import CatalogBroken
from reconciler.domain.finding import Finding
from reconciler.domain.layout import DISPOSABLE, RECORDS, is_of_file_manager
from reconciler.domain.observed import Registration, ServedFolder, own_properties
from reconciler.domain.release import Marker
from reconciler.engine.machine import Machine, served_folders
from reconciler.host.disk_usage import size_once
from reconciler.host.durable import is_temporary
from reconciler.host.lock import holder
from reconciler.host.ownership import is_folder
from reconciler.host.reading import names_in
from reconciler.host.stamps import EveryByte
from reconciler.sources.check import check_mirror, check_sources
from reconciler.state import events
from reconciler.store.artifact_store import ArtifactStore
from reconciler.store.check import check_store

APPLY = "`reconciler apply` repairs it"
# Folders that garbage is freed from, or that decide what is garbage.
_STORED = ("served", "oci", "oci/blobs", "oci/blobs/sha256", "records", "staging", "trash", "quarantine")
OURS = (*_STORED, "sources", "sources/hub", "mirror.git")
SWEEP = "the next `reconciler apply` removes it"
ROTTEN = "the file changed but its time stamps did not, so no pass notices: `touch` it, then `reconciler apply`"


def verify(
    machine: Machine, progress: Callable[[int, int], None] = lambda done, total: None, *, thorough: bool = False
) -> tuple[Finding, ...]:
    """The findings of catalog, served folders, store, sources, records and leftovers, in this order; empty is good.

    `progress` takes the bytes read and their total. `thorough` also reports what does not hinder a pass and is not
    repaired by one: links in the place of folders, and damage in parts of the mirror that are not used.
    """
    total, done = _bytes_to_read(machine), 0

    def read(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    book = EveryByte(machine.stamps, read)
    machine = replace(machine, stamps=book, store=ArtifactStore(machine.layout, book))
    return tuple(_Verification(machine, book, thorough).run())


class _Verification:
    """`machine` reads every byte instead of stamps."""

    def __init__(self, machine: Machine, book: EveryByte, thorough: bool) -> None:
        self._thorough = thorough
        self._machine = machine
        self._layout = machine.layout
        self._book = book
        self._folders = {folder.path: folder for folder in served_folders(machine)}
        self._registrations: tuple[Registration, ...] = ()
        self._unread: dict[str, tuple[str, ...]] = {}  # by id, the damage that a pass sees

    def run(self) -> Iterator[Finding]:
        yield from self._catalog()
        yield from self._served()
        yield from check_store(self._layout, self._book)
        yield from check_sources(self._layout, self._book)
        if self._thorough:
            yield from check_mirror(self._layout)
            yield from self._links()
        yield from self._records()
        yield from self._leftovers()

    def _catalog(self) -> Iterator[Finding]:
        try:
            self._unread = {one.id: one.damage for one in self._machine.backend.registrations()}
            self._registrations = self._machine.backend.registrations(every_byte=True)
        except CatalogBroken as error:
            yield Finding("CatalogBroken", self._machine.cache, str(error), error.hint)
        for registration in self._registrations:
            if self._machine.owner and registration.owner == self._machine.owner:
                yield from self._registration(registration)
            elif _is_below(registration.path, self._layout.served):
                hint = f"unregister {registration.id}, then `reconciler apply`"
                yield Finding("RegistrationUnmarked", registration.id, f"points at {registration.path}", hint)

    def _registration(self, registration: Registration) -> Iterator[Finding]:
        expected = self._layout.served_release(registration.name, registration.number)
        if registration.path.rstrip("/\\") != expected:
            yield Finding("RegistrationElsewhere", registration.id, f"points at {registration.path}", APPLY)
            return
        for damage in registration.damage:
            rotten = damage not in self._unread.get(registration.id, ())
            yield Finding("RegistrationDamaged", registration.id, damage, ROTTEN if rotten else APPLY)
        folder = self._folders.get(expected)
        if folder is None:
            yield Finding("RegistrationDangling", registration.id, f"{expected} is no folder", APPLY)
            return
        marker = folder.marker
        if marker is None:
            return
        promised = own_properties(release=marker.release, artifact=marker.artifact, build_key=marker.build_key)
        wrong = [name for name, value in promised.items() if registration.properties.get(name) != value]
        if wrong:
            message = f"{', '.join(wrong)} differ from release.json"
            hint = f"unregister {registration.id}, then `reconciler apply`"
            yield Finding("RegistrationDisagrees", registration.id, message, hint)

    def _served(self) -> Iterator[Finding]:
        if self._folders and not self._machine.owner:
            message = "is missing, and served/ is not empty"
            hint = "write back the `owner` that is named in release.json of any folder below served/"
            yield Finding("OwnerMissing", "owner", message, hint)
        held = self._machine.store.artifacts().keys()
        for folder in self._folders.values():
            yield from self._folder(folder)
            if folder.marker is not None and folder.marker.build_key not in held:
                message = f"was made from {folder.marker.build_key[:19]}, which the store does not hold"
                hint = "it serves as it is; a repair or a new template would convert the model again"
                yield Finding("ArtifactMissing", _name(folder), message, hint)
        yield from self._foreign_things()

    def _folder(self, folder: ServedFolder) -> Iterator[Finding]:
        marker = folder.marker
        if marker is None:
            yield Finding("ReleaseUnreadable", _name(folder), ", ".join(folder.damage), APPLY)
            return
        for damage in folder.damage:
            rotten = self._book.is_rotten(os.path.join(folder.path, damage.rpartition(" ")[0]))
            yield Finding("ServedFolderDamaged", _name(folder), damage, ROTTEN if rotten else APPLY)
        yield from _consistent(folder, marker)
        if self._machine.owner and marker.owner != self._machine.owner:
            yield Finding("OwnerDisagrees", _name(folder), f"is marked {marker.owner}", "move it away")
        elif marker.id not in {registration.id for registration in self._registrations}:
            yield Finding("FolderUnregistered", _name(folder), "Foundry Local does not list it", APPLY)

    def _foreign_things(self) -> Iterator[Finding]:
        served = self._layout.served
        for variant in names_in(served):
            inside = os.path.join(served, variant)
            if is_of_file_manager(variant) and os.path.isfile(inside):
                continue
            if not is_folder(inside):
                yield Finding("ServedForeign", f"served/{variant}", "is no folder", "move it away")
                continue
            for number in names_in(inside):
                known = os.path.join(inside, number) in self._folders
                if not known and not is_of_file_manager(number):
                    where = f"served/{variant}/{number}"
                    yield Finding("ServedForeign", where, "is no release", "move it away")

    def _links(self) -> Iterator[Finding]:
        """Not of the root itself, which may be a link."""
        for name in OURS:
            path = self._layout.at(*name.split("/"))
            if os.path.islink(path):
                hint = "make it a folder and move its content back, or link the whole root"
                yield Finding("FolderLinked", name, f"leads to {os.path.realpath(path)}", hint)

    def _records(self) -> Iterator[Finding]:
        recorded = self._machine.records.load()
        for name in (*recorded.damaged, *self._machine.records.damaged_beside()):
            hint = "the next change sets it aside and writes it anew from what is served"
            yield Finding("RecordDamaged", f"records/{name}", "does not match its own digest", hint)
        if self._thorough and events.is_torn(self._machine.records.event_log):
            message = "its last line was cut off: that event is lost, and nothing else"
            yield Finding("EventsTorn", "records/events.jsonl", message, "the next `reconciler apply` notes it")
        served = {one.id: one.release for one in self._registrations}
        for release in recorded.releases.values():
            if served.get(release.id) != release.release:
                found = "another release" if release.id in served else "nothing"
                message = f"is recorded as served, Foundry Local lists {found} under that id"
                yield Finding("RecordDisagrees", release.id, message, APPLY)

    def _leftovers(self) -> Iterator[Finding]:
        """None while another process is at work, before or after the search."""
        before, found = self._is_at_work(), list(self._half_made())
        if not before and not self._is_at_work():  # guard: what another process works on is no leftover
            yield from found

    def _is_at_work(self) -> bool:
        working = holder(self._layout.lock)
        return working is not None and working.pid != os.getpid()

    def _half_made(self) -> Iterator[Finding]:
        for folder in DISPOSABLE:
            for name in names_in(self._layout.at(*folder.split("/"))):
                yield Finding("LeftOver", f"{folder}/{name}", "nothing uses it", SWEEP)
        for folder in ("", *RECORDS):
            for name in filter(is_temporary, names_in(self._layout.at(folder))):
                yield Finding("LeftOver", os.path.join(folder, name), "a write that was never finished", SWEEP)


def _consistent(folder: ServedFolder, marker: Marker) -> Iterator[Finding]:
    """The digests in a marker must follow from its other fields."""
    if marker.build_key != digest.of_value(marker.recipe) or marker.parts.get("recipe") != marker.build_key:
        yield Finding("ReleaseInconsistent", _name(folder), "the build key is not that of the recipe", APPLY)
    if marker.release != digest.of_value({"variant": marker.variant, **marker.parts}):
        yield Finding("ReleaseInconsistent", _name(folder), "the release is not that of its parts", APPLY)


def _bytes_to_read(machine: Machine) -> int:
    layout = machine.layout
    tops = (os.path.join(layout.oci, "blobs", "sha256"), layout.served, layout.at("sources", "hub"))
    return size_once(os.path.join(folder, name) for top in tops for folder, _, names in os.walk(top) for name in names)


def _name(folder: ServedFolder) -> str:
    return f"served/{folder.variant}/{folder.number}"


def _is_below(path: str, folder: str) -> bool:
    """Also through links."""
    return any(one.startswith(folder + os.sep) for one in (path, os.path.realpath(path)))
