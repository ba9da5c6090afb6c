"""An artifact as an OCI manifest in the form of CNCF ModelPack: one uncompressed layer per file, so that a
blob's digest is the digest of the file. Nothing here depends on a clock: the same files and recipe give the
same manifest.

The build key and the recipe are annotations of the manifest itself, under its digest; so the store's index
can be rebuilt from its blobs alone.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.domain import digest as digests
from reconciler.domain.digest import StoredFile
from reconciler.domain.release import Artifact

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
WEIGHTS_TYPE = "application/vnd.cncf.model.weight.v1.raw"
SETTINGS_TYPE = "application/vnd.cncf.model.weight.config.v1.raw"
WEIGHTS = (".onnx", ".data")

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Parts between single slashes, none of them empty, "." or "..".
SAFE_PATH = re.compile(r"(?!\.{1,2}(/|$))[^/\\:\0]+(/(?!\.{1,2}(/|$))[^/\\:\0]+)*")

FILE_PATH = "org.cncf.model.filepath"
BUILD_KEY = "reconciler.foundry/build-key"
RECIPE = "reconciler.foundry/recipe"


class NotAnArtifact(ValueError):
    """These bytes are no manifest that this program wrote."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """An artifact and its manifest: the size of that in bytes, and the blob it names beside the files."""

    artifact: Artifact
    size: int
    config: str


def config_bytes(recipe: Mapping[str, object], files: tuple[StoredFile, ...]) -> bytes:
    described = {key: recipe[key] for key in ("architecture", "precision") if recipe.get(key)}
    return digests.canonical(
        {
            "descriptor": {},
            "config": {"format": "onnx", **described},
            "modelfs": {"type": "layers", "diffIds": [file.digest for file in files]},
        }
    )


def manifest_bytes(build_key: str, recipe: Mapping[str, object], files: tuple[StoredFile, ...], config: bytes) -> bytes:
    return digests.canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": ARTIFACT_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digests.of_bytes(config), "size": len(config)},
            "layers": [_layer(file) for file in files],
            "annotations": {BUILD_KEY: build_key, RECIPE: digests.canonical(recipe).decode()},
        }
    )


def parse_manifest(digest: str, data: bytes) -> Packed:
    """Raises NotAnArtifact. The caller has checked that `data` has this digest."""
    try:
        manifest = json.loads(data)
        if manifest["artifactType"] != ARTIFACT_TYPE:
            raise NotAnArtifact("of another type")
        build_key = manifest["annotations"][BUILD_KEY]
        if not DIGEST.fullmatch(build_key):
            raise NotAnArtifact(f"{build_key!r} is no build key")
        files = tuple([_file(layer) for layer in manifest["layers"]])
        artifact = Artifact(digest=digest, build_key=build_key, files=files)
        return Packed(artifact=artifact, size=len(data), config=manifest["config"]["digest"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NotAnArtifact(str(error)) from None


def is_safe_path(path: str) -> bool:
    """Relative, below its folder, and the same on every system."""
    return SAFE_PATH.fullmatch(path) is not None


def _layer(file: StoredFile) -> dict[str, Any]:
    return {
        "mediaType": WEIGHTS_TYPE if file.path.endswith(WEIGHTS) else SETTINGS_TYPE,
        "digest": file.digest,
        "size": file.size,
        "annotations": {FILE_PATH: file.path},
    }


def _file(layer: dict[str, Any]) -> StoredFile:
    path, digest = layer["annotations"][FILE_PATH], layer["digest"]
    if not (is_safe_path(path) and DIGEST.fullmatch(digest)):  # guard: only a digest names a blob
        raise NotAnArtifact(f"{path!r} leads out of the artifact, or {digest!r} is no digest")
    return StoredFile(path=path, digest=digest, size=layer["size"])
