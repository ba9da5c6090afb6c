"""Manifests of artifacts, as a registry gives them: read strictly, because what they name will be written to this
machine's disk and loaded. The form is that of the store (store.modelpack): CNCF ModelPack, each file one uncompressed
layer, so that a layer's digest is that of the file.

Pure. The caller has compared the bytes with their digest.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from reconciler.domain import digest as digests
from reconciler.domain.sources.locked import is_device
from reconciler.domain.text.quoting import shown
from reconciler.store import modelpack
from reconciler.store.modelpack import NotAnArtifact, Packed

MOST_FILES = 1000
LARGEST = 1 << 40  # bytes of all files together
LARGEST_CONFIG = 1 << 20
LONGEST_PATH = 512  # characters
SPECIFICATION = "application/vnd.cncf.model."
LAYERS = (modelpack.WEIGHTS_TYPE, modelpack.SETTINGS_TYPE, "application/vnd.cncf.model.doc.v1.raw")


def read(digest: str, data: bytes) -> Packed:
    """Raises NotAnArtifact, in words that say what is wrong."""
    try:
        document = json.loads(data)
        _require(isinstance(document, dict), "it is no JSON object")
        _check_kind(document)
        recipe = json.loads(document["annotations"][modelpack.RECIPE])
        _check_layers(document["layers"], compiled=modelpack.takes_compiled_files(recipe))
        check_names([layer["annotations"][modelpack.FILE_PATH] for layer in document["layers"]])
        _check_build(document["annotations"])
    except NotAnArtifact:
        raise
    except LookupError as error:
        raise NotAnArtifact(f"it lacks {shown(str(error.args[0]))}") from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise NotAnArtifact("it has not the form of a manifest") from None
    return modelpack.parse_manifest(digest, data)


def _check_kind(document: dict[str, Any]) -> None:
    expected = {"mediaType": modelpack.MANIFEST_TYPE, "artifactType": modelpack.ARTIFACT_TYPE}
    for key, kind in expected.items():
        found = document.get(key)
        _require(found == kind, f"its {key} is {shown(str(found))}, expected {kind}")
    _require(document.get("schemaVersion") == 2, "its schemaVersion is not 2")
    config = document["config"]
    _require(config["mediaType"] == modelpack.CONFIG_TYPE, f"its config is of type {shown(str(config['mediaType']))}")
    _check_blob(config, "its config", LARGEST_CONFIG)


def _check_layers(layers: list[dict[str, Any]], *, compiled: bool) -> None:
    _require(isinstance(layers, list) and len(layers) > 0, "it has no layers")
    _require(len(layers) <= MOST_FILES, f"it has {len(layers)} layers, at most {MOST_FILES} are read")
    for layer in layers:
        path, kind = layer["annotations"][modelpack.FILE_PATH], str(layer["mediaType"])
        _require(isinstance(path, str) and len(path) <= LONGEST_PATH, "a file's path is too long, or no text")
        _require(
            modelpack.is_data_path(path, compiled=compiled), f"{shown(path)} leads out of its folder, or is no data"
        )
        _require(is_portable(path), f"{shown(path)} is no name of a file on every system")
        if kind not in LAYERS:
            packed = kind.startswith(SPECIFICATION) and ".tar" in kind
            why = "packed in a tar: pull artifacts that reconciler pushed" if packed else "unknown here"
            raise NotAnArtifact(f"{shown(path)} is of type {shown(kind)}, {why}")
        _check_blob(layer, shown(path), LARGEST)
    _require(sum(layer["size"] for layer in layers) <= LARGEST, f"its files have more than {LARGEST} bytes together")
    sizes = {(layer["digest"], layer["size"]) for layer in layers}
    _require(len(dict(sizes)) == len(sizes), "one digest is declared with two sizes")


def _check_blob(blob: dict[str, Any], name: str, most: int) -> None:
    size, digest = blob["size"], blob["digest"]
    _require(type(size) is int and 0 <= size <= most, f"{name} is declared with {shown(str(size))} bytes")
    is_digest = isinstance(digest, str) and modelpack.DIGEST.fullmatch(digest)
    _require(bool(is_digest), f"{name} has no sha256 digest")


def is_portable(path: str) -> bool:
    """Windows opens a device by some names, and leaves dots and spaces at the end of a name away: `x.dll.` is code."""
    # guard: a file of an artifact has one name on every system
    return not any(
        is_device(part) or part.endswith((".", " ")) or part.casefold() == ".git" for part in path.split("/")
    )


def check_names(paths: list[str]) -> None:
    """Each is one file on every system: also where a name's case, or how an accent is written, makes no difference,
    and no file is a folder too."""
    names = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    known = frozenset(names)
    for above in {above for name in names for above in _above(name)}:
        _require(above not in known, f"{shown(above)} is a file and a folder")
    counts = Counter(names)
    twice = next((path for path, name in zip(paths, names, strict=True) if counts[name] > 1), None)
    _require(twice is None, f"{shown(twice or '')} is there twice")


def _above(path: str) -> Iterator[str]:
    return accumulate(path.split("/")[:-1], lambda folder, name: f"{folder}/{name}")


def _check_build(annotations: dict[str, str]) -> None:
    """The key names the recipe, whatever tag or person says otherwise."""
    key, recipe = annotations[modelpack.BUILD_KEY], annotations[modelpack.RECIPE]
    matches = digests.of_bytes(recipe.encode()) == key
    # guard: a build key names its recipe
    _require(matches, "its recipe is not the one that its build key names")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotAnArtifact(otherwise)
