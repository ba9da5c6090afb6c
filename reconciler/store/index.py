"""`index.json` of the OCI layout: the list of the manifests in the store. Entries of other tools are kept.

Every manifest carries its own build key under its own digest. So a lost or damaged list is rebuilt from the blobs, with
the manifests of other tools; a damaged one is set aside, because it may hold names that only its writer knows.
"""

import json
import os
from typing import Any

from reconciler.domain import digest
from reconciler.host import durable
from reconciler.host.reading import read_whole
from reconciler.store.modelpack import ARTIFACT_TYPE, BUILD_KEY, DIGEST, MANIFEST_TYPE, NotAnArtifact, Packed

Descriptor = dict[str, Any]

OCI_VERSION = 2
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LAYOUT = {"imageLayoutVersion": "1.0.0"}
KEYS = frozenset({"schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations"})
TAG = "org.opencontainers.image.ref.name"


def read(oci: str) -> list[Descriptor] | None:
    """None when there is no readable list."""
    document = _json(path_of(oci))
    listed = document.get("manifests") if isinstance(document, dict) else None
    return listed if isinstance(listed, list) and all(map(_is_descriptor, listed)) else None


def write(oci: str, descriptors: list[Descriptor]) -> str:
    """Returns the digest of what was written."""
    index = {"schemaVersion": OCI_VERSION, "mediaType": INDEX_TYPE, "manifests": descriptors}
    data = digest.canonical(index) + b"\n"
    durable.write_file(path_of(oci), data)
    return digest.of_bytes(data)


def is_sound(oci: str) -> bool:
    """Whether it can be read and has no unknown fields."""
    document = _json(path_of(oci))
    return (
        isinstance(document, dict)
        and read(oci) is not None
        and document.keys() <= KEYS
        and document.get("schemaVersion") == OCI_VERSION
    )


def exists(oci: str) -> bool:
    return os.path.lexists(path_of(oci))


def prepare(oci: str) -> None:
    """Make it an OCI layout, and sweep what a killed writer left."""
    durable.make_folder(os.path.join(oci, "blobs", "sha256"))
    sweep(oci)
    mend_layout(oci)
    if not exists(oci):
        write(oci, [])  # before the first blob: blobs without an index are always a loss


def mend_layout(oci: str) -> None:
    """Its marker file always has the same content."""
    if not is_layout(oci):
        durable.write_file(os.path.join(oci, "oci-layout"), digest.canonical(LAYOUT))


def is_layout(oci: str) -> bool:
    return _json(os.path.join(oci, "oci-layout")) == LAYOUT


def is_linked(oci: str) -> bool:
    """Whether a link leads from the layout to a folder that may be another's: nothing is deleted there."""
    blobs = os.path.join(oci, "blobs")
    return any(map(os.path.islink, (oci, blobs, os.path.join(blobs, "sha256"))))


def sweep(oci: str) -> None:
    """Remove the writes that were never finished."""
    if is_linked(oci):
        return
    durable.sweep_temporaries(oci)
    durable.sweep_temporaries(os.path.join(oci, "blobs", "sha256"))


def describe(packed: Packed) -> Descriptor:
    artifact = packed.artifact
    return {
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "digest": artifact.digest,
        "size": packed.size,
        "annotations": {BUILD_KEY: artifact.build_key, TAG: tag_of(artifact.build_key)},
    }


def tag_of(build_key: str) -> str:
    """The name of what was built by this key, here and in registries."""
    return "build-" + build_key.removeprefix("sha256:")


def describe_foreign(name: str, data: bytes) -> Descriptor:
    """The entry for a manifest or an index of another tool, in a rebuilt list. Raises NotAnArtifact for other blobs."""
    try:
        document = json.loads(data)
        if document["schemaVersion"] == OCI_VERSION:
            for key, kind in (("manifests", INDEX_TYPE), ("layers", MANIFEST_TYPE)):
                parts = document.get(key)
                if isinstance(parts, list) and all(map(_is_descriptor, parts)):
                    return {"mediaType": document.get("mediaType", kind), "digest": name, "size": len(data)}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise NotAnArtifact(f"{name} is no manifest")


def is_foreign(descriptor: Descriptor) -> bool:
    return BUILD_KEY not in (descriptor.get("annotations") or {})


def is_ours(descriptor: Descriptor) -> bool:
    """Whether it names a manifest and the build key of one of our artifacts."""
    sound = not is_foreign(descriptor) and DIGEST.fullmatch(descriptor["digest"]) is not None
    return sound and isinstance(descriptor["annotations"][BUILD_KEY], str)


def path_of(oci: str) -> str:
    return os.path.join(oci, "index.json")


def _json(path: str) -> object:
    """None when it cannot be read."""
    try:
        document: object = json.loads(read_whole(path))
    except (OSError, ValueError, RecursionError):
        return None
    return document


def _is_descriptor(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("digest"), str)
