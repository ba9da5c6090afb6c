"""Write what a machine without a network lacks into one archive (registry.archive): the artifacts that its inventory
says it needs, all that is attached to them, and the files of the commit that declares them.

The planner decides what is brought, from the inventory, as it decides a pull. Artifacts come from this machine's store
or from the registries that it may pull from; what neither has is named, and the rest is written all the same. Nothing
of this machine changes; its lock is not needed.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from reconciler.domain import digest as digests
from reconciler.domain.errors import DiskFull, Problem, ReconcilerError, UsageError
from reconciler.domain.machine.registries import Offer
from reconciler.domain.manifest import Model
from reconciler.domain.reasons import USER_HOLDS
from reconciler.domain.reference import Comparison
from reconciler.domain.sources.locked import GIT, LockedSource
from reconciler.domain.sources.source_model import SourceModel
from reconciler.domain.text.units import size_text
from reconciler.engine.machine import Machine
from reconciler.engine.resolve import resolve, with_choices
from reconciler.fleet.inventory import Inventory
from reconciler.fleet.inventory_facts import capacity_of
from reconciler.fleet.shipment import Shipment, lacking, plan_shipment
from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.host.disk_usage import disk_free
from reconciler.host.lock import hold
from reconciler.host.reading import read_whole
from reconciler.manifests.parsed import Parsed
from reconciler.manifests.selector import labels_of
from reconciler.registry import archive, artifact, oci_tar
from reconciler.registry.archive import EMPTY, EMPTY_DIGEST, Attached, Found
from reconciler.registry.oci_tar import TarEntry, Writing
from reconciler.reports.view import FORMAT_VERSION, camel_view
from reconciler.sources.cache import OnDisk
from reconciler.sources.facts import adapter_facts, model_facts
from reconciler.sources.imported import ADAPTER_FACTS, MODEL_FACTS, hub_facts
from reconciler.sources.manifests import Gathered
from reconciler.store import index
from reconciler.store.modelpack import NotAnArtifact

if TYPE_CHECKING:  # it loads what speaks with registries, which an export without any does not need
    from reconciler.operations.registry_supply import RegistrySupply

STORE = "store"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """`found` are the artifacts that the archive holds, by build key; `size` is its own. `warnings` say what could not
    be asked or brought; `problems` and `doubts` are those of the manifests and their sources."""

    machine: str
    revision: str
    shipment: Shipment
    found: Mapping[str, Found]
    size: int
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]
    doubts: tuple[Problem, ...]

    @property
    def complete(self) -> bool:
        return not self.problems and all(one.reason in USER_HOLDS for one in self.shipment.left_out)


class Export:
    """A context manager: registries stay open until it ends. `prepare` finds and decides, `write` writes."""

    def __init__(self, machine: Machine, inventory: Inventory, parsed: Parsed, gathered: Gathered) -> None:
        self._machine, self._inventory, self._parsed, self._gathered = machine, inventory, parsed, gathered
        self._staging = machine.layout.at("sources", "export", "staging")
        self._stack = contextlib.ExitStack()
        self._registries: RegistrySupply | None = None
        self._entries: tuple[TarEntry, ...] = ()
        self._large: set[str] = set()  # digests of the blobs of artifacts
        self._left: set[str] = set()  # those of them that are still to be written
        self._warnings = [f"{path} is outside the repository: it must be on that machine" for path in gathered.outside]

    def __enter__(self) -> "Export":
        if settings := self._machine.traits.pulls_from:
            from reconciler.operations.registry_supply import RegistrySupply

            self._registries = self._stack.enter_context(RegistrySupply(settings, self._warn))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prepare(self) -> Exported:
        inventory, parsed = self._inventory, self._parsed
        labels = labels_of(inventory.machine, inventory.labels, inventory.facts)
        resolution = resolve(parsed, self._machine.stamps, (), labels, self._machine.sources)
        resolution = with_choices(resolution, capacity_of(inventory))
        desired = resolution.desired
        found = dict(self._find(lacking(inventory, desired)))
        offers = {
            key: Offer(registry=one.place, digest=one.packed.artifact.digest, missing=one.size)
            for key, one in found.items()
        }
        shipment = plan_shipment(inventory, desired, self._as_brought(), offers, now())
        brought = {key: found[key] for key in shipment.build_keys}
        self._entries = tuple(self._laid_out(brought, self._files()))
        return Exported(
            machine=inventory.machine,
            revision=parsed.revision,
            shipment=shipment,
            found=brought,
            size=sum(entry.length for entry in self._entries) + len(oci_tar.END),
            warnings=tuple(self._warnings),
            problems=resolution.problems,
            doubts=resolution.warnings,
        )

    def write(self, path: str, on_bytes: Callable[[int, int], None]) -> None:
        """Goes on from what an earlier attempt left. Raises DiskFull before the first byte where there is no room."""
        _require_archive(path)
        with hold(os.path.join(os.path.dirname(self._staging), "lock"), command="export"):
            writing = Writing(path, self._entries)
            _require_room(writing.size - writing.begin(), path)
            self._left = self._large & {entry.digest for entry in writing.left}
            writing.run(on_bytes)
            durable.empty(self._staging)

    def _as_brought(self) -> list[Model]:
        """What comes with the archive that machine needs nowhere else."""
        comes = {*self._gathered.folders.values()}
        return [
            replace(
                one,
                source_path="" if one.source_path in comes else one.source_path,
                adapter_path=None if one.adapter_path in comes else one.adapter_path,
            )
            for one in self._parsed.models
        ]

    def _find(self, build_keys: Iterable[str]) -> Iterator[tuple[str, Found]]:
        store = self._machine.store
        held = store.artifacts()
        for key in build_keys:
            one = held.get(key)
            if one is not None and not store.damage(one):
                yield key, self._in_store(key, one.digest)
            elif self._registries is not None and (found := self._registries.find(key)) is not None:
                yield key, found

    def _in_store(self, build_key: str, digest: str) -> Found:
        manifest = read_whole(self._machine.store.blob(digest))
        attached = list(self._own_numbers(build_key, manifest))
        attached += self._registries.attached(digest) if self._registries is not None else ()
        return Found(packed=artifact.read(digest, manifest), manifest=manifest, place=STORE, attached=tuple(attached))

    def _own_numbers(self, build_key: str, manifest: bytes) -> Iterator[Attached]:
        fidelity = self._machine.records.measured().fidelity.get(build_key)
        if fidelity is None or fidelity.unmeasured:
            return
        from reconciler.registry import numbers

        compared = Comparison(fidelity=fidelity, reference=self._machine.records.reference(build_key))
        data, layer = numbers.numbers_manifest(manifest, compared), numbers.layer(compared) or EMPTY
        yield Attached(
            digest=digests.of_bytes(data),
            subject=digests.of_bytes(manifest),
            kind=numbers.TYPE,
            data=data,
            blobs={EMPTY_DIGEST: EMPTY, digests.of_bytes(layer): layer},
        )

    def _files(self) -> dict[str, bytes]:
        """Those of the commit, and what conversions are known by, in the place of their weights."""
        files = {**self._gathered.files, **dict(self._facts())}
        try:
            archive.check_tree(files)
        except NotAnArtifact as error:
            raise UsageError(f"the manifests cannot be brought: {error}", hint="rename that file") from None
        return files

    def _facts(self) -> Iterator[tuple[str, bytes]]:
        folders, models = OnDisk(self._machine.stamps, self._machine.sources), self._parsed.models
        sources = {one.original_path: False for one in models} | {one.source_path: one.ready for one in models}
        adapters = {one.adapter_path for one in models}
        for relative, path in self._gathered.folders.items():
            if path in sources and not (source := folders.source(path, ready=sources[path])).problems:
                yield f"{relative}/{MODEL_FACTS}", model_facts(source)
            if path in adapters and not (adapter := folders.adapter(path)).problems:
                yield f"{relative}/{ADAPTER_FACTS}", adapter_facts(adapter)
        for remote in {one.digest: one for model in models for one in model.remotes if one.files}.values():
            if remote.kind == GIT:
                yield from self._of_git(remote, folders.locked(remote).model)
            elif (known := folders.locked(remote).model) is not None and not known.problems:
                yield hub_facts(remote.digest), model_facts(known)

    def _of_git(self, source: LockedSource, known: SourceModel | None) -> Iterator[tuple[str, bytes]]:
        """In the place of each folder that is this tree, as for folders that git holds whole."""
        for relative, path in self._gathered.folders.items():
            if os.path.basename(path) == source.revision and known is not None and not known.problems:
                yield f"{relative}/{MODEL_FACTS}", model_facts(known)

    def _laid_out(self, brought: Mapping[str, Found], files: Mapping[str, bytes]) -> Iterator[TarEntry]:
        """Documents first, then the blobs of artifacts."""
        declared = archive.files_manifest(self._parsed.revision, self._gathered.folder, files)
        attached = {one.digest: one for found in brought.values() for one in found.attached}
        listed = [one.packed for one in brought.values()]
        listing = archive.index_bytes(self._inventory.machine, listed, attached.values(), declared)
        for name, data in ((oci_tar.LAYOUT_NAME, digests.canonical(index.LAYOUT)), (oci_tar.INDEX_NAME, listing)):
            yield oci_tar.of_bytes(name, digests.of_bytes(data), data)
        small = [EMPTY, declared, *files.values(), *(one.manifest for one in brought.values())]
        small += [data for one in attached.values() for data in (one.data, *one.blobs.values())]
        by_digest = {digests.of_bytes(data): data for data in small}
        for digest in sorted(by_digest):
            yield oci_tar.of_bytes(oci_tar.blob_name(digest), digest, by_digest[digest])
        seen = set(by_digest)
        for key in sorted(brought):
            new = sorted((size, digest) for digest, size in brought[key].packed.sizes.items() if digest not in seen)
            self._large.update(digest for _, digest in new)
            seen.update(digest for _, digest in new)
            for size, digest in new:
                pieces = partial(self._pieces, brought[key], digest)
                yield TarEntry(name=oci_tar.blob_name(digest), digest=digest, size=size, pieces=pieces)

    def _pieces(self, found: Found, digest: str) -> Iterator[bytes]:
        held = found.place == STORE
        path = self._machine.store.blob(digest) if held else self._pulled(found, digest)
        with open(path, "rb") as file:
            while piece := file.read(oci_tar.CHUNK):
                yield piece
        self._left.discard(digest)
        if not held:
            durable.remove_file(path)

    def _pulled(self, found: Found, digest: str) -> str:
        """Where the blob lies, once it has come with all others of its artifact that the archive still lacks."""
        folder = os.path.join(self._staging, found.packed.artifact.build_key.removeprefix("sha256:"))
        path = os.path.join(folder, digest.removeprefix("sha256:"))
        if not os.path.exists(path) and self._registries is not None:
            self._registries.pull(found, folder, lambda one: one not in self._left)
        return path

    def _warn(self, message: str) -> None:
        if message not in self._warnings:
            self._warnings.append(message)


def export_view(one: Exported) -> dict[str, Any]:
    artifacts = [
        {
            "buildKey": key,
            "variants": list(one.shipment.build_keys[key]),
            "artifact": found.packed.artifact.digest,
            "sizeBytes": found.size,
            "from": found.place,
            "attached": len(found.attached),
        }
        for key, found in one.found.items()
    ]
    return {
        "formatVersion": FORMAT_VERSION,
        "machine": one.machine,
        "revision": one.revision,
        "sizeBytes": one.size,
        "artifacts": artifacts,
        "leftOut": [camel_view(left) for left in one.shipment.left_out],
        "warnings": list(one.warnings),
    }


def _require_archive(path: str) -> None:
    """Raises UsageError where something else than an archive would be replaced."""
    if not os.path.lexists(path):
        return
    with contextlib.suppress(ReconcilerError, OSError), open(path, "rb") as file:
        if os.path.isfile(path) and not os.path.islink(path):
            oci_tar.read_headers(file, path)
            return
    raise UsageError(f"{path} is there, and is no archive of OCI artifacts", hint="choose another name")


def _require_room(needed: int, path: str) -> None:
    folder = os.path.dirname(os.path.abspath(path))
    free = disk_free(folder)
    if needed > free:
        message = f"the archive needs {size_text(needed)} more, {size_text(free)} are free for {folder}"
        raise DiskFull(message, hint="free some space, or write it elsewhere; what is written is kept")
