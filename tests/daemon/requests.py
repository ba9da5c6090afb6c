"""A request's bytes through the server's own parser, without a socket."""

import io
from dataclasses import replace
from typing import Any

from reconciler.daemon.http.handler import Request, RequestHandler


class _Connection:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str, _: int) -> io.IOBase:
        return io.BytesIO(self._data if mode == "rb" else b"")


class _Reader(RequestHandler):
    found: Request | None = None

    def handle(self) -> None:
        request = self._read()
        self.found = None if request is None else replace(request, body=list(request.body))


def read_request(data: bytes) -> Request | None:
    """Raises BadRequest."""
    connection: Any = _Connection(data)
    server: Any = None
    return _Reader(connection, ("", 0), server).found
