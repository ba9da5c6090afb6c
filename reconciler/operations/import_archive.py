"""Take in an archive that `reconciler export` has written for this machine: its artifacts into the store, the numbers
of their builders into the records, and the files of its commit into `<root>/imported`. A pass over these manifests
then needs neither a conversion nor a download.

All of it is read strictly first (registry.archive); each blob is compared with its digest while it is copied, and gets
its name only then. Killed at any time it goes on: what has come of an artifact lies where a pull would leave it. The
files of the commit come last, as a whole.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from reconciler.domain.errors import DiskFull
from reconciler.domain.machine.trust import ARCHIVE, Origin
from reconciler.domain.measured import TEXTS_DIGEST
from reconciler.domain.reference import Comparison, Reference
from reconciler.domain.text.units import size_text
from reconciler.engine.executor import take_in
from reconciler.engine.machine import Machine
from reconciler.engine.registries import pull_folder
from reconciler.engine.trust import BuildTrust, Judged, refused_keys
from reconciler.fleet.inventory_form import SIGNATURE, InventoryInvalid, inventory_view, read_inventory
from reconciler.gates import reference as references
from reconciler.host import durable
from reconciler.host.clock import now
from reconciler.host.disk_usage import disk_free
from reconciler.host.reading import read_whole
from reconciler.host.stamps import StampBook
from reconciler.operations.inventory import take_inventory
from reconciler.operations.signing import receipt_bundle
from reconciler.planner.plan_steps import RESERVE
from reconciler.registry import archive, bundle
from reconciler.registry.archive import ArchivedArtifact, Attached, Contents, DeclaredFiles
from reconciler.registry.oci_tar import ArchiveRefused
from reconciler.registry.signing_keys import SigningKey
from reconciler.sources.imported import MARK, ImportMark, imported_folder, mark_bytes, read_mark
from reconciler.sources.manifests import load


@dataclass(frozen=True, kw_only=True)
class Imported:
    """`taken` are the build keys of what came now, `held` of what was here already; `refused` says of each that this
    machine does not trust why, and `doubted` what it took all the same. `manifests` is the folder to follow, "" where
    the archive brought no manifests; `changed`: they are new."""

    archive: str
    made_for: str
    revision: str
    manifests: str
    taken: tuple[str, ...]
    held: tuple[str, ...]
    changed: bool
    refused: tuple[str, ...] = ()
    doubted: tuple[str, ...] = ()


def import_archive(machine: Machine, path: str, on_bytes: Callable[[int, int], None]) -> Imported:
    """The caller holds the lock. Raises ArchiveRefused, DiskFull."""
    with open(path, "rb") as file:
        if not os.path.isfile(path):
            raise ArchiveRefused(f"{path} is no regular file")
        contents = archive.read_contents(file, os.path.basename(path))
        taking = _Taking(machine, file, contents, on_bytes)
        new = [one for one in contents.artifacts if not taking.is_held(one)]
        refused = [one for one in new if taking.refuses(one)]
        new = [one for one in new if one not in refused]
        taking.require_room(new)
        for one in new:
            taking.artifact(one)
        changed = contents.declared is not None and taking.files(contents.declared)
        machine.stamps.save()
    held = [one for one in contents.artifacts if one not in (*new, *refused)]
    mark = read_mark(imported_folder(machine.layout)) if contents.declared is not None else None
    return Imported(
        archive=contents.digest,
        made_for=contents.machine,
        revision=mark.revision if mark is not None else "",
        manifests=os.path.join(imported_folder(machine.layout), mark.folder) if mark is not None else "",
        taken=tuple(one.packed.artifact.build_key for one in new),
        held=tuple(one.packed.artifact.build_key for one in held),
        changed=changed,
        refused=tuple(taking.refused),
        doubted=tuple(taking.doubted),
    )


class _Taking:
    def __init__(
        self, machine: Machine, file: BinaryIO, contents: Contents, on_bytes: Callable[[int, int], None]
    ) -> None:
        self._machine, self._file, self._contents, self._on_bytes = machine, file, contents, on_bytes
        self._artifacts = machine.store.artifacts()
        whole = [one for one in self._artifacts.values() if not machine.store.damage(one)]
        self._keys = {one.build_key for one in whole} - refused_keys(machine)
        self._trust = BuildTrust(machine.traits.trust)
        self._signers: dict[str, Judged] = {}  # by build key
        self.refused: list[str] = []
        self.doubted: list[str] = []
        self._blobs = {part.digest for one in whole for part in one.files}
        self._done = self._total = 0

    def is_held(self, one: ArchivedArtifact) -> bool:
        return one.packed.artifact.build_key in self._keys

    def refuses(self, one: ArchivedArtifact) -> bool:
        """Before any of its files is copied."""
        made = one.packed.artifact
        bundles = [data for each in self._contents.of(made.digest) for data in self._bundles(each)]
        judged = self._signers[made.build_key] = self._trust.of_archived(bundles, made.digest, made.build_key)
        if judged.refusal is None:
            return False
        (self.refused if judged.refusal.enforced else self.doubted).append(judged.refusal.message)
        # guard: an archive brings nothing that is refused
        return judged.refusal.enforced

    def _bundles(self, attached: Attached) -> Iterator[bytes]:
        for digest, size in archive.parts_of(json.loads(attached.data)).items():
            if attached.kind == bundle.MEDIA_TYPE and digest != archive.EMPTY_DIGEST and size <= bundle.LIMIT:
                yield archive.read_blob(self._file, self._contents.spans[digest], digest)

    def require_room(self, new: list[ArchivedArtifact]) -> None:
        wanted = {digest: size for one in new for digest, size in one.packed.sizes.items()}
        there = sum(
            os.path.getsize(path)
            for one in new
            for digest in one.packed.sizes
            if os.path.isfile(path := self._path(one, digest))
        )
        self._total = sum(size for digest, size in wanted.items() if digest not in self._blobs)
        free = disk_free(self._machine.layout.root)
        if (needed := max(self._total - there, 0) + RESERVE * bool(new)) > free:
            message = (
                f"the import needs {size_text(needed)}, {size_text(free)} are free for {self._machine.layout.root}"
            )
            raise DiskFull(message, hint="free some space; what has come is kept")

    def artifact(self, one: ArchivedArtifact) -> None:
        machine, key = self._machine, one.packed.artifact.build_key
        folder = pull_folder(machine, key)
        durable.make_folder(folder)
        for size, digest in sorted((size, digest) for digest, size in one.packed.sizes.items()):
            if digest not in self._blobs:
                self._blob(one, digest, size)
        judged = self._signers[key]
        origin = Origin(
            artifact=one.packed.artifact.digest,
            build_key=key,
            registry=ARCHIVE,
            signed_by=judged.signed_by,
            since=now(),
        )
        artifact = take_in(origin, one.manifest, folder, machine, again="import it once more")
        if (numbers := self._numbers(one)) is not None:
            machine.records.save_comparison(numbers)
        self._blobs.update(part.digest for part in artifact.files)
        durable.free(durable.unname(folder, machine.layout.trash))

    def _blob(self, one: ArchivedArtifact, digest: str, size: int) -> None:
        """One that an earlier attempt left is read: a disk may have been pulled out since."""
        path = self._path(one, digest)
        if os.path.lexists(path) and not (os.path.isfile(path) and StampBook.empty().digest(path) == digest):
            durable.remove_file(path)
        if not os.path.lexists(path):
            span, before = self._contents.spans[digest], self._done
            archive.copy_blob(self._file, span, digest, path, lambda count: self._on_bytes(before + count, self._total))
        self._done += size

    def _path(self, one: ArchivedArtifact, digest: str) -> str:
        return os.path.join(pull_folder(self._machine, one.packed.artifact.build_key), digest.removeprefix("sha256:"))

    def _numbers(self, one: ArchivedArtifact) -> Comparison | None:
        """The newest of its builder's, on the texts of today; where builds have to be signed, those that were."""
        from reconciler.registry import numbers

        made, judged = one.packed.artifact, self._signers[one.packed.artifact.build_key]
        if judged.fidelity is not None:
            reference = self._reference(judged.reference, made.build_key)
            found = [Comparison(fidelity=judged.fidelity, reference=reference)]
        # guard: numbers of an archive are signed too
        elif self._trust.enforces(ARCHIVE):
            found = []
        else:
            listed = [each.data for each in self._contents.of(made.digest) if each.kind == numbers.TYPE]
            found = [
                Comparison(fidelity=held, reference=self._reference(numbers.layer_digest(each), made.build_key))
                for each in listed
                if (held := numbers.read_numbers(each, made.digest, made.build_key)) is not None
            ]
        fitting = [each for each in found if each.fidelity.prompts == TEXTS_DIGEST]
        return max(fitting, key=lambda each: each.fidelity.when, default=None)

    def _reference(self, digest: str, build_key: str) -> Reference | None:
        span = self._contents.spans.get(digest)
        if span is None or span.size > references.LARGEST:
            return None
        return references.read(archive.read_blob(self._file, span, digest), build_key)

    def files(self, declared: DeclaredFiles) -> bool:
        """Whether they are new here."""
        layout, final = self._machine.layout, imported_folder(self._machine.layout)
        if self._are_there(final):
            return False
        staged = os.path.join(layout.staging, "imported")
        if os.path.lexists(staged):
            durable.free(staged)
        for path, digest in declared.digests.items():
            data = archive.read_blob(self._file, self._contents.spans[digest], digest)
            target = os.path.join(staged, *path.split("/"))
            durable.make_folder(os.path.dirname(target))
            with durable.staged_file(target) as file:
                file.write(data)
        mark = ImportMark(
            archive=self._contents.digest, revision=declared.revision, folder=declared.folder, declared="", when=now()
        )
        self._write_mark(staged, mark)
        self._write_mark(staged, replace(mark, declared=load(os.path.join(staged, mark.folder)).revision))
        if os.path.lexists(final):
            durable.free(durable.unname(final, layout.trash))
        durable.publish(staged, final)
        return True

    def _are_there(self, final: str) -> bool:
        """As they came: not where they were edited since."""
        mark = read_mark(final)
        if mark is None or mark.archive != self._contents.digest:
            return False
        folder = os.path.join(final, mark.folder)
        return os.path.isdir(folder) and load(folder).revision == mark.revision

    def _write_mark(self, folder: str, mark: ImportMark) -> None:
        durable.write_file(os.path.join(folder, MARK), mark_bytes(mark))


def write_receipt(
    machine: Machine, imported: Imported, path: str, *, changed: bool, key: SigningKey | None = None
) -> None:
    """The machine's inventory, which says what it imported; signed beside it where the machine has a key. Not written
    anew where nothing changed since."""
    signature = path + SIGNATURE
    if not changed and _is_receipt_of(imported, path) and (key is None or os.path.exists(signature)):
        return
    inventory = take_inventory(machine)
    data = json.dumps(inventory_view(inventory), indent=2, ensure_ascii=False).encode() + b"\n"
    durable.write_file(path, data)
    if key is not None:
        durable.write_file(signature, receipt_bundle(data, os.path.basename(path), inventory, key))


def _is_receipt_of(imported: Imported, path: str) -> bool:
    try:
        known = read_inventory(read_whole(path), path).imported
    except (OSError, InventoryInvalid):
        return False
    return known is not None and known.archive == imported.archive
