"""Notes: small manifests that say something in their annotations, or in one layer of a few kilobytes.

A note that has a subject is attached to it (`RegistryClient.attach`), one without is put under a tag.
"""

import json
import os
from collections.abc import Mapping

from reconciler.domain import digest as digests
from reconciler.domain.text.quoting import shown
from reconciler.host import durable
from reconciler.registry.archive import EMPTY, EMPTY_TYPE, descriptor, manifest_of
from reconciler.registry.client import MANIFEST_TYPE, RegistryClient
from reconciler.registry.download import Blob
from reconciler.registry.upload import BlobUpload


class NotANote(ValueError):
    """In words that say what is wrong."""


def note(
    client: RegistryClient,
    kind: str,
    annotations: Mapping[str, str],
    folder: str,
    subject: bytes | None = None,
    layer: bytes = b"",
) -> bytes:
    """The manifest, for which everything is there. `folder` is for temporary files."""
    for data in (EMPTY, layer):
        if data:
            upload_small(client, data, folder)
    return note_manifest(kind, annotations, subject, layer)


def note_manifest(kind: str, annotations: Mapping[str, str], subject: bytes | None = None, layer: bytes = b"") -> bytes:
    """`kind` is its artifact type, and the type of its `layer`, which is empty where it has none; `subject` is the
    manifest that it is about."""
    about = {"subject": descriptor(subject, MANIFEST_TYPE)} if subject is not None else {}
    one = descriptor(layer, kind) if layer else descriptor(EMPTY, EMPTY_TYPE)
    return manifest_of(kind, [one], annotations=dict(annotations), **about)


def upload_small(client: RegistryClient, data: bytes, folder: str) -> None:
    """A blob of a few kilobytes, where the registry has none. `folder` is for a temporary file."""
    blob = Blob(digest=digests.of_bytes(data), size=len(data))
    path = os.path.join(folder, f"{blob.digest[7:]}.json")
    durable.write_file(path, data)
    BlobUpload(client, blob, path).run()


def layer_of(client: RegistryClient, digest: str, kind: str, subject: str, most: int) -> bytes:
    """Of the note `digest`, which a registry lists for this subject. Raises NotANote and RegistryFailed."""
    return layer_in(client, client.manifest(digest), kind, subject, most)


def layer_in(client: RegistryClient, manifest: bytes, kind: str, subject: str, most: int) -> bytes:
    """The same of a note whose manifest is here."""
    try:
        document = json.loads(manifest)
        about, [layer] = document["subject"]["digest"], document["layers"]
        layer_kind, size, wanted = layer["mediaType"], layer["size"], layer["digest"]
        if about != subject:
            raise NotANote("it hangs on another artifact")
        if layer_kind != kind or type(size) is not int or size > most:
            raise NotANote(f"its layer is of type {shown(str(layer_kind))} and {shown(str(size))} bytes")
        return client.small_blob(wanted, size)
    except NotANote:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise NotANote("it has not the form of a manifest with one layer") from None
