"""One blob into one file, hashed while it comes. What has come stays beside it as a part, and the next attempt goes on
from there, also after this process was killed: the part is read once, to know its hash.

The part gets its name only when it has the right size and digest. A part with other bytes is deleted: from the
beginning it is tried once more, and then the error says what came instead.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, Self

from urllib3.response import BaseHTTPResponse

from reconciler.domain.errors import Cancelled, RegistryFailed
from reconciler.domain.machine.bandwidth import UNMETERED, Meter
from reconciler.host import durable
from reconciler.host.reading import size_of
from reconciler.registry.session import HttpAnswer, Session
from reconciler.registry.transport import Unreached, reaching

CHUNK = 1 << 20
ENOUGH, PATIENCE = 1 << 20, 300.0  # bytes that must come within so many seconds
MOST_RESTARTS = 10  # from the first byte, of one blob

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True)
class Blob:
    digest: str
    size: int


class BlobPlace(Protocol):
    """Where one blob is asked for. `blob_url` is asked anew for each connection."""

    @property
    def session(self) -> Session: ...

    def blob_url(self, digest: str) -> str: ...

    def wrong_bytes(self, digest: str, came: str) -> RegistryFailed: ...


class CancellableSource:
    """Of each `RemoteSource` that downloads in this process: what is asked of its downloads. Any thread may cancel."""

    _cancelled = False

    def __enter__(self) -> Self:
        return self

    def held(self, target: str) -> int:
        return size_of(target)

    def cancel(self) -> None:
        self._cancelled = True

    def counted(self, on_bytes: Callable[[int], None]) -> Callable[[int], None]:
        """`on_bytes`, which ends the download once it is cancelled."""

        def moved(count: int) -> None:
            if self._cancelled:
                raise Cancelled("the download was cancelled", delay=0)
            on_bytes(count)

        return moved


@dataclass
class _Part:
    """What has come: a file open for more, and the hash of what is in it."""

    file: BinaryIO
    size: int = 0
    hashing: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, piece: bytes) -> None:
        self.hashing.update(piece)
        self.file.write(piece)
        self.size += len(piece)

    def empty(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.size, self.hashing = 0, hashlib.sha256()


class BlobDownload:
    """`on_bytes` gets how many bytes of the blob are there, 0 where it begins anew, and may raise to end it; the part
    then stays. `piece`: bytes to take at once, else those of the meter. Fewer than ENOUGH bytes in `patience` seconds
    are no download, over how many connections they come whatever."""

    def __init__(
        self,
        client: BlobPlace,
        blob: Blob,
        target: str,
        on_bytes: Callable[[int], None] = lambda count: None,
        *,
        patience: float = PATIENCE,
        meter: Meter = UNMETERED,
        piece: int = 0,
    ) -> None:
        self._client, self._blob, self._target, self._meter = client, blob, target, meter
        self._on_bytes, self._patience, self._piece = on_bytes, patience, min(CHUNK, piece or meter.piece)
        self._came, self._until, self._restarts = 0, 0.0, 0  # bytes since the time began that is counted, and its end

    def run(self) -> None:
        path = part_of(self._target)
        with durable.full_disk_named(path):
            for _ in range(2):
                began_with, found = self._attempt(path)
                # guard: bytes from a registry match their digest
                is_right = found == self._blob.digest
                if is_right:
                    durable.adopt(path, self._target)
                    return
                durable.remove_file(path)
                if not began_with:
                    break
        raise self._client.wrong_bytes(self._blob.digest, f"{self._blob.size} bytes of {found}")

    def into(self, path: str) -> str:
        """What is not there yet, into this very file. Its digest, compared with nothing: that is for who asks."""
        with durable.full_disk_named(path):
            return self._attempt(path)[1]

    def _attempt(self, path: str) -> tuple[int, str]:
        """How much was there before, and the digest of all of it."""
        with open(path, "ab+") as file:
            part = self._resumed(file)
            began_with = part.size
            self._fill(part)
        return began_with, "sha256:" + part.hashing.hexdigest()

    def _resumed(self, file: BinaryIO) -> _Part:
        part = _Part(file, size=os.fstat(file.fileno()).st_size)
        if part.size > self._blob.size:
            part.empty()
        file.seek(0)
        while piece := file.read(CHUNK):
            part.hashing.update(piece)
        return part

    def _fill(self, part: _Part) -> None:
        """As long as more comes, it goes on; without that, it ends after a few tries."""
        session, failures, most = self._client.session, 0, part.size
        self._count_anew()
        while part.size < self._blob.size:
            try:
                self._stream(part)
            except Unreached as failure:
                failures = 1 if part.size > most else failures + 1
                if failure.lasting or failures >= session.tries:
                    reason = f"{failure} at {part.size} of {self._blob.size} bytes"
                    raise session.unreached(self._blob.digest, reason) from None
                session.pause(failures)
            most = max(most, part.size)

    def _count_anew(self) -> None:
        self._came, self._until = 0, time.monotonic() + self._patience

    def _require_enough(self) -> None:
        if time.monotonic() > self._until:
            # guard: a trickle is no download, over many connections neither
            if self._came < ENOUGH:
                raise Unreached(f"fewer than {ENOUGH} bytes came in {self._patience:g} s", lasting=True)
            self._count_anew()

    def _restart(self, part: _Part) -> None:
        self._restarts += part.size > 0
        part.empty()
        self._on_bytes(0)
        # guard: a registry that always begins anew is given up
        if self._restarts > MOST_RESTARTS:
            raise Unreached(f"it began anew {MOST_RESTARTS} times", lasting=True)

    def _stream(self, part: _Part) -> None:
        session, url = self._client.session, self._client.blob_url(self._blob.digest)
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        answer = session.open(url, (200, 206, 416), headers)
        assert answer.stream is not None
        try:
            self._begin(answer, part)
            self._receive(answer.stream, part, url)
        finally:
            answer.stream.close()

    def _begin(self, answer: HttpAnswer, part: _Part) -> None:
        """Where the answer begins, and whether it can be the rest of this blob."""
        found = _RANGE.match(answer.headers.get("Content-Range") or "") if answer.status == 206 else None
        if answer.status == 200:
            self._restart(part)
        elif found is None or int(found[1]) != part.size:
            self._restart(part)
            raise Unreached("it does not go on where it was asked to")
        length = answer.headers.get("Content-Length") or ""
        if _LENGTH.fullmatch(length) and part.size + int(length) != self._blob.size:  # guard: a blob of another size
            raise self._wrong_size(f"{part.size + int(length)} bytes are announced")

    def _receive(self, stream: BaseHTTPResponse, part: _Part, url: str) -> None:
        while part.size < self._blob.size:
            with reaching(url):
                piece = stream.read1(self._piece, decode_content=False)
            if not piece:
                raise Unreached("the answer ended")
            if part.size + len(piece) > self._blob.size:
                raise self._wrong_size("more bytes came")
            part.add(piece)
            self._came += len(piece)
            came = time.monotonic()
            self._on_bytes(part.size)
            self._meter.moved(self._client.session.address.host, len(piece))
            self._until += time.monotonic() - came  # waiting, for the rate or a person, is no silence of the registry
            self._require_enough()

    def _wrong_size(self, came: str) -> RegistryFailed:
        return self._client.wrong_bytes(self._blob.digest, f"{came} where {self._blob.size} were expected")


def part_of(target: str) -> str:
    return target + ".part"


def part_size(target: str, most: int) -> int:
    """Bytes of the blob that need not come again, if they turn out to be right."""
    try:
        size = os.lstat(part_of(target)).st_size
    except FileNotFoundError:
        return 0
    return size if size <= most else 0
