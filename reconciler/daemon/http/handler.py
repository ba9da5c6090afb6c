"""Reads one HTTP request and writes one answer, on the standard library's handler with tighter limits.

A head has at most HEAD_LIMIT bytes and a hundred headers, and its lines have the plain form that every client sends;
anything else is refused. A connection carries one request, so that nothing can be smuggled behind it.
"""

import contextlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

HEAD_LIMIT = 16 << 10  # bytes
CHUNK = 64 << 10  # bytes of a body read at once

_FIRST = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,2000}) HTTP/1\.[01]\r?\n")
# No folded lines and no carriage return inside: the e-mail parser below would take either for the end of a line.
_HEADER = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*)?\r?\n")
_LENGTH = re.compile(r"[0-9]{1,15}")
_ALWAYS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Connection": "close"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """`path` without its query. `headers` by lower-case name. `length` is None when it was not given, or not clearly;
    `body` is read as it is taken."""

    method: str
    path: str
    headers: Mapping[str, Sequence[str]]
    length: int | None
    body: Iterable[bytes] = ()


@dataclass(frozen=True, kw_only=True)
class Response:
    """With a `stream`, which is entered once, there is no `body`: its pieces are sent as they come, without an end that
    is known."""

    status: int
    body: bytes = b""
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: contextlib.AbstractContextManager[Iterator[bytes]] | None = None


class BadRequest(Exception):
    """What was sent is no request that is understood here; `status` says how."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _HeadReader(io.BufferedReader):
    """Lines of a head are counted and checked. Raises BadRequest."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw)
        self._left = HEAD_LIMIT

    def readline(self, size: int | None = -1, /) -> bytes:
        first = self._left == HEAD_LIMIT
        line = super().readline(self._left + 1)
        self._left -= len(line)
        if self._left < 0:  # guard: a head has an end
            raise BadRequest(431)
        if (line or not first) and not (_FIRST if first else _HEADER).fullmatch(line):
            raise BadRequest(400)
        return line


class RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    request_version = protocol_version  # until a request names another
    rbufsize = 0  # not buffered twice
    wbufsize = -1  # head and body of an answer leave together
    server: Any  # daemon.http.server.HttpServer: it answers requests, and learns when one was read

    def setup(self) -> None:
        super().setup()
        self.rfile = _HeadReader(self.rfile)  # type: ignore[arg-type]

    def handle(self) -> None:
        try:
            request = self._read()
            answer = None if request is None else self.server.answer(request)
        except BadRequest as error:
            answer = Response(status=error.status)
        self.server.was_read(self.connection)
        if answer is not None:
            self._write(answer)

    def _read(self) -> Request | None:
        """None when the client went away without a word. Raises BadRequest."""
        self.raw_requestline = self.rfile.readline()
        if not self.raw_requestline:
            return None
        self.parse_request()
        headers = {
            name.lower(): [value.strip(" \t") for value in self.headers.get_all(name, ())] for name in self.headers
        }
        length = _length(headers)
        target = self.raw_requestline.split()[1].decode("ascii")
        return Request(
            method=self.command,
            path=target.partition("?")[0],
            headers=headers,
            length=length,
            body=self._body(length or 0),
        )

    def _body(self, left: int) -> Iterator[bytes]:
        while left:
            chunk = self.rfile.read(min(left, CHUNK))
            if not chunk:
                raise BadRequest(400)
            left -= len(chunk)
            yield chunk

    def _write(self, answer: Response) -> None:
        if answer.stream is None:
            self._write_head(answer, {"Content-Length": str(len(answer.body))})
            self.wfile.write(answer.body)
            return
        with answer.stream as pieces:
            self._write_head(answer, {})
            for piece in pieces:
                self.wfile.write(piece)
                self.wfile.flush()  # a client that does not read is given up after the socket's timeout

    def _write_head(self, answer: Response, length: Mapping[str, str]) -> None:
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.type, **length, **_ALWAYS, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Called where the standard library cannot parse a request: nothing of it is repeated in an answer."""
        raise BadRequest(code)

    def handle_expect_100(self) -> bool:
        """No client needs it: `curl` sends its body after a second without."""
        return True

    def version_string(self) -> str:
        return "reconciler"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: a client must not fill the log."""


def _length(headers: Mapping[str, Sequence[str]]) -> int | None:
    given = headers.get("content-length", ())
    clear = len(given) == 1 and _LENGTH.fullmatch(given[0]) and "transfer-encoding" not in headers
    return int(given[0]) if clear else None
