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
from dataclasses import dataclass, replace

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


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """The index as it is on disk. `held` are our artifacts by build key, `others` what other tools have listed. `lost`
    are our entries, by build key, whose manifest cannot be read and is not held under another digest: until they are
    mended, built again or removed, the blobs that they may name stay."""

    held: Mapping[str, Packed]
    lost: Mapping[str, Descriptor]
    others: tuple[Descriptor, ...]

    def without(self, keys: Container[str]) -> "_Listing":
        held = {key: one for key, one in self.held.items() if key not in keys}
        return replace(self, held=held, lost={key: one for key, one in self.lost.items() if key not in keys})


class ArtifactStore:
    def __init__(self, layout: Layout, stamps: StampBook) -> None:
        self._oci = layout.oci
        self._blobs = os.path.join(layout.oci, "blobs", "sha256")
        self._quarantine = layout.at("quarantine")
        self._stamps = stamps
        self._index_was_lost = False
        # As last listed: a daemon lists them each minute.
        self._understood: dict[str, Packed] = {}  # manifests by digest
        self._lost: dict[str, Descriptor] = {}

    def artifacts(self) -> dict[str, Artifact]:
        """By build key, as listed. `damage` tells whether their files are intact."""
        return {key: packed.artifact for key, packed in self._listing().held.items()}

    def damage(self, artifact: Artifact) -> tuple[str, ...]:
        """The files that are missing or changed. Reads only those with a new stamp."""
        return tuple(name for name, digest in self._parts(artifact) if not self._is_intact(digest))

    def lost(self) -> dict[str, str]:
        """Listed artifacts without a readable manifest: its digest by build key. As of the last `artifacts`."""
        return {key: one["digest"] for key, one in self._lost.items()}

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

    def put(self, build_key: str, tree: str, recipe: Mapping[str, object], *, anew: bool = False) -> Artifact:
        """Move the files of `tree` into the store, unless it holds the whole artifact already. `anew`: in its place."""
        listing = self._mended()
        if not anew and (known := listing.held.get(build_key)) and not self.damage(known.artifact):
            return known.artifact
        paths = files_in(tree, compiled=modelpack.takes_compiled_files(recipe))
        index.prepare(self._oci)
        files = tuple(self._take(tree, path) for path in paths)
        config = modelpack.config_bytes(recipe, files)
        return self._added(listing, config, modelpack.manifest_bytes(build_key, recipe, files, config))

    def take_in(self, manifest: bytes, folder: str, *, anew: bool = False) -> Artifact:
        """Move an artifact that another machine built into the store, unless it holds one of that build key. `folder`
        has its blobs by the hex digits of their digests, and each was compared with its name when it came; those that
        the store holds may be missing. `anew`: in the place of the one that it holds."""
        packed = modelpack.parse_manifest(digests.of_bytes(manifest), manifest)
        listing = self._mended()
        known = listing.held.get(packed.artifact.build_key)
        if not anew and known is not None and not self.damage(known.artifact):
            return known.artifact
        index.prepare(self._oci)
        for digest in sorted(_names_of(packed) - {packed.artifact.digest}):
            self._adopt(os.path.join(folder, digest[7:]), digest)
        return self._added(listing, manifest)

    def remove(self, build_key: str) -> int:
        """Unlist the artifact and delete the blobs that only it used. Returns the freed bytes."""
        listing = self._mended()
        if build_key not in listing.held and build_key not in listing.lost:
            return self._sweep(listing)
        left = listing.without({build_key})
        try:
            self._write(left)  # order: an artifact is unlisted, then its blobs go 1/2
            freed = self._sweep(left)  # order: an artifact is unlisted, then its blobs go 2/2
        except DiskFull:  # no room even for a shorter list, but deleting needs none: what is listed is damaged then
            freed = self._sweep(left)
            self._write(left)
        return freed

    def sweep(self) -> int:
        """Delete the blobs that nothing names (a killed `put` or `remove` leaves them) and rebuild a lost index.
        Returns the freed bytes."""
        index.sweep(self._oci)
        listing = self._mended()
        if index.exists(self._oci):
            index.mend_layout(self._oci)
        return self._sweep(listing)

    def only_of(self, keys: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
        """The files that would be deleted with each of these artifacts if all were removed, each listed once; and
        those that nothing names already. Reads only."""
        listing, keys = self._listing(), tuple(keys)
        left = set(self._unnamed(listing.without(keys)))
        found: dict[str, list[str]] = {}
        for key in filter(listing.held.__contains__, keys):
            mine = left & _names_of(listing.held[key])
            left -= mine
            found[key] = [self.blob(digest) for digest in sorted(mine)]
        return found, [self.blob(digest) for digest in sorted(left)]

    def _mended(self) -> _Listing:
        """The listing, rebuilt where the index is lost or not sound. Its other entries are unknown then, so this object
        deletes nothing afterwards; the next one deletes what no manifest names."""
        listing = self._listing()
        if index.is_sound(self._oci) or not (index.exists(self._oci) or _digests_in(self._blobs)):
            return self._relisted(listing) if listing.lost else listing
        self._index_was_lost = True
        if index.exists(self._oci):
            durable.set_aside(index.path_of(self._oci))
        held = self._listing().held  # now of all blobs
        known = [*_descriptors(held), *listing.others, *(one for key, one in listing.lost.items() if key not in held)]
        named = {one["digest"] for one in known}
        for digest in self._small_blobs():
            if digest not in named:
                with suppress(OSError, NotAnArtifact):
                    known.append(index.describe_foreign(digest, self._read_blob(digest)))
        self._list(known)
        return self._listing()

    def _relisted(self, listing: _Listing) -> _Listing:
        """An entry that names nothing may be damaged itself: its manifest then is an unlisted blob."""
        unlisted = [self._read_packed(digest) for digest in self._small_blobs() if digest not in self._understood]
        found = {one.artifact.build_key: one for one in unlisted if one and one.artifact.build_key in listing.lost}
        if not found:
            return listing
        self._write(replace(listing, held={**listing.held, **found}))
        return self._listing()

    def _listing(self) -> _Listing:
        listed = index.read(self._oci)
        digests = self._small_blobs() if listed is None else [one["digest"] for one in listed]
        packed = [one for digest in digests if (one := self._read_packed(digest)) is not None]
        self._understood = {one.artifact.digest: one for one in packed}
        held = {one.artifact.build_key: one for one in packed}
        unread = [one for one in listed or () if one["digest"] not in self._understood]
        ours = {one["annotations"][BUILD_KEY]: one for one in unread if index.is_ours(one)}
        others = tuple(one for one in unread if index.is_foreign(one))
        self._lost = {key: one for key, one in ours.items() if key not in held}
        return _Listing(held=held, lost=self._lost, others=others)

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
        self._adopt(source, digest)
        return StoredFile(path=path, digest=digest, size=size)

    def _adopt(self, source: str, digest: str) -> None:
        if not self._is_intact(digest):
            self._clear_the_way(digest)
            durable.adopt(source, self.blob(digest))
            self._stamps.vouch(self.blob(digest), digest)

    def _added(self, listing: _Listing, *documents: bytes) -> Artifact:
        """The last of them is the manifest, and all else that it names is there."""
        packed = modelpack.parse_manifest(digests.of_bytes(documents[-1]), documents[-1])
        # The manifest last: its name is flushed with all others of that folder, and only then may the index name it.
        for data in documents:  # order: a manifest is written, then listed 1/2
            self._put_bytes(data)
        # order: a manifest is written, then listed 2/2
        self._write(replace(listing, held={**listing.held, packed.artifact.build_key: packed}))
        return packed.artifact

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
        listing = self._listing()
        if build_key in listing.held:
            parts = self._parts(listing.held[build_key].artifact)
            return [digest for _, digest in parts if not self._is_intact(digest)]
        lost = listing.lost.get(build_key)  # then its manifest is damaged
        return [] if lost is None else [lost["digest"]]

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

    def _write(self, listing: _Listing) -> None:
        lost = [one for key, one in listing.lost.items() if key not in listing.held]
        self._list([*_descriptors(listing.held), *lost, *listing.others])

    def _list(self, descriptors: list[Descriptor]) -> None:
        digest = index.write(self._oci, descriptors)
        self._stamps.vouch(index.path_of(self._oci), digest)

    def _sweep(self, listing: _Listing) -> int:
        return sum(self._delete(self.blob(digest)) for digest in self._unnamed(listing))

    def _unnamed(self, listing: _Listing) -> list[str]:
        """The blobs that neither we nor another tool name; none when that is unknown."""
        if self._index_was_lost or index.is_linked(self._oci) or listing.lost:
            return []
        try:
            named = {digest for one in listing.others for digest in self._reachable(one)}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return []  # the blobs of another tool's entry are unknown
        for packed in listing.held.values():
            named |= _names_of(packed)
        return [digest for digest in _digests_in(self._blobs) if digest not in named]

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


def _descriptors(held: Mapping[str, Packed]) -> list[Descriptor]:
    return [index.describe(held[key]) for key in sorted(held)]


def _names_of(packed: Packed) -> set[str]:
    return {packed.artifact.digest, packed.config, *(file.digest for file in packed.artifact.files)}


def _digests_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            found = ["sha256:" + entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [digest for digest in sorted(found) if DIGEST.fullmatch(digest)]
