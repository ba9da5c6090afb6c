"""What an archive for a machine holds: artifacts, whatever is attached to them (a builder's numbers, signatures), and
the files of a commit that declare what is to be served. An OCI image layout whose `index.json` names them all.

`index_bytes` and `files_manifest` write that; `read_contents` reads it strictly, before anything is taken from it: each
document matches its digest, each blob has the size that is declared, nothing is missing, and nothing is there that no
document names. The large blobs are compared when they are copied (`copy_blob`).
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from reconciler.domain import digest as digests
from reconciler.domain.text.quoting import shown
from reconciler.host import durable
from reconciler.registry import artifact, oci_tar
from reconciler.registry.oci_tar import ArchiveRefused, Span
from reconciler.store import index, modelpack
from reconciler.store.artifact_store import MANIFEST_LIMIT
from reconciler.store.modelpack import ARTIFACT_TYPE, DIGEST, MANIFEST_TYPE, NotAnArtifact, Packed

Descriptor = dict[str, Any]

FILES_TYPE = "application/vnd.foundry-reconciler.manifests.v1"
FILE_TYPE = "application/vnd.foundry-reconciler.manifests.file.v1"
EMPTY, EMPTY_TYPE = b"{}", "application/vnd.oci.empty.v1+json"
EMPTY_DIGEST = digests.of_bytes(EMPTY)
TITLE, REVISION = "org.opencontainers.image.title", "org.opencontainers.image.revision"
FOLDER, MACHINE = "reconciler.foundry/folder", "reconciler.foundry/for"

MOST_FILES = 20_000
LARGEST_FILE = 4 << 20  # bytes; also of what is attached
LARGEST_TREE = 256 << 20
LONGEST_TEXT = 300  # characters of a revision and the like


@dataclass(frozen=True, kw_only=True)
class ArchivedArtifact:
    packed: Packed
    manifest: bytes


@dataclass(frozen=True, kw_only=True)
class Attached:
    """A manifest with a subject, as it is. `blobs` are those that it names, of one that is to be brought."""

    digest: str
    subject: str
    kind: str
    data: bytes
    blobs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DeclaredFiles:
    """`digests` are those of the files by their path in the repository; `folder` is that of the manifests in there."""

    revision: str
    folder: str
    digests: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """`digest` is that of the index, so it covers all of the archive. `machine` is whom it was made for, "" where it
    does not say. `spans` tells where each blob lies."""

    digest: str
    machine: str
    artifacts: tuple[ArchivedArtifact, ...]
    attached: tuple[Attached, ...]
    declared: DeclaredFiles | None
    spans: Mapping[str, Span]

    def of(self, digest: str) -> Iterator[Attached]:
        return (one for one in self.attached if one.subject == digest)


@dataclass(frozen=True, kw_only=True)
class Found:
    """An artifact that can be brought. `place` is where it is: the store, or the address of a registry."""

    packed: Packed
    manifest: bytes
    place: str
    attached: tuple[Attached, ...] = ()

    @property
    def size(self) -> int:
        """Of all its blobs."""
        return sum(self.packed.sizes.values())


def index_bytes(machine: str, artifacts: Iterable[Packed], attached: Iterable[Attached], files: bytes) -> bytes:
    """`files` is the manifest of the declared files."""
    listed = [index.describe(one) for one in sorted(artifacts, key=lambda one: one.artifact.build_key)]
    listed += [_described(one.data, one.kind) for one in sorted(attached, key=lambda one: one.digest)]
    listed.append(_described(files, FILES_TYPE))
    document = {
        "schemaVersion": index.OCI_VERSION,
        "mediaType": index.INDEX_TYPE,
        "manifests": listed,
        "annotations": {MACHINE: machine},
    }
    return digests.canonical(document)


def files_manifest(revision: str, folder: str, files: Mapping[str, bytes]) -> bytes:
    layers = [_layer(path, files[path]) for path in sorted(files)]
    return manifest_of(FILES_TYPE, layers, annotations={REVISION: revision, FOLDER: folder})


def manifest_of(kind: str, layers: Iterable[Descriptor], **more: Any) -> bytes:
    """A manifest of this artifact type with an empty configuration; `more` are its further fields."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": kind,
        "config": descriptor(EMPTY, EMPTY_TYPE),
        "layers": [*layers],
        **more,
    }
    return digests.canonical(document)


def descriptor(data: bytes, media_type: str) -> Descriptor:
    return {"mediaType": media_type, "digest": digests.of_bytes(data), "size": len(data)}


def _described(data: bytes, kind: str) -> Descriptor:
    return descriptor(data, MANIFEST_TYPE) | ({"artifactType": kind} if kind else {})


