"""One file to a registry, as a blob: nothing moves where the registry has it. Else it goes up in pieces, and a lost
connection goes on behind the last piece that arrived.

A registry that takes no second piece (some do not) or has lost its place (Distribution, when cut inside a piece) gets
the whole file as one, from the beginning. After a kill of this process the blob that was under way starts again; those
before it are there. The registry itself compares the digest at the end.
"""

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlencode, urlsplit

from reconciler.domain.errors import RegistryFailed
from reconciler.registry.client import RegistryClient
from reconciler.registry.download import CHUNK, Blob
from reconciler.registry.transport import Unreached

PIECE = 64 << 20  # bytes that go up in one request
MOST_RESUMES = 100  # lost connections of one blob

_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")


class BlobUpload:
    """`path` must not change meanwhile. `on_bytes` gets how many bytes of the blob have gone, and may raise."""

    def __init__(
        self,
        client: RegistryClient,
        blob: Blob,
        path: str,
        on_bytes: Callable[[int], None] = lambda count: None,
        *,
        piece: int = PIECE,
    ) -> None:
        self._client, self._session = client, client.session
        self._blob, self._path = blob, path
        self._on_bytes, self._piece, self._resumes = on_bytes, piece, 0

    def run(self) -> None:
        failures = 0
        while not self._client.has_blob(self._blob.digest):
            try:
                self._attempt()
                break
            except Unreached as failure:
                failures += 1
                if failures >= self._session.tries:
                    raise self._session.unreached(self._blob.digest, str(failure)) from None
                self._session.pause(failures)
            except RegistryFailed as refusal:
                if refusal.code != "RegistryRefused" or self._piece >= self._blob.size:
                    raise
                self._piece = self._blob.size
        self._on_bytes(self._blob.size)

    def _attempt(self) -> None:
        """Raises Unreached where trying once more is of use."""
        url = self._session.url("blobs/uploads/")
        sent, place = 0, self._session.upload_place(self._session.ask("POST", url, (202,)), url)
        while sent < self._blob.size:
            sent, place = self._sent(sent, place)
        end = f"{place}{'&' if urlsplit(place).query else '?'}{urlencode({'digest': self._blob.digest})}"
        if self._session.ask("PUT", end, (201, 204, 404), body=lambda: b"").status == 404:
            raise Unreached("it has lost the upload")

    def _sent(self, sent: int, place: str) -> tuple[int, str]:
        """How much is there after one more piece, and where the next one goes."""
        count = min(self._piece, self._blob.size - sent)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(count),
            "Content-Range": f"{sent}-{sent + count - 1}",
        }
        try:
            answer = self._session.ask(
                "PATCH", place, (201, 202, 204, 404), headers, lambda: self._bytes(sent, count), tries=1
            )
        except RegistryFailed as error:
            if error.code not in ("RegistryUnreachable", "RegistryBusy"):
                raise
            return self._found(place, error)
        if answer.status == 404:
            raise Unreached("it has lost the upload")
        return sent + count, self._session.upload_place(answer, place)

    def _found(self, place: str, error: RegistryFailed) -> tuple[int, str]:
        """After a lost connection: where the registry says that it stands."""
        self._resumes += 1
        if self._resumes > MOST_RESUMES:
            raise error
        self._session.pause(1, error.delay)
        answer = self._session.ask("GET", place, (200, 204, 400, 404, 405, 416))
        there = _RANGE.fullmatch(answer.headers.get("Range") or "")
        if answer.status not in (200, 204) or there is None:
            raise Unreached("it has lost the upload")
        return min(int(there[1]) + 1, self._blob.size), self._session.upload_place(answer, place)

    def _bytes(self, sent: int, count: int) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            file.seek(sent)
            while count and (data := file.read(min(count, CHUNK))):
                yield data
                sent, count = sent + len(data), count - len(data)
                self._on_bytes(sent)
