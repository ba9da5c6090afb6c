"""Check the store: every entry of the index, every manifest, every blob to its last byte. Reads only.

The store itself reads leniently, because a pass must go on; this check reports what the store tolerates.
"""

import json
import os
import stat
from collections.abc import Iterator
from typing import Any

from reconciler.domain import digest as digests
from reconciler.domain.finding import Finding
from reconciler.domain.layout import Layout, is_of_file_manager
from reconciler.host.durable import is_temporary
from reconciler.host.reading import names_in, read_whole
from reconciler.host.stamps import StampBook
from reconciler.store import index, modelpack
from reconciler.store.index import Descriptor
from reconciler.store.modelpack import DIGEST, NotAnArtifact

REPAIR = "`reconciler apply --scrub` repairs it from a served copy, or converts its model again"
ROTTEN = "`reconciler apply --scrub` writes it anew"
SWEEP = "the next `reconciler apply` sweeps it"


def check_store(layout: Layout, book: StampBook) -> tuple[Finding, ...]:
    """`book` gives the digests; use one that trusts no stamp."""
    if not os.path.lexists(layout.oci):
        return ()
    return tuple(_Check(layout, book).run())


class _Check:
    def __init__(self, layout: Layout, book: StampBook) -> None:
        self._layout = layout
        self._blobs = os.path.join(layout.oci, "blobs", "sha256")
        self._book = book
        self._named: set[str] = set()
        self._complete = True  # false once something that may name blobs cannot be read

    def run(self) -> Iterator[Finding]:
        names = names_in(self._blobs)
        if names and not index.is_layout(self._layout.oci):
            yield Finding("StoreUnreadable", "oci/oci-layout", "is not that of an OCI image layout 1.0.0")
        yield from self._index(names)
        yield from self._all_blobs(names)
        for name in filter(is_temporary, names_in(self._layout.oci)):
            yield Finding("LeftOver", f"oci/{name}", "a write that was never finished", SWEEP)

    def _index(self, names: list[str]) -> Iterator[Finding]:
        descriptors = index.read(self._layout.oci)
        if descriptors is None:
            self._complete = False
            if names:
                hint = "`reconciler apply` writes it anew from the blobs"
                yield Finding("StoreUnreadable", "oci/index.json", "is missing or unreadable", hint)
        elif not index.is_sound(self._layout.oci):
            yield Finding("StoreUnreadable", "oci/index.json", "holds what no such list holds", ROTTEN)
        for descriptor in descriptors or ():
            yield from self._manifest(descriptor)

    def _manifest(self, descriptor: Descriptor) -> Iterator[Finding]:
        digest = descriptor["digest"]
        self._named.add(digest)
        try:
            data = self._read(digest)
            yield from self._described(descriptor, data)
            yield from self._parts(digest, json.loads(data))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._complete = False
            yield Finding("ManifestDamaged", digest, f"{type(error).__name__}: {error}", REPAIR)

    def _read(self, digest: str) -> bytes:
        if not DIGEST.fullmatch(digest):
            raise NotAnArtifact("the index names it by no sha256 digest")
        data = read_whole(self._path(digest))
        if digests.of_bytes(data) != digest:
            raise NotAnArtifact("its bytes are others")
        return data

    def _described(self, descriptor: Descriptor, data: bytes) -> Iterator[Finding]:
        """The index must describe the manifest as it is."""
        if descriptor.get("size") != len(data):
            yield Finding("ManifestDamaged", descriptor["digest"], "the index gives it another size")
        if index.is_foreign(descriptor):
            return
        packed = modelpack.parse_manifest(descriptor["digest"], data)
        wrong = [key for key, held in index.describe(packed).items() if descriptor.get(key) != held]
        if set(wrong) - {"size"}:
            message = f"the index gives it another {', '.join(wrong)}"
            yield Finding("ManifestDamaged", descriptor["digest"], message, ROTTEN)

    def _parts(self, digest: str, document: dict[str, Any]) -> Iterator[Finding]:
        for inner in document.get("manifests", ()):
            yield from self._manifest(inner)
        for part in (*document.get("layers", ()), document.get("config")):
            if part:
                self._named.add(part["digest"])
                yield from self._part(digest, part)

    def _part(self, manifest: str, part: Descriptor) -> Iterator[Finding]:
        try:
            size = os.lstat(self._path(part["digest"])).st_size
        except OSError:
            yield Finding("BlobMissing", part["digest"], f"{manifest[:19]} names it", REPAIR)
            return
        if size != part["size"]:
            message = f"has {size} bytes, {manifest[:19]} says {part['size']}"
            yield Finding("BlobDamaged", part["digest"], message, REPAIR)

    def _all_blobs(self, names: list[str]) -> Iterator[Finding]:
        for name in (one for one in names if not is_of_file_manager(one)):
            where = f"oci/blobs/sha256/{name}"
            if is_temporary(name):
                yield Finding("LeftOver", where, "a write that was never finished", SWEEP)
            elif not DIGEST.fullmatch(f"sha256:{name}"):
                yield Finding("BlobForeign", where, "is not named by a digest", "move it away")
            else:
                yield from self._blob(f"sha256:{name}")

    def _blob(self, digest: str) -> Iterator[Finding]:
        if self._complete and digest not in self._named:
            yield Finding("BlobUnreferenced", digest, "nothing names it", SWEEP)
        try:
            regular = stat.S_ISREG(os.lstat(self._path(digest)).st_mode)
            whole = regular and self._book.digest(self._path(digest)) == digest
        except OSError:  # unreadable is as bad as gone
            whole = False
        if not whole:
            yield Finding("BlobDamaged", digest, "its bytes are others", REPAIR)

    def _path(self, digest: str) -> str:
        return os.path.join(self._blobs, digest.removeprefix("sha256:"))
