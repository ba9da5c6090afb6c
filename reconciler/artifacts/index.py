"""`index.json` of the OCI layout: which manifests the store holds. Other tools may add entries; those are
kept.

It is only a list of names: every manifest carries its own build key under its own digest. So a lost or
damaged list is rebuilt by looking through the blobs.
"""

from __future__ import annotations

import json
import os

from reconciler.artifacts.modelpack import ARTIFACT_TYPE, BUILD_KEY, MANIFEST_TYPE, Packed
from reconciler.core import digest
from reconciler.host import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Descriptor = dict[str, Any]

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LAYOUT = {"imageLayoutVersion": "1.0.0"}
TAG = "org.opencontainers.image.ref.name"


def read(oci: str) -> list[Descriptor] | None:
    """None when there is no readable list."""
    try:
        with open(os.path.join(oci, "index.json"), "rb") as file:
            listed = json.load(file)["manifests"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return listed if isinstance(listed, list) and all(map(_is_descriptor, listed)) else None


def write(oci: str, descriptors: list[Descriptor]) -> None:
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": descriptors}
    durable.write_file(os.path.join(oci, "index.json"), digest.canonical(index) + b"\n")


def prepare(oci: str) -> None:
    """Make it an OCI layout, and sweep what a killed writer left."""
    durable.make_folder(os.path.join(oci, "blobs", "sha256"))
    sweep(oci)
    marker = os.path.join(oci, "oci-layout")
    if not os.path.exists(marker):
        durable.write_file(marker, digest.canonical(LAYOUT))


def sweep(oci: str) -> None:
    """Remove the writes that were never finished."""
    durable.sweep_temporaries(oci)
    durable.sweep_temporaries(os.path.join(oci, "blobs", "sha256"))


def describe(packed: Packed) -> Descriptor:
    artifact = packed.artifact
    return {
        "mediaType": MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "digest": artifact.digest,
        "size": packed.size,
        "annotations": {
            BUILD_KEY: artifact.build_key,
            TAG: "build-" + artifact.build_key.removeprefix("sha256:"),
        },
    }


def is_foreign(descriptor: Descriptor) -> bool:
    return BUILD_KEY not in (descriptor.get("annotations") or {})


def _is_descriptor(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("digest"), str)
