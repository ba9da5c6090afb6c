"""Artifacts to a registry and back. What is pushed is what the store holds, byte for byte: an artifact has one digest
in the store and in every registry.

Blobs lie in a folder by the hex digits of their digest, as in an OCI image layout (`blobs/sha256`): none lies twice,
whatever its files are called. Both directions may be killed at any time and go on: a blob is there or not, and the
manifest comes last. A pull asks the mirrors first and believes all of them, and the registry, by digest only.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from reconciler.domain.errors import DiskFull, PermanentError, RegistryFailed
from reconciler.domain.machine.bandwidth import UNMETERED, Meter
from reconciler.domain.text.units import size_text
from reconciler.host import durable
from reconciler.host.disk_usage import disk_free
from reconciler.host.reading import read_whole
from reconciler.host.stamps import StampBook
from reconciler.registry import artifact
from reconciler.registry.client import AN_HOUR, NOT_WHOLE, RegistryClient
from reconciler.registry.download import Blob, BlobDownload, part_size
from reconciler.registry.upload import BlobUpload
from reconciler.store.artifact_store import MANIFEST_LIMIT
from reconciler.store.index import tag_of
from reconciler.store.modelpack import NotAnArtifact, Packed

T = TypeVar("T")
OF_ONE_BLOB = (*NOT_WHOLE, "ArtifactRefused")
OnProgress = Callable[[int, int], None]  # bytes that are there, of how many; may raise to end the transfer


def quiet(done: int, total: int) -> None:
    """No progress is wanted."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """`manifest` are its bytes. `moved`: bytes that came from a registry now. `complaints`: what was
    wrong with mirrors."""

    packed: Packed
    manifest: bytes
    moved: int
    complaints: tuple[str, ...]


def find(client: RegistryClient, build_key: str) -> str | None:
    """The digest of the artifact that was built by this key."""
    return client.resolve(tag_of(build_key))


def push(client: RegistryClient, blobs: str, digest: str, on_progress: OnProgress = quiet) -> str:
    """An artifact of these blobs, under the tag of its build key. The first build of a key stays: where the tag is
    there, nothing moves. Returns the digest that the tag names."""
    manifest = read_whole(_path(blobs, digest), MANIFEST_LIMIT)
    try:
        packed = artifact.read(digest, manifest)
    except NotAnArtifact as error:
        raise PermanentError(f"{digest}: {error}", code="ArtifactRefused") from None
    tag = tag_of(packed.artifact.build_key)
    if there := client.resolve(tag):
        return there
    progress = _Progress(on_progress, wanted := _blobs_of(packed))
    for blob in wanted:
        BlobUpload(client, blob, _path(blobs, blob.digest), progress.moved).run()
        progress.end(blob)
    return client.put_manifest(manifest, tag)


class ArtifactPull:
    """One artifact, by its digest. `places` are asked in this order; the last one is the registry itself.

    `build_key`: what it must have been built by. `holds` tells which blobs are on this machine already, and do not come
    again. `reserve`: bytes that stay free.
    """

    def __init__(
        self,
        places: Sequence[RegistryClient],
        digest: str,
        folder: str,
        *,
        build_key: str = "",
        holds: Callable[[str], bool] = lambda digest: False,
        reserve: int = 0,
        on_progress: OnProgress = quiet,
        meter: Meter = UNMETERED,
    ) -> None:
        self._meter = meter
        self._places, self._digest, self._folder = list(places), digest, folder
        self._build_key = build_key
        self._holds, self._reserve, self._on_progress = holds, reserve, on_progress
        self._moved = 0
        self._complaints: list[str] = []

    def run(self) -> Pulled:
        manifest, packed = self._first(self._manifest)
        durable.make_folder(self._folder)
        missing = [blob for blob in _blobs_of(packed) if not self._is_there(blob)]
        self._require_room(missing)
        progress = _Progress(self._on_progress, missing)
        for blob in missing:
            self._fetch(blob, progress.moved)
            progress.end(blob)
        # Makes the names of the blobs last too: it flushes their folder.
        durable.write_file(_path(self._folder, self._digest), manifest, 0o444)
        return Pulled(packed=packed, manifest=manifest, moved=self._moved, complaints=tuple(self._complaints))

    def _manifest(self, place: RegistryClient) -> tuple[bytes, Packed]:
        data = place.manifest(self._digest)
        try:
            packed = artifact.read(self._digest, data)
            if self._build_key not in ("", packed.artifact.build_key):  # guard: a tag is no proof
                raise NotAnArtifact(f"it was built by the key {packed.artifact.build_key}, not {self._build_key}")
            return data, packed
        except NotAnArtifact as error:
            hint = "remove it there, so that it is built anew"
            code = "ArtifactRefused"
            raise place.session.error(self._digest, str(error), code=code, hint=hint, delay=AN_HOUR) from None

    def _is_there(self, blob: Blob) -> bool:
        """One that an earlier attempt left is read: a disk may have been pulled out since."""
        path = _path(self._folder, blob.digest)
        if self._holds(blob.digest):
            return True
        if not os.path.lexists(path):
            return False
        if os.path.isfile(path) and StampBook.empty().digest(path) == blob.digest:
            return True
        durable.remove_file(path)
        return False

    def _require_room(self, missing: Sequence[Blob]) -> None:
        needed = sum(blob.size - part_size(_path(self._folder, blob.digest), blob.size) for blob in missing)
        free = disk_free(self._folder)
        if needed + self._reserve > free:
            stays = f", and {size_text(self._reserve)} stay free" if self._reserve else ""
            message = f"{self._places[-1].session.address}: {self._digest}: {size_text(needed)} are missing{stays}"
            hint = "free some space; what has come is kept"
            raise DiskFull(f"{message}, but {size_text(free)} are free for {self._folder}", hint=hint)

    def _fetch(self, blob: Blob, moved: Callable[[int], None]) -> None:
        path = _path(self._folder, blob.digest)
        before = part_size(path, blob.size)
        self._first(lambda place: BlobDownload(place, blob, path, moved, meter=self._meter).run())
        self._moved += blob.size - before

    def _first(self, ask: Callable[[RegistryClient], T]) -> T:
        """Of the first place that can. A mirror that does not answer is not asked again in this pull."""
        registry = self._places[-1]
        for place in tuple(self._places[:-1]):
            try:
                return ask(place)
            except RegistryFailed as error:
                self._complaints.append(str(error))
                if error.code not in OF_ONE_BLOB:
                    self._places.remove(place)
        return ask(registry)


class _Progress:
    def __init__(self, report: OnProgress, blobs: Sequence[Blob]) -> None:
        self._report, self._total, self._before = report, sum(blob.size for blob in blobs), 0

    def moved(self, count: int) -> None:
        self._report(self._before + count, self._total)

    def end(self, blob: Blob) -> None:
        self._before += blob.size


def _blobs_of(packed: Packed) -> list[Blob]:
    """Each once, the small ones first: what is wrong shows before gigabytes have moved."""
    return sorted((Blob(digest=digest, size=size) for digest, size in packed.sizes.items()), key=lambda blob: blob.size)


def _path(folder: str, digest: str) -> str:
    return os.path.join(folder, digest.removeprefix("sha256:"))
