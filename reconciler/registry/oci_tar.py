"""One tar file with an OCI image layout in it, as `skopeo copy oci-archive:` reads and writes it: `oci-layout`,
`index.json`, and each blob as `blobs/sha256/<hex>`. Not compressed, so that each blob is found by its place, and
nothing unfolds into more bytes than the file has.

Written: equal content gives equal bytes, so what an earlier attempt left in `FILE.part` is compared and gone on from;
FILE gets its name when all of it is there. Read: strictly, headers first, because others may have written it.
"""

import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from reconciler.domain.errors import PermanentError
from reconciler.domain.text.quoting import shown
from reconciler.host import durable

LAYOUT_NAME, INDEX_NAME, BLOBS = "oci-layout", "index.json", "blobs/sha256/"
MOST_ENTRIES = 50_000
CHUNK = 1 << 20
BLOCK = tarfile.BLOCKSIZE
END = b"\0" * (2 * BLOCK)

_NAME = re.compile(rf"{LAYOUT_NAME}|{re.escape(INDEX_NAME)}|{BLOBS}[0-9a-f]{{64}}")
_FOLDERS = ("blobs", "blobs/sha256", ".", "")
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_HINT = "copy it once more from where it was made, or export it anew"


class ArchiveRefused(PermanentError):
    """It is no archive that is read here, or not all of one."""

    def __init__(self, message: str, *, hint: str = _HINT) -> None:
        super().__init__(message, hint=hint)


@dataclass(frozen=True, kw_only=True)
class TarEntry:
    """`pieces` gives its bytes, which are compared with `digest` while they are written."""

    name: str
    digest: str
    size: int
    pieces: Callable[[], Iterator[bytes]]

    @property
    def length(self) -> int:
        return BLOCK + self.size + -self.size % BLOCK

    @property
    def header(self) -> bytes:
        """Of no time and no user."""
        found = tarfile.TarInfo(self.name)
        found.size, found.mode = self.size, 0o644
        return found.tobuf(tarfile.GNU_FORMAT)  # a size beyond 8 GiB fits into it as well


def blob_name(digest: str) -> str:
    return BLOBS + digest.removeprefix("sha256:")


def of_bytes(name: str, digest: str, data: bytes) -> TarEntry:
    return TarEntry(name=name, digest=digest, size=len(data), pieces=lambda: iter((data,)))


def part_of(path: str) -> str:
    return path + ".part"


class Writing:
    """One archive on its way to its name. `begin` tells how much of it an earlier attempt left."""

    def __init__(self, path: str, entries: Sequence[TarEntry]) -> None:
        self._path, self._entries = path, tuple(entries)
        self.size = sum(entry.length for entry in entries) + len(END)
        self._whole = self._offset = 0

    def begin(self) -> int:
        """Reads what is there, up to the first byte that is another. Returns the bytes that need not be written."""
        try:
            with open(part_of(self._path), "rb") as file:
                for entry in self._entries:
                    if not _is_there(file, entry):
                        break
                    self._whole, self._offset = self._whole + 1, self._offset + entry.length
        except FileNotFoundError:
            pass
        return self._offset

    @property
    def left(self) -> tuple[TarEntry, ...]:
        """Those that are still to be written."""
        return self._entries[self._whole :]

    def run(self, on_bytes: Callable[[int, int], None] = lambda done, total: None) -> None:
        """`on_bytes` gets the bytes that are there, of how many, and may raise to end it; the part then stays."""
        part = part_of(self._path)
        with durable.full_disk_named(self._path):
            with open(part, "ab") as file:
                file.truncate(self._offset)
                for entry in self.left:
                    self._write(entry, file, on_bytes)
                file.write(END)
            durable.flush_file(part)
            durable.rename(part, self._path)

    def _write(self, entry: TarEntry, file: BinaryIO, on_bytes: Callable[[int, int], None]) -> None:
        file.write(entry.header)
        hashing, written = hashlib.sha256(), 0
        for piece in entry.pieces():
            hashing.update(piece)
            written += file.write(piece)
            on_bytes(self._offset + BLOCK + written, self.size)
        found = "sha256:" + hashing.hexdigest()
        if (found, written) != (entry.digest, entry.size):
            message = f"{entry.name}: {written} bytes of {found}, expected {entry.size} of {entry.digest}"
            raise PermanentError(message, code="DigestMismatch", hint="`reconciler apply --scrub` repairs the store")
        file.write(b"\0" * (-entry.size % BLOCK))
        self._offset += entry.length


def _is_there(file: BinaryIO, entry: TarEntry) -> bool:
    if file.read(BLOCK) != entry.header:
        return False
    hashing, left = hashlib.sha256(), entry.size
    while left and (piece := file.read(min(left, CHUNK))):
        hashing.update(piece)
        left -= len(piece)
    padding = -entry.size % BLOCK
    return not left and "sha256:" + hashing.hexdigest() == entry.digest and file.read(padding) == b"\0" * padding


@dataclass(frozen=True, kw_only=True)
class Span:
    """Where the bytes of an entry lie in the file."""

    offset: int
    size: int


def read_headers(file: BinaryIO, name: str) -> dict[str, Span]:
    """The entries by their names. `name` is the file's, for messages. Raises ArchiveRefused."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(8)
    packed = next((kind for magic, kind in _PACKED.items() if head.startswith(magic)), "")
    if packed:
        raise ArchiveRefused(f"{name} is packed with {packed}", hint=f"unpack it first ({packed} -d)")
    found: dict[str, Span] = {}
    offset = 0
    while (header := _header(file, offset, name)) is not None:
        span = Span(offset=offset + BLOCK, size=header.size)
        offset = span.offset + span.size + -span.size % BLOCK
        if header.size < 0 or offset > end:
            raise ArchiveRefused(f"{name} was cut off: {end} bytes, and {shown(header.name)} ends at {offset}")
        path = header.name.removeprefix("./").rstrip("/")
        if header.type == tarfile.DIRTYPE and path in _FOLDERS and not header.size:
            continue
        _check(header, path, found, name)
        found[path] = span
    return found


def _header(file: BinaryIO, offset: int, name: str) -> tarfile.TarInfo | None:
    """None at the end."""
    file.seek(offset)
    block = file.read(BLOCK)
    if block == b"\0" * BLOCK:
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, ValueError):
        why = "was cut off" if len(block) < BLOCK else "is no tar file"
        raise ArchiveRefused(f"{name} {why}, at byte {offset}") from None


def _check(header: tarfile.TarInfo, path: str, found: dict[str, Span], name: str) -> None:
    # guard: an archive holds plain files with names of their own
    plain = header.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and _NAME.fullmatch(path)
    if not plain:
        what = f"{shown(header.name)}, which is no plain file of an OCI image layout"
        raise ArchiveRefused(f"{name} holds {what}", hint="`reconciler export` and `skopeo copy` write good ones")
    if path in found:
        raise ArchiveRefused(f"{name} holds {path} twice")
    if len(found) >= MOST_ENTRIES:
        raise ArchiveRefused(f"{name} holds more than {MOST_ENTRIES:,} files")


def pieces_of(file: BinaryIO, span: Span) -> Iterator[bytes]:
    """The bytes of an entry, in pieces."""
    file.seek(span.offset)
    left = span.size
    while left:
        piece = file.read(min(left, CHUNK))
        if not piece:
            raise ArchiveRefused("the file became shorter while it was read")
        left -= len(piece)
        yield piece
