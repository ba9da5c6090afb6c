"""Notes: manifests without content, whose annotations say everything. What they name is one empty blob.

A note that has a subject is attached to it (`RegistryClient.attach`), one without is put under a tag.
"""

import os
from collections.abc import Mapping
from typing import Any

from reconciler.domain import digest as digests
from reconciler.host import durable
from reconciler.registry.archive import EMPTY, EMPTY_DIGEST, EMPTY_TYPE
from reconciler.registry.client import MANIFEST_TYPE, RegistryClient
from reconciler.registry.download import Blob
from reconciler.registry.upload import BlobUpload


def note(
    client: RegistryClient, kind: str, annotations: Mapping[str, str], folder: str, subject: bytes | None = None
) -> bytes:
    """The manifest, for which everything is there. `folder` is for a temporary file."""
    path = os.path.join(folder, "empty.json")
    durable.write_file(path, EMPTY)
    BlobUpload(client, Blob(digest=EMPTY_DIGEST, size=len(EMPTY)), path).run()
    return note_manifest(kind, annotations, subject)


def note_manifest(kind: str, annotations: Mapping[str, str], subject: bytes | None = None) -> bytes:
    """`kind` is its artifact type; `subject` is the manifest that it is about."""
    empty = {"mediaType": EMPTY_TYPE, "digest": EMPTY_DIGEST, "size": len(EMPTY)}
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": kind,
        "config": empty,
        "layers": [empty],
        "annotations": dict(annotations),
    }
    if subject is not None:
        about = {"mediaType": MANIFEST_TYPE, "digest": digests.of_bytes(subject), "size": len(subject)}
        document["subject"] = about
    return digests.canonical(document)
