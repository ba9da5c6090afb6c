"""The artifact store: an OCI image layout that skopeo, oras and crane can read. Every file once, by its sha256.

To put: blobs, then the manifest that names them, then the index that names the manifest; to remove: the other
way round. A process that dies in between leaves blobs that nobody names, which the next sweep takes. Nothing
is built twice for one build key, and a damaged blob is replaced by whoever brings the right bytes.
Reading needs no lock; whoever changes the store holds the root's lock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping

from reconciler.artifacts import index, modelpack
from reconciler.artifacts.modelpack import DIGEST, NotAnArtifact, Packed
from reconciler.artifacts.tree import files_in
from reconciler.core import digest as digests
from reconciler.core.errors import DiskFull
from reconciler.core.release import Artifact, StoredFile
from reconciler.host import durable
from reconciler.host.reading import read_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from reconciler.artifacts.index import Descriptor
    from reconciler.core.layout import Layout
    from reconciler.host.stamps import StampBook

MANIFEST_LIMIT = 4 << 20  # bytes; registries refuse more


class ArtifactStore:
    def __init__(self, layout: Layout, stamps: StampBook) -> None:
        self._oci = layout.oci
        self._blobs = os.path.join(layout.oci, "blobs", "sha256")
        self._stamps = stamps
        self._index_was_lost = False
        self._understood: dict[str, Packed] = {}  # manifests as last listed: a daemon lists them each minute

    def artifacts(self) -> dict[str, Artifact]:
        """By build key, as listed. Whether their files are whole is another question: see `damage`."""
        return {key: packed.artifact for key, packed in self._packed().items()}

    def damage(self, artifact: Artifact) -> tuple[str, ...]:
        """The files that are missing or changed. Reads only those whose stamp is a new one."""
        return tuple(file.path for file in artifact.files if not self._is_intact(file.digest))

    def blob(self, digest: str) -> str:
        """Where the bytes lie, or would lie."""
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no sha256 digest")
        return f"{self._blobs}{os.sep}{digest[7:]}"

    def put(self, build_key: str, tree: str, recipe: Mapping[str, object]) -> Artifact:
        """Move the files of `tree` into the store, unless it holds the whole artifact already."""
        self._mend_index()
        held = self._packed()
        if build_key in held and not self.damage(held[build_key].artifact):
            return held[build_key].artifact
        paths = files_in(tree)
        index.prepare(self._oci)
        files = tuple(self._take(tree, path) for path in paths)
        config = modelpack.config_bytes(recipe, files)
        manifest = modelpack.manifest_bytes(build_key, recipe, files, config)
        digest = [self._put_bytes(data) for data in (config, manifest)][-1]
        durable.flush_folder(self._blobs)  # first: the index must never name a blob that a power cut can take
        packed = modelpack.parse_manifest(digest, manifest)
        self._write_index({**held, build_key: packed})
        return packed.artifact

    def remove(self, build_key: str) -> int:
        """Forget the artifact and delete what only it used. Returns the bytes that this gave back."""
        self._mend_index()
        held = self._packed()
        if held.pop(build_key, None) is None:
            return self._sweep(held)
        try:
            self._write_index(held)
            return self._sweep(held)
        except (
            DiskFull
        ):  # no room even for a shorter list, but deleting needs none: what is listed is damaged then
            freed = self._sweep(held)
            self._write_index(held)
            return freed

    def sweep(self) -> int:
        """Delete the blobs that nothing names (what a killed `put` or `remove` left) and write a lost index anew.
        Returns the bytes given back."""
        index.sweep(self._oci)
        self._mend_index()
        return self._sweep(self._packed())

    def _mend_index(self) -> None:
        """Write a lost index anew. What it named besides manifests cannot be known, so this store deletes nothing
        after that; the next one deletes what no manifest names."""
        if index.read(self._oci) is not None or not (index.exists(self._oci) or _names_in(self._blobs)):
            return
        self._index_was_lost = True
        held = self._packed()
        ours = {packed.artifact.digest for packed in held.values()}
        foreign = [self._described(digest) for digest in self._manifests() if digest not in ours]
        if index.exists(self._oci):
            index.set_aside(self._oci)
        known = [index.describe(held[key]) for key in sorted(held)]
        index.write(self._oci, [*known, *(one for one in foreign if one is not None)])

    def _described(self, digest: str) -> Descriptor | None:
        try:
            return index.describe_foreign(digest, self._read_blob(digest))
        except (OSError, NotAnArtifact):
            return None

    def _packed(self) -> dict[str, Packed]:
        packed = [one for digest in self._manifests() if (one := self._read_packed(digest)) is not None]
        self._understood = {one.artifact.digest: one for one in packed}
        return {one.artifact.build_key: one for one in packed}

    def _manifests(self) -> Iterable[str]:
        descriptors = index.read(self._oci)
        if descriptors is not None:
            return [one["digest"] for one in descriptors]
        # Any of the small blobs may be one.
        return ["sha256:" + name for name in _names_in(self._blobs) if self._size(name) <= MANIFEST_LIMIT]

    def _size(self, name: str) -> int:
        try:
            return os.stat(os.path.join(self._blobs, name)).st_size
        except OSError:  # gone meanwhile, or on a bad sector
            return MANIFEST_LIMIT + 1

    def _read_packed(self, digest: str) -> Packed | None:
        """None for what is no artifact of ours, and for a manifest that is not what its digest promises."""
        known = self._understood.get(digest)
        if known is not None and self._is_intact(digest):
            return known
        try:
            return modelpack.parse_manifest(digest, self._read_blob(digest))
        except (OSError, ValueError):
            return None

    def _unread(self, held: Mapping[str, Packed]) -> list[Descriptor]:
        """Listed artifacts of ours that are there, though nobody can read what they are made of just now."""
        known = {packed.artifact.digest for packed in held.values()}
        listed = [one for one in index.read(self._oci) or () if one["digest"] not in known]
        return [one for one in listed if not index.is_foreign(one) and self._cannot_be_read(one["digest"])]

    def _cannot_be_read(self, digest: str) -> bool:
        try:
            read_whole(self.blob(digest))
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def _read_blob(self, digest: str) -> bytes:
        data = read_whole(self.blob(digest))
        if digests.of_bytes(data) != digest:
            raise NotAnArtifact(f"{digest} is damaged")
        return data

    def _is_intact(self, digest: str) -> bool:
        try:
            return self._stamps.digest(self.blob(digest)) == digest
        except OSError:  # unreadable is as bad as gone
            return False

    def _take(self, tree: str, path: str) -> StoredFile:
        """A stray process that still writes into its finished tree is not defended against: its group was
        killed."""
        source = os.path.join(tree, path)
        digest, size = self._stamps.digest(source), os.stat(source).st_size
        if not self._is_intact(digest):
            durable.adopt(source, self.blob(digest))
            self._stamps.vouch(self.blob(digest), digest)
        return StoredFile(path=path, digest=digest, size=size)

    def _put_bytes(self, data: bytes) -> str:
        digest = digests.of_bytes(data)
        if not self._is_intact(digest):
            durable.write_file(self.blob(digest), data, mode=0o444)
            self._stamps.vouch(self.blob(digest), digest)
        return digest

    def _write_index(self, held: Mapping[str, Packed]) -> None:
        ours = [index.describe(held[key]) for key in sorted(held)]
        index.write(self._oci, [*ours, *self._unread(held), *self._others()])

    def _sweep(self, held: Mapping[str, Packed]) -> int:
        if self._index_was_lost or index.is_linked(self._oci) or self._unread(held):
            return 0  # what cannot be told is not deleted
        try:
            named = {digest for one in self._others() for digest in self._reachable(one)}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return 0  # an entry of another tool's whose blobs we cannot tell: delete nothing
        for packed in held.values():
            named |= {packed.artifact.digest, packed.config, *(file.digest for file in packed.artifact.files)}
        unnamed = [name for name in _names_in(self._blobs) if "sha256:" + name not in named]
        return sum(self._delete(os.path.join(self._blobs, name)) for name in unnamed)

    def _others(self) -> list[Descriptor]:
        """What other tools have listed in the layout."""
        listed = index.read(self._oci) or ()
        return [one for one in listed if index.is_foreign(one) and self._read_packed(one["digest"]) is None]

    def _reachable(self, descriptor: Descriptor) -> Iterator[str]:
        digest = descriptor["digest"]
        document = json.loads(self._read_blob(digest))
        yield digest
        yield from (part["digest"] for part in [*document.get("layers", ()), document.get("config")] if part)
        for inner in document.get("manifests", ()):
            yield from self._reachable(inner)

    def _delete(self, path: str) -> int:
        status = os.lstat(path)
        self._stamps.remove(path)
        return status.st_size if status.st_nlink == 1 else 0  # a served folder may still hold the bytes


def _names_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            files = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name for name in sorted(files) if DIGEST.fullmatch("sha256:" + name)]
