"""Files of model folders in the followed repository, of which Git LFS keeps some elsewhere (`sources.git.lfs`): those
are fetched from the repository's own server, the others lie in our mirror of it. A repository on this machine, such as
on a disk that was brought, has its objects in its own folder.

A `RemoteSource`: its revision is the tree of the folder, which never moves. Bytes come as those of builds do.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from reconciler.domain.errors import LfsFailed
from reconciler.domain.machine.bandwidth import PIECE
from reconciler.domain.sources.lfs_pointer import LfsPointer
from reconciler.domain.sources.locked import LockedFile, LockedSource
from reconciler.host import durable
from reconciler.host.reading import size_of
from reconciler.registry.credentials import Login
from reconciler.registry.download import Blob, BlobDownload, CancellableSource
from reconciler.registry.lfs_client import LfsObject, LfsSession
from reconciler.registry.transport import SILENCE, Transport
from reconciler.sources.git.address import realm
from reconciler.sources.git.lfs import pieces_of, pointers_among
from reconciler.sources.git.objects import FILE, Entry, MirrorBroken, Objects, Tree
from reconciler.sources.git.runner import GitFailed, GitRunner

STORES = (("lfs", "objects"), (".git", "lfs", "objects"))  # of a bare repository, and of one with a work tree
_LACKS = "`git lfs fetch --all` in that repository brings what it lacks"


class LfsModels(CancellableSource):
    """A context manager. `mirror` is the git directory that holds the tree. The token goes to the server of the
    repository alone; `ca_file` names the certificates that this server is trusted by, "" for the system's."""

    def __init__(self, mirror: str, token: str = "", ca_file: str = "", *, silence: float = SILENCE) -> None:
        self._mirror, self._token, self._ca_file, self._silence = mirror, token, ca_file, silence
        self._sessions: dict[str, LfsSession] = {}

    def __exit__(self, *_: object) -> None:
        for one in self._sessions.values():
            one.close()

    def commit(self, source: LockedSource, branch: str = "") -> str:
        """A tree has no branch."""
        return source.revision

    def tree(self, source: LockedSource) -> list[dict[str, Any]]:
        with self._in_mirror(source) as (_, files, pointers):
            plain = [one for name, one in files.items() if name not in pointers]
        listed: list[dict[str, Any]] = [{"path": one.name, "size": one.size, "sha256": ""} for one in plain]
        return listed + [{"path": name, "size": one.size, "sha256": one.oid} for name, one in pointers.items()]

    def download(
        self, source: LockedSource, file: LockedFile, target: str, on_bytes: Callable[[int], None], piece: int = PIECE
    ) -> None:
        moved = self.counted(on_bytes)
        with self._in_mirror(source) as (tree, files, pointers):
            pointer = pointers.get(file.path)
            if file.path not in files:
                raise LfsFailed(f"{source}: git has no {file.path}", code="FetchFailed")
            if pointer is None:
                _write(pieces_of(tree, files[file.path]), target, moved)
        if pointer is not None:
            self.fetch(source, file.path, pointer, target, moved, piece)

    def fetch(
        self,
        source: LockedSource,
        name: str,
        pointer: LfsPointer,
        target: str,
        on_bytes: Callable[[int], None],
        piece: int,
    ) -> None:
        """What a pointer stands for, from the repository's own place; goes on from what `target` holds."""
        if source.repo.startswith("file:"):
            _write(_pieces(_stored(source, name, pointer), piece), target, on_bytes)
            return
        blob = Blob(digest=f"sha256:{pointer.oid}", size=pointer.size)
        place = LfsObject(self._session(source.repo), pointer, name)
        BlobDownload(place, blob, target, on_bytes, piece=piece).into(target)

    @contextlib.contextmanager
    def _in_mirror(self, source: LockedSource) -> Iterator[tuple[Tree, dict[str, Entry], dict[str, LfsPointer]]]:
        """The tree, its plain files by name, and which of them are pointers."""
        try:
            with Objects(GitRunner(self._mirror, protocols=""), complete=True) as objects:
                tree = Tree(objects, top=source.revision)
                files = {one.name: one for one in tree.children(tree.at("")) if one.kind == FILE}
                yield tree, files, pointers_among(tree, files.values())[0]
        except (MirrorBroken, GitFailed) as error:  # the next look at the repository mends it
            raise LfsFailed(f"{source}: {error}", code="FetchFailed") from None

    def _session(self, remote: str) -> LfsSession:
        if remote not in self._sessions:
            server, user = realm(remote)
            login = Login(user, self._token) if self._token else None
            transport = Transport(self._ca_file, silence=self._silence, pinned=server)
            self._sessions[remote] = LfsSession(remote, login, transport)
        return self._sessions[remote]


def _stored(source: LockedSource, name: str, pointer: LfsPointer) -> str:
    """Where a repository on this machine has an object."""
    top = url2pathname(urlsplit(source.repo).path)
    inner = (pointer.oid[:2], pointer.oid[2:4], pointer.oid)
    found = (os.path.join(top, *store, *inner) for store in STORES)
    for path in found:
        if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) == pointer.size:
            return path
    raise LfsFailed(f"{source}: {name} is not among the objects of {top}", hint=_LACKS, code="LfsLacks")


def _pieces(path: str, size: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(size):
            yield piece


def _write(pieces: Iterable[bytes], target: str, moved: Callable[[int], None]) -> None:
    """From the beginning: it comes from a disk."""
    if size_of(target):
        moved(0)
    with durable.full_disk_named(target), open(target, "wb") as file:
        for piece in pieces:
            file.write(piece)
            moved(file.tell())