def _layer(path: str, data: bytes) -> Descriptor:
    return {**descriptor(data, FILE_TYPE), "annotations": {TITLE: path}}


def kind_of(document: Mapping[str, Any]) -> str:
    """The artifact type of a manifest; of an older one, that of its configuration."""
    return str(document.get("artifactType") or document["config"].get("mediaType", ""))


def parts_of(document: Mapping[str, Any]) -> dict[str, int]:
    """The blobs that a manifest names and their sizes. Raises ValueError, LookupError or TypeError for another form."""
    sizes: dict[str, int] = {}
    for part in (document["config"], *document["layers"]):
        digest, size = part["digest"], part["size"]
        if not (isinstance(digest, str) and DIGEST.fullmatch(digest) and type(size) is int and size >= 0):
            raise ValueError("it names a blob without a digest or a size")
        if sizes.setdefault(digest, size) != size:
            raise ValueError("one digest is declared with two sizes")
    return sizes


def read_contents(file: BinaryIO, name: str) -> Contents:
    """`name` is the file's, for messages. Raises ArchiveRefused."""
    return _Reader(file, name).read()


class _Reader:
    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._spans: dict[str, Span] = {}
        self._named: dict[str, int] = {}  # sizes of what documents name, by digest

    def read(self) -> Contents:
        headers = oci_tar.read_headers(self._file, self._name)
        for path in (oci_tar.LAYOUT_NAME, oci_tar.INDEX_NAME):
            self._require(path in headers, f"lacks {path}: it is no OCI image layout")
        layout = self._json(self._bytes(headers[oci_tar.LAYOUT_NAME], oci_tar.LAYOUT_NAME), oci_tar.LAYOUT_NAME)
        self._require(layout == index.LAYOUT, "is no OCI image layout 1.0.0")
        listing = self._bytes(headers[oci_tar.INDEX_NAME], oci_tar.INDEX_NAME)
        prefix = oci_tar.BLOBS
        self._spans = {
            f"sha256:{path[len(prefix) :]}": span for path, span in headers.items() if path.startswith(prefix)
        }
        document = self._json(listing, oci_tar.INDEX_NAME)
        try:
            listed = document["manifests"]
            machine = (document.get("annotations") or {}).get(MACHINE, "")
            held = self._manifests(listed)
        except (LookupError, TypeError, AttributeError):
            raise self._refused(f"{oci_tar.INDEX_NAME} has not the form of an index") from None
        contents = self._contents(digests.of_bytes(listing), _line(machine), held)
        self._check_blobs()
        return contents

    def _manifests(self, listed: Any) -> dict[str, tuple[bytes, dict[str, Any]]]:
        """Those that the index lists, by digest."""
        found = {}
        for one in listed:
            digest, size = one["digest"], one["size"]
            self._require(
                isinstance(digest, str) and DIGEST.fullmatch(digest) is not None, f"lists {shown(str(digest))}"
            )
            self._require(digest in self._spans, f"lacks {digest}, which its index lists")
            self._name_blob(digest, size)
            data = self._bytes(self._spans[digest], digest)
            # guard: a document of an archive matches its digest
            self._require(digests.of_bytes(data) == digest, f"holds other bytes as {digest}")
            document = self._json(data, digest)
            self._require(isinstance(document, dict), f"holds {digest}, which is no manifest")
            found[digest] = data, document
        return found

    def _contents(self, digest: str, machine: str, held: Mapping[str, tuple[bytes, dict[str, Any]]]) -> Contents:
        artifacts: list[ArchivedArtifact] = []
        attached: list[Attached] = []
        declared: list[DeclaredFiles] = []
        for name, (data, document) in held.items():
            if document.get("artifactType") == ARTIFACT_TYPE:
                artifacts.append(self._artifact(name, data))
            elif document.get("artifactType") == FILES_TYPE:
                declared.append(self._declared(name, document))
            else:
                attached.append(self._attached(name, data, document, held))
        self._require(len(declared) <= 1, "holds the manifests of two commits")
        keys = [one.packed.artifact.build_key for one in artifacts]
        self._require(len(set(keys)) == len(keys), "holds two artifacts of one build key")
        return Contents(
            digest=digest,
            machine=machine,
            artifacts=tuple(artifacts),
            attached=tuple(attached),
            declared=declared[0] if declared else None,
            spans=self._spans,
        )

    def _artifact(self, digest: str, data: bytes) -> ArchivedArtifact:
        try:
            packed = artifact.read(digest, data)
        except NotAnArtifact as error:
            raise self._refused(f"holds {digest}: {error}") from None
        for part, size in packed.sizes.items():
            self._name_blob(part, size)
        return ArchivedArtifact(packed=packed, manifest=data)

    def _attached(self, digest: str, data: bytes, document: dict[str, Any], held: Mapping[str, object]) -> Attached:
        try:
            subject = str(document["subject"]["digest"])
            sizes = parts_of(document)
            kind = kind_of(document)
        except (ValueError, LookupError, TypeError, AttributeError):
            raise self._refused(f"holds {digest}, which is neither an artifact nor attached to one") from None
        self._require(subject in held, f"holds {digest}, which is attached to something that it lacks")
        for part, size in sizes.items():
            self._require(size <= LARGEST_FILE, f"holds {digest}, with a part of {size} bytes")
            self._name_blob(part, size)
        return Attached(digest=digest, subject=subject, kind=_line(kind), data=data)

    def _declared(self, digest: str, document: dict[str, Any]) -> DeclaredFiles:
        try:
            annotations = document["annotations"]
            revision, folder = annotations[REVISION], str(annotations[FOLDER])
            sizes = parts_of(document)
            layers = {layer["annotations"][TITLE]: layer["digest"] for layer in document["layers"]}
            self._require(len(layers) == len(document["layers"]), "names one file twice")
            check_tree(layers)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._refused(f"holds manifests of another form ({digest}): {shown(str(error))}") from None
        self._require(len(layers) <= MOST_FILES, f"holds more than {MOST_FILES:,} files")
        self._require(
            max(sizes.values()) <= LARGEST_FILE and sum(sizes.values()) <= LARGEST_TREE, "holds too large files"
        )
        self._require(folder == "" or modelpack.is_safe_path(folder), f"names the folder {shown(folder)}")
        for part, size in sizes.items():
            self._name_blob(part, size)
        return DeclaredFiles(revision=_line(revision), folder=folder, digests=layers)

    def _name_blob(self, digest: str, size: object) -> None:
        self._require(self._named.setdefault(digest, size) == size, f"says two sizes of {digest}")  # type: ignore[arg-type]

    def _check_blobs(self) -> None:
        for digest, size in self._named.items():
            self._require(digest in self._spans, f"lacks {digest}")
            # guard: a blob of an archive has the declared size
            self._require(self._spans[digest].size == size, f"holds {digest} with another size")
        unnamed = next(iter(self._spans.keys() - self._named.keys()), "")
        # guard: an archive holds nothing that no document names
        self._require(not unnamed, f"holds {unnamed}, which nothing in it names")

    def _bytes(self, span: Span, what: str) -> bytes:
        self._require(span.size <= MANIFEST_LIMIT, f"holds {what} of {span.size} bytes")
        return b"".join(oci_tar.pieces_of(self._file, span))

    def _json(self, data: bytes, what: str) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise self._refused(f"holds {what}, which is no JSON") from None

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise self._refused(otherwise)

    def _refused(self, why: str) -> ArchiveRefused:
        return ArchiveRefused(f"{self._name} {why}")


