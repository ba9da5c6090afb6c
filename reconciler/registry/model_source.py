"""Model folders in OCI registries, as `oras push REPOSITORY:TAG *` lays them out: each file is one layer, uncompressed,
and names itself by `org.opencontainers.image.title`; and artifacts that this program pushes (`store.modelpack`). A
layer's digest is then the digest of the file, so `reconciler lock` asks for the manifest alone.

A `RemoteSource`: its revision is the digest of a manifest. Bytes come as those of builds do, and go on where they
stopped.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from reconciler.domain.errors import PermanentError
from reconciler.domain.machine.bandwidth import PIECE
from reconciler.domain.machine.registries import PULL, RegistryAddress, RegistrySettings, is_loopback, read_address
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.domain.text.quoting import shown
from reconciler.host import durable
from reconciler.registry.client import DIGEST, INDEX_TYPE, RegistryClient
from reconciler.registry.download import Blob, BlobDownload, CancellableSource
from reconciler.registry.opening import OpenRegistry, open_registry
from reconciler.store.modelpack import FILE_PATH

TITLE = "org.opencontainers.image.title"
UNPACK = "io.deis.oras.content.unpack"  # a folder, which ORAS packs into a tar
ORAS_FILE = "application/vnd.oci.image.layer.v1.tar"  # what ORAS calls a file without a type: no tar, whatever it says
MOST_LAYERS = 1000
LARGEST = 1 << 44  # bytes of one file
_PUSH = "push its files themselves, each a layer: `oras push REPOSITORY:TAG *` in their folder"


class OciModels(CancellableSource):
    """A context manager. `known` are the registries of this machine's configuration: what one says of a host (password,
    certificates, no TLS) counts for a model there. `auth_file` counts where they say no password, and only as `docker
    login` writes it: manifests name the hosts, and a password goes to none that it was not given for."""

    def __init__(self, known: tuple[RegistrySettings, ...] = (), auth_file: str = "") -> None:
        self._known, self._auth_file = known, auth_file
        self._opened: dict[str, OpenRegistry] = {}

    def __exit__(self, *_: object) -> None:
        for one in self._opened.values():
            one.registry.session.close()

    def commit(self, source: LockedSource, branch: str = "") -> str:
        """The digest that a tag names now. Without a tag what was pinned: a repository has no default one."""
        if not branch:
            return source.revision
        digest = self._client(source).resolve(branch)
        if digest is None:
            raise _refused(f"{source.repo}: there is no tag {shown(branch)}", "OciNotFound", "look at its tags")
        return digest

    def tree(self, source: LockedSource) -> list[dict[str, Any]]:
        return list(files_in(self._client(source).manifest(source.revision), str(source), source.folder))

    def download(
        self, source: LockedSource, file: LockedFile, target: str, on_bytes: Callable[[int], None], piece: int = PIECE
    ) -> None:
        """Compared here where the lock has no sha256 of it, such as of a model card; else who asks compares."""
        client = self._client(source)
        blob = Blob(digest=f"sha256:{file.sha256}" if file.sha256 else self._digest(source, file), size=file.size)
        found = BlobDownload(client, blob, target, self.counted(on_bytes), piece=piece).into(target)
        # guard: a file of a registry that is not locked is the manifest's
        if not file.sha256 and found != blob.digest:
            durable.remove_file(target)  # or the next try would go on from it
            raise client.wrong_bytes(blob.digest, f"{blob.size} bytes of {found}")

    def _digest(self, source: LockedSource, file: LockedFile) -> str:
        """Of a file that is not locked, such as a signature."""
        listed = next((one for one in self.tree(source) if one["path"] == file.path), None)
        if listed is None:
            raise _refused(f"{source}: there is no {file.path}", "OciNotFound")
        return f"sha256:{listed['sha256']}"

    def _client(self, source: LockedSource) -> RegistryClient:
        if source.repo not in self._opened:
            self._opened[source.repo] = open_registry(self._settings(source.repo))
        return self._opened[source.repo].registry

    def _settings(self, repo: str) -> RegistrySettings:
        """What is known of the host: the first entry with a password, else the first one and the file of passwords."""
        address = address_of(repo)
        entries = [one for one in self._known if one.address.host == address.host]
        of_host = next((one for one in entries if one.has_credentials), entries[0] if entries else None)
        if of_host is None:
            return RegistrySettings(address=address, credentials_file=self._auth_file, of_many=True)
        place = RegistryAddress(origin=of_host.address.origin, repository=address.repository)
        own = replace(of_host, address=place, role=PULL, mirrors=())
        return own if own.has_credentials else replace(own, credentials_file=self._auth_file, of_many=True)


def address_of(repo: str) -> RegistryAddress:
    """Without TLS on this machine alone."""
    scheme = "http" if is_loopback(repo.partition("/")[0]) else "https"
    found = read_address(f"{scheme}://{repo}")
    if found is None:
        raise ValueError(f"{repo!r} is no repository of a registry")
    return found


def files_in(data: bytes, name: str, folder: str = "") -> Iterator[dict[str, Any]]:
    """`path`, `size` and `sha256` of each file directly in the folder, of a manifest whose digest was compared. Raises
    PermanentError for another form."""
    try:
        document = json.loads(data)
        if document.get("mediaType") == INDEX_TYPE or "manifests" in document:
            raise _refused(f"{name} is a list of manifests", "OciUnsupported", "name the digest of one of them")
        layers = document["layers"]
        if not isinstance(layers, list) or not 0 < len(layers) <= MOST_LAYERS:
            raise _refused(f"{name} has no files, or more than {MOST_LAYERS}", "OciUnsupported", _PUSH)
        found = [_file(layer, name) for layer in layers]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _refused(f"{name} is no manifest of files", "OciUnsupported", _PUSH) from None
    within = f"{folder}/" if folder else ""
    for one in found:
        if one["path"].startswith(within):
            yield {**one, "path": one["path"].removeprefix(within)}


def _file(layer: Mapping[str, Any], name: str) -> dict[str, Any]:
    notes, kind = layer.get("annotations") or {}, str(layer.get("mediaType"))
    path, size, digest = notes.get(TITLE) or notes.get(FILE_PATH), layer["size"], layer["digest"]
    if notes.get(UNPACK) == "true" or (_is_packed(kind) and not (kind == ORAS_FILE and notes.get(TITLE))):
        packed = f"{shown(str(path))} of {name}" if path else f"a layer of {name}"
        raise _refused(f"{packed} is packed ({shown(kind)})", "OciUnsupported", _PUSH)
    if not isinstance(path, str):
        raise _refused(f"a layer of {name} names no file ({TITLE})", "OciUnsupported", _PUSH)
    if type(size) is not int or not 0 <= size <= LARGEST or not DIGEST.fullmatch(str(digest)):
        raise _refused(f"{shown(path)} of {name} has no size or no sha256 digest", "OciUnsupported", _PUSH)
    return {"path": path.removeprefix("./"), "size": size, "sha256": digest.removeprefix("sha256:")}


def _is_packed(kind: str) -> bool:
    return kind.endswith((".tar", "+gzip", "+zstd", ".tar.gz"))


def _refused(message: str, code: str, hint: str = "") -> PermanentError:
    return PermanentError(message, hint=hint, code=code)
