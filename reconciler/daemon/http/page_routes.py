"""Routes of the page for people: /, /page.json, /page/parts/NAME, and /page/stream, which names what changed.

The page is for a browser on this machine. A page of another site that a browser here shows may link to it, and gets
nothing else: neither an answer nor one of the STREAMS that can be open at a time.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from reconciler.daemon.http.handler import Request, Response
from reconciler.daemon.http.page_source import PageSource
from reconciler.domain.machine.registries import is_loopback
from reconciler.domain.text.escape import for_json

STREAMS = 8  # of the server's threads
LIFE = 600.0  # seconds; then the browser opens another one
HEARTBEAT = 15.0  # seconds without news: one that has gone away is noticed
LOOK = 1.0  # seconds between two looks for changes

PAGE, DOCUMENT, STREAM, PARTS = "/", "/page.json", "/page/stream", "/page/parts/"
HTML = "text/html; charset=utf-8"

_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class PageRoutes:
    def __init__(
        self, page: PageSource, *, life: float = LIFE, heartbeat: float = HEARTBEAT, look: float = LOOK
    ) -> None:
        self._page = page
        self._times = life, heartbeat, look
        self._free = threading.BoundedSemaphore(STREAMS)
        self._closing = threading.Event()

    def has(self, path: str) -> bool:
        return path in (PAGE, DOCUMENT, STREAM) or path.startswith(PARTS)

    def answer(self, request: Request) -> Response:
        if not is_of_this_page(request):  # guard: another site gets nothing of the page
            return Response(status=403)
        if request.path == STREAM:
            return self._stream()
        if request.path == DOCUMENT:
            text = for_json(json.dumps(self._page.view(), ensure_ascii=False))
            return Response(status=200, body=f"{text}\n".encode(), headers=_HEADERS)
        if request.path == PAGE:
            html, policy = self._page.html()
            return _html(html, {"Content-Security-Policy": policy})
        part = self._page.part(request.path.removeprefix(PARTS))
        return Response(status=404) if part is None else _html(part, {"Content-Security-Policy": "default-src 'none'"})

    def close(self) -> None:
        self._closing.set()

    def _stream(self) -> Response:
        if not self._free.acquire(blocking=False):  # guard: streams leave threads to others
            return Response(status=503, headers={"Retry-After": "5"})
        kind = "text/event-stream; charset=utf-8"
        return Response(status=200, type=kind, headers=_HEADERS, stream=self._open_stream())

    @contextmanager
    def _open_stream(self) -> Iterator[Iterator[bytes]]:
        try:
            yield self._changes()
        finally:  # also when nothing was sent
            self._free.release()

    def _changes(self) -> Iterator[bytes]:
        """Server-sent events: at first the digests of all parts, then those that changed. Each message is small, so a
        client that reads slowly holds nothing up and costs no memory."""
        life, heartbeat, look = self._times
        yield b"retry: 2000\n\n"
        known: dict[str, str] = {}
        began = said = time.monotonic()
        while time.monotonic() - began < life:
            new = {name: digest for name, digest in self._page.digests().items() if known.get(name) != digest}
            if new:
                known |= new
                said = time.monotonic()
                yield f"data: {json.dumps(new)}\n\n".encode()
            elif time.monotonic() - said >= heartbeat:
                said = time.monotonic()
                yield b":\n\n"
            if self._closing.wait(look):
                return


def is_of_this_page(request: Request) -> bool:
    """Asked by our own page, typed or followed by a person, or by a program that is no browser. Every browser says
    where a request comes from (Sec-Fetch-Site; Origin). On a socket too, which ssh may have brought to another machine,
    only the names of loopback count: any other may be that of a site."""
    said = {name: request.headers.get(name, ()) for name in ("sec-fetch-site", "sec-fetch-dest", "origin", "host")}
    origin_is_ours = all(one == f"http://{host}" for one in said["origin"] for host in said["host"])
    site = set(said["sec-fetch-site"])
    followed = request.path == PAGE and set(said["sec-fetch-dest"]) == {"document"}
    named = all(is_loopback(one.lower()) for one in said["host"])
    return named and origin_is_ours and (followed or site <= {"same-origin", "none"})


def _html(text: str, headers: Mapping[str, str]) -> Response:
    return Response(status=200, body=text.encode(), type=HTML, headers={**_HEADERS, **headers})