def check_tree(paths: Iterable[str]) -> None:
    """Raises NotAnArtifact unless each is one plain file below its folder, on every system."""
    paths = list(paths)
    for path in paths:
        # guard: a file of an archive stays in its folder
        safe = path.isprintable() and modelpack.is_safe_path(path) and len(path) <= artifact.LONGEST_PATH
        if not (safe and artifact.is_portable(path)):
            raise NotAnArtifact(f"{shown(path)} leads out of its folder, or is no name on every system")
    artifact.check_names(paths)


def copy_blob(
    file: BinaryIO, span: Span, digest: str, target: str, on_bytes: Callable[[int], None] = lambda count: None
) -> None:
    """From the archive to a file of this machine, hashed on the way. It gets its name with the right bytes only."""
    part, hashing, count = oci_tar.part_of(target), hashlib.sha256(), 0
    with durable.full_disk_named(target):
        with open(part, "wb") as copy:
            for piece in oci_tar.pieces_of(file, span):
                hashing.update(piece)
                copy.write(piece)
                on_bytes(count := count + len(piece))
        found = "sha256:" + hashing.hexdigest()
        # guard: a blob of an archive matches its digest
        is_right = found == digest
        if not is_right:
            durable.remove_file(part)
            raise ArchiveRefused(f"it holds other bytes as {digest}: {found}")
        durable.adopt(part, target)


def read_blob(file: BinaryIO, span: Span, digest: str) -> bytes:
    """A small one."""
    data = b"".join(oci_tar.pieces_of(file, span)) if span.size <= LARGEST_FILE else b""
    # guard: a file of an archive matches its digest
    if digests.of_bytes(data) != digest:
        raise ArchiveRefused(f"it holds other bytes as {digest}")
    return data


def _line(text: object) -> str:
    """One line of text, or nothing."""
    return text if isinstance(text, str) and len(text) <= LONGEST_TEXT and text.isprintable() else ""
