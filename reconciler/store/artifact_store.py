"""The artifact store: an OCI image layout that skopeo, oras and crane can read. Every file once, by its sha256.

`put` writes blobs, then the manifest that names them, then the index that names the manifest; `remove` goes the other
way. A process that dies in between leaves unnamed blobs, which the next sweep deletes. A damaged blob is replaced from
a served file, or by the next conversion that gives the same bytes.
Reading needs no lock; changing the store needs the root's lock.
"""

import json
import os
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress

from reconciler.domain import digest as digests
from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import DiskFull
from reconciler.domain.layout import Layout
from reconciler.domain.release import Artifact
from reconciler.host import durable
from reconciler.host.reading import read_whole
from reconciler.host.stamps import StampBook
from reconciler.store import index, modelpack
from reconciler.store.index import Descriptor
from reconciler.store.modelpack import BUILD_KEY, DIGEST, NotAnArtifact, Packed, files_in

Twins = Mapping[str, Iterable[str]]  # served files by the digest that they should have

MANIFEST_LIMIT = 4 << 20  # bytes; registries refuse more


class ArtifactStore:
    def __init__(self, layout: Layout, stamps: StampBook) -> None:
        self._oci = layout.oci
        self._blobs = os.path.join(layout.oci, "blobs", "sha256")
        self._quarantine = layout.at("quarantine")
        self._stamps = stamps
        self._index_was_lost = False
        self._understood: dict[str, Packed] = {}  # manifests as last listed: a daemon lists them each minute

    def artifacts(self) -> dict[str, Artifact]:
        """By build key, as listed. `damage` tells whether their files are intact."""
        return {key: packed.artifact for key, packed in self._packed().items()}

    def damage(self, artifact: Artifact) -> tuple[str, ...]:
        """The files that are missing or changed. Reads only those with a new stamp."""
        return tuple(name for name, digest in self._parts(artifact) if not self._is_intact(digest))

    def lost(self) -> dict[str, str]:
        """Listed artifacts without a readable manifest: its digest by build key. As of the last `artifacts`."""
        return {one["annotations"][BUILD_KEY]: one["digest"] for one in self._unreadable()}

    def mendable(self, build_key: str, twins: Twins) -> bool:
        """Whether each damaged blob has a served file with the right bytes, so that `mend` needs no conversion."""
        return all(self._whole_twin(digest, twins) for digest in self._damaged(build_key))

    def mend(self, build_key: str, twins: Twins) -> None:
        """Replace each damaged blob with a copy of its twin."""
        for digest in self._damaged(build_key):
            if twin := self._whole_twin(digest, twins):
                self._replace(digest, twin)

    def doubt_index(self) -> None:
        """Its bytes changed and its stamp did not: set it aside, so that the next change lists the blobs anew."""
        if index.exists(self._oci):
            durable.set_aside(index.path_of(self._oci))

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
        packed = modelpack.parse_manifest(digests.of_bytes(manifest), manifest)
        # The manifest last: its name is flushed with all others of that folder, and only then may the index name it.
        for data in (config, manifest):  # order: a manifest is written, then listed 1/2
            self._put_bytes(data)
        self._write_index({**held, build_key: packed})  # order: a manifest is written, then listed 2/2
        return packed.artifact

    def remove(self, build_key: str) -> int:
        """Unlist the artifact and delete the blobs that only it used. Returns the freed bytes."""
        self._mend_index()
        held = self._packed()
        if held.pop(build_key, None) is None and build_key not in self.lost():
            return self._sweep(held)
        try:
            self._write_index(held, gone=build_key)  # order: an artifact is unlisted, then its blobs go 1/2
            freed = self._sweep(held)  # order: an artifact is unlisted, then its blobs go 2/2
        except DiskFull:  # no room even for a shorter list, but deleting needs none: what is listed is damaged then
            freed = self._sweep(held, gone=build_key)
            self._write_index(held, gone=build_key)
        return freed

    def sweep(self) -> int:
        """Delete the blobs that nothing names (a killed `put` or `remove` leaves them) and rebuild a lost index.
        Returns the freed bytes."""
        index.sweep(self._oci)
        self._mend_index()
        if index.exists(self._oci):
            index.mend_layout(self._oci)
        return self._sweep(self._packed())

    def only_of(self, keys: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
        """The files that would be deleted with each of these artifacts if all were removed, each listed once; and
        those that nothing names already. Reads only."""
        held = self._packed()
        going = {key: held.pop(key) for key in keys if key in held}
        left = set(self._unnamed(held, frozenset(keys)))
        found: dict[str, list[str]] = {}
        for key, packed in going.items():
            mine = left & _names_of(packed)
            left -= mine
            found[key] = [self.blob(digest) for digest in sorted(mine)]
        return found, [self.blob(digest) for digest in sorted(left)]

    def _mend_index(self) -> None:
        """Rebuild an index that is lost or not sound. Its other entries are unknown then, so this object deletes
        nothing afterwards; the next one deletes what no manifest names."""
        if index.is_sound(self._oci) or not (index.exists(self._oci) or _digests_in(self._blobs)):
            self._relist()
            return
        self._index_was_lost = True
        self._packed()
        others, lost = self._others(), self._unreadable()  # if the index can still be read
        if index.exists(self._oci):
            durable.set_aside(index.path_of(self._oci))
        held = self._packed()
        known = [index.describe(held[key]) for key in sorted(held)]
        known += [*others, *(one for one in lost if one["annotations"][BUILD_KEY] not in held)]
        named = {one["digest"] for one in known}
        for digest in self._manifests():
            if digest not in named:
                with suppress(OSError, NotAnArtifact):
                    known.append(index.describe_foreign(digest, self._read_blob(digest)))
        self._list(known)

    def _relist(self) -> None:
        """An entry that names nothing may be damaged itself: its manifest then is an unlisted blob."""
        held, lost = self._packed(), self.lost()
        if not lost:
            return
        unlisted = [self._read_packed(digest) for digest in self._small_blobs() if digest not in self._understood]
        found = {one.artifact.build_key: one for one in unlisted if one and one.artifact.build_key in lost}
        if found:
            self._write_index({**held, **found})

    def _packed(self) -> dict[str, Packed]:
        packed = [one for digest in self._manifests() if (one := self._read_packed(digest)) is not None]
        self._understood = {one.artifact.digest: one for one in packed}
        return {one.artifact.build_key: one for one in packed}

    def _manifests(self) -> Iterable[str]:
        descriptors = index.read(self._oci)
        return self._small_blobs() if descriptors is None else [one["digest"] for one in descriptors]

    def _small_blobs(self) -> list[str]:
        """Any of them may be a manifest."""
        found = []
        for digest in _digests_in(self._blobs):
            with suppress(OSError):  # gone meanwhile, or on a bad sector
                if os.stat(self.blob(digest)).st_size <= MANIFEST_LIMIT:
                    found.append(digest)
        return found

    def _read_packed(self, digest: str) -> Packed | None:
        """None for what is no artifact of ours, and for a damaged manifest."""
        known = self._understood.get(digest)
        if known is not None and self._is_intact(digest):
            return known
        try:
            return modelpack.parse_manifest(digest, self._read_blob(digest))
        except (OSError, ValueError):
            return None

    def _read_blob(self, digest: str) -> bytes:
        data = read_whole(self.blob(digest))
        if digests.of_bytes(data) != digest:
            raise NotAnArtifact(f"{digest} is damaged")
        return data

    def _is_intact(self, digest: str) -> bool:
        return self._has(self.blob(digest), digest)

    def _has(self, path: str, digest: str) -> bool:
        try:
            return self._stamps.digest(path) == digest
        except OSError:  # unreadable counts as missing
            return False

    def _take(self, tree: str, path: str) -> StoredFile:
        """A process that still writes into the finished tree is not considered: its group was killed."""
        source = os.path.join(tree, path)
        digest, size = self._stamps.digest(source), os.stat(source).st_size
        if not self._is_intact(digest):
            self._clear_the_way(digest)
            durable.adopt(source, self.blob(digest))
            self._stamps.vouch(self.blob(digest), digest)
        return StoredFile(path=path, digest=digest, size=size)

    def _put_bytes(self, data: bytes) -> None:
        digest = digests.of_bytes(data)
        if not self._is_intact(digest):
            self._clear_the_way(digest)
            durable.write_file(self.blob(digest), data, mode=0o444)
            self._stamps.vouch(self.blob(digest), digest)

    def _clear_the_way(self, digest: str) -> None:
        """A folder in the place of a blob is not ours and cannot be replaced: it is moved to quarantine."""
        path = self.blob(digest)
        if os.path.isdir(path) and not os.path.islink(path):
            durable.unname(path, os.path.join(self._quarantine, str(time.time_ns())))

    def _parts(self, artifact: Artifact) -> Iterator[tuple[str, str]]:
        """The artifact's config and files, with their digests."""
        known = self._understood.get(artifact.digest)
        if known is not None:
            yield "its config", known.config
        yield from ((file.path, file.digest) for file in artifact.files)

    def _damaged(self, build_key: str) -> list[str]:
        packed = self._packed().get(build_key)
        if packed is not None:
            return [digest for _, digest in self._parts(packed.artifact) if not self._is_intact(digest)]
        lost = self.lost().get(build_key)  # then its manifest is damaged
        return [] if lost is None else [lost]

    def _whole_twin(self, digest: str, twins: Twins) -> str:
        """The path of a served file that holds these bytes; "" when there is none."""
        return next((path for path in twins.get(digest, ()) if self._has(path, digest)), "")

    def _replace(self, digest: str, twin: str) -> None:
        """Through a temporary name, so that no reader sees half a blob. The copy is hashed while it is written, because
        the twin was checked earlier."""
        self._clear_the_way(digest)
        copied = durable.temporary_for(self.blob(digest))
        found, _ = durable.copy_hashed(twin, copied)
        if found != digest:
            durable.remove_file(copied)
            return
        durable.rename(copied, self.blob(digest))
        self._stamps.vouch(self.blob(digest), digest)

    def _unreadable(self, gone: Container[str] = ()) -> list[Descriptor]:
        """Entries of ours whose manifest cannot be read, and is not held under another digest. Until they are mended,
        built again or removed, the blobs that they may name stay."""
        held = {one.artifact.build_key for one in self._understood.values()}
        return [
            one
            for one in index.read(self._oci) or ()
            if not index.is_foreign(one)
            and DIGEST.fullmatch(one["digest"])
            and one["digest"] not in self._understood
            and isinstance(one["annotations"][BUILD_KEY], str)
            and one["annotations"][BUILD_KEY] not in held
            and one["annotations"][BUILD_KEY] not in gone
        ]

    def _write_index(self, held: Mapping[str, Packed], gone: str = "") -> None:
        ours = [index.describe(held[key]) for key in sorted(held)]
        lost = [one for one in self._unreadable({gone} - {""}) if one["annotations"][BUILD_KEY] not in held]
        self._list([*ours, *lost, *self._others()])

    def _list(self, descriptors: list[Descriptor]) -> None:
        digest = index.write(self._oci, descriptors)
        self._stamps.vouch(index.path_of(self._oci), digest)

    def _sweep(self, held: Mapping[str, Packed], gone: str = "") -> int:
        return sum(self._delete(self.blob(digest)) for digest in self._unnamed(held, {gone} - {""}))

    def _unnamed(self, held: Mapping[str, Packed], gone: Container[str]) -> list[str]:
        """The blobs that neither `held` nor another tool names; none when that is unknown."""
        if self._index_was_lost or index.is_linked(self._oci) or self._unreadable(gone):
            return []
        try:
            named = {digest for one in self._others() for digest in self._reachable(one)}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return []  # the blobs of another tool's entry are unknown
        for packed in held.values():
            named |= _names_of(packed)
        return [digest for digest in _digests_in(self._blobs) if digest not in named]

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


def _names_of(packed: Packed) -> set[str]:
    return {packed.artifact.digest, packed.config, *(file.digest for file in packed.artifact.files)}


def _digests_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            found = ["sha256:" + entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [digest for digest in sorted(found) if DIGEST.fullmatch(digest)]
