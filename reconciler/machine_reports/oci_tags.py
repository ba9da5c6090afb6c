"""Reports in an OCI registry: the tag `inventory-<machine>` of one repository names a manifest with two layers, the
report and its signature. A tag may not hold a slash, so the machine stands behind a dash.

Both layers are small, so the manifest holds them too (`data` of their descriptors, as OCI's image specification has
it): a reader of 10,000 machines asks once for each, and not three times. Tags are listed by the tags API, page by page.
"""

import base64
import binascii
import contextlib
import json
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Any

from reconciler.domain import digest as digests
from reconciler.domain.errors import RegistryFailed
from reconciler.domain.machine.registries import RegistrySettings
from reconciler.domain.text.escape import one_line
from reconciler.machine_reports.place import LONGEST_ENTRY, LONGEST_SIGNATURE, MOST_ENTRIES, Sent, all_marks
from reconciler.registry import bundle
from reconciler.registry.archive import EMPTY, descriptor, manifest_of
from reconciler.registry.client import NOT_WHOLE, RegistryClient
from reconciler.registry.notes import note, upload_small
from reconciler.registry.opening import open_registry

TYPE = "application/vnd.foundry-reconciler.report.v1+json"
REFUSAL_TYPE = "application/vnd.foundry-reconciler.refusal.v1+json"
MARKED = "reconciler.foundry/mark"
PREFIX = "inventory-"
REMOVED = "it was removed meanwhile"
AT_ONCE = 8  # questions
AHEAD = 200  # answers that are held


class ReportTags:
    """`folder` is for temporary files, "" for a reader."""

    def __init__(self, settings: RegistrySettings, folder: str = "") -> None:
        self.name = f"oci://{settings.address}"
        self._settings, self._folder = settings, folder
        self._client = open_registry(settings, push=bool(folder)).registry
        self._readers: SimpleQueue[RegistryClient] = SimpleQueue()  # a session is for one thread at a time

    def put(self, one: Sent) -> None:
        layers = {TYPE: one.data} | ({bundle.MEDIA_TYPE: one.signature} if one.signature is not None else {})
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            for data in (EMPTY, *layers.values()):
                upload_small(self._client, data, folder)
        embedded = (
            {**descriptor(data, kind), "data": base64.b64encode(data).decode()} for kind, data in layers.items()
        )
        self._client.put_manifest(manifest_of(TYPE, embedded), PREFIX + one.entry)

    def each(self) -> Iterator[Sent]:
        return self._of(sorted(islice((tag for tag in self._client.tags() if tag.startswith(PREFIX)), MOST_ENTRIES)))

    def some(self, entries: Iterable[str]) -> Iterator[Sent]:
        """One question for each: no list of tags."""
        return (one for one in self._of(sorted(PREFIX + entry for entry in set(entries))) if one.why != REMOVED)

    def _of(self, tags: Sequence[str]) -> Iterator[Sent]:
        for _ in range(min(AT_ONCE, len(tags)) - self._readers.qsize()):
            self._readers.put(open_registry(self._settings).registry)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for start in range(0, len(tags), AHEAD):
                yield from pool.map(self._read_with, tags[start : start + AHEAD])

    def mark(self, marks: Iterable[str]) -> None:
        """Each is a manifest of its own, so that removing one takes no other away."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            for name in marks:
                self._client.put_manifest(note(self._client, REFUSAL_TYPE, {MARKED: name}, folder), name)

    def unmark(self, marks: Iterable[str]) -> None:
        for name in marks:
            with contextlib.suppress(RegistryFailed):  # many registries remove nothing
                self._client.remove(name)

    def marks(self) -> Collection[str]:
        return all_marks(self._client.tags(), self.name)

    def close(self) -> None:
        self._client.session.close()
        while not self._readers.empty():
            self._readers.get().session.close()

    def _read_with(self, tag: str) -> Sent:
        client = self._readers.get()
        try:
            return _read(client, tag)
        finally:
            self._readers.put(client)


def _read(client: RegistryClient, tag: str) -> Sent:
    """Raises RegistryFailed where the registry cannot be asked."""
    entry = tag.removeprefix(PREFIX)
    try:
        data, _ = client.tagged(tag)
        if data is None:
            return Sent(entry=entry, why=REMOVED)
        return _parts(client, entry, data)
    except RegistryFailed as error:
        if error.code not in NOT_WHOLE:
            raise
        return Sent(entry=entry, why=one_line(str(error), 200))


def _parts(client: RegistryClient, entry: str, manifest: bytes) -> Sent:
    try:
        document = json.loads(manifest)
        if document["artifactType"] != TYPE:
            return Sent(entry=entry, why=f"its type is {one_line(str(document['artifactType']), 80)}")
        layers = {one["mediaType"]: one for one in document["layers"]}
        signature = layers.get(bundle.MEDIA_TYPE)
        return Sent(
            entry=entry,
            data=_part(client, layers[TYPE], LONGEST_ENTRY),
            signature=_part(client, signature, LONGEST_SIGNATURE) if signature is not None else None,
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, binascii.Error):
        return Sent(entry=entry, why="it has not the form of a report's manifest")


def _part(client: RegistryClient, layer: Mapping[str, Any], most: int) -> bytes:
    """What lies in the manifest counts by its digest, as a blob does."""
    size, digest = layer["size"], layer["digest"]
    if type(size) is not int or size > most:
        raise ValueError("too long")
    if "data" not in layer:
        return client.small_blob(digest, size)
    data = base64.b64decode(layer["data"], validate=True)
    # guard: what a manifest embeds matches its digest
    if digests.of_bytes(data) != digest:
        raise ValueError("other bytes")
    return data
