"""An artifact: which files it may hold, and its OCI manifest in the form of CNCF ModelPack. Each file is one
uncompressed layer, so that a blob's digest is the digest of the file. The same files and recipe give the same manifest.

The build key and the recipe are annotations of the manifest itself, under its digest; so the store's index can be
rebuilt from its blobs alone.
"""

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.domain import digest as digests
from reconciler.domain.digest import StoredFile
from reconciler.domain.errors import PermanentError
from reconciler.domain.release import Artifact
from reconciler.domain.sources.source_model import COMPILED
from reconciler.domain.targets.execution_providers import takes_compiled

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
WEIGHTS_TYPE = "application/vnd.cncf.model.weight.v1.raw"
SETTINGS_TYPE = "application/vnd.cncf.model.weight.config.v1.raw"
WEIGHTS = (".onnx", ".data", *COMPILED)
CODE = (".so", ".dll", ".dylib", ".py", ".pkl", ".pt", ".bin")
_HINT = "an artifact holds ONNX files, tokenizer data and settings only; look into the log of the conversion"

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Relative, below its folder, and the same on every system: parts between single slashes, none empty, "." or "..".
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
    config_size: int

    @property
    def sizes(self) -> dict[str, int]:
        """Of all its blobs, by digest."""
        return {**{file.digest: file.size for file in self.artifact.files}, self.config: self.config_size}


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
        config = manifest["config"]
        return Packed(artifact=artifact, size=len(data), config=config["digest"], config_size=config["size"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NotAnArtifact(str(error)) from None


def takes_compiled_files(recipe: object) -> bool:
    """Whether an artifact of this recipe may hold what was compiled beforehand for its execution provider."""
    target = recipe.get("target") if isinstance(recipe, Mapping) else None
    return isinstance(target, Mapping) and takes_compiled(str(target.get("execution_provider")))


def files_in(tree: str, *, compiled: bool = False) -> tuple[str, ...]:
    """The relative paths of a converted model's files, with forward slashes, sorted. Raises PermanentError for what is
    no plain file of data: a link could lead anywhere, a FIFO could block, and code would run in the process that loads
    the model."""
    found = tuple(sorted(_walk(tree, "")))
    if not found:
        raise PermanentError(f"{tree} holds no files", hint=_HINT, code="ArtifactEmpty")
    for path in found:
        if not is_data_path(path, compiled=compiled):
            raise _refused(path, "is not data")
    return found


def _walk(folder: str, prefix: str) -> list[str]:
    found: list[str] = []
    for name in os.listdir(folder):
        path, relative = os.path.join(folder, name), prefix + name
        kind = os.lstat(path).st_mode
        if stat.S_ISDIR(kind):
            found += _walk(path, relative + "/")
        elif stat.S_ISREG(kind):  # guard: no link in an artifact
            found.append(relative)
        else:
            raise _refused(relative, "is a link" if stat.S_ISLNK(kind) else "is not a regular file")
    return found


def is_data_path(path: str, *, compiled: bool = False) -> bool:
    """Whether a file of an artifact may have this name. One that ends in .bin is a pickle, as far as its name tells,
    but for an execution provider for which models are `compiled` beforehand."""
    name = path.lower()
    encodable = path.isprintable()  # also false for bytes that are no UTF-8
    code = tuple(ending for ending in CODE if not (compiled and ending in COMPILED))
    # guard: no code in an artifact
    return encodable and is_safe_path(path) and not name.endswith(code) and ".so." not in name


def _refused(path: str, why: str) -> PermanentError:
    return PermanentError(f"the converted model holds {path!r}, which {why}", hint=_HINT, code="ArtifactRefused")


def is_safe_path(path: str) -> bool:
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
