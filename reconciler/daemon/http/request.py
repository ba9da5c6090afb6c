"""Read one HTTP request's head and write one answer. `http.server` would do it, for 7 MB of the memory of an idle
daemon (it brings e-mail, TLS and html); we answer four paths, so what is unusual is refused instead of understood."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

HEAD_LIMIT = 16 << 10  # bytes
HEADERS_LIMIT = 100
CHUNK = 64 << 10  # bytes of a body read at once

_FIRST = re.compile(r"([A-Z]{1,16}) (/[!-~]{0,2000}) HTTP/1\.[01]")
# Space around the value is stripped later: a pattern that does it takes a second for 16 KiB of spaces.
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)")
_LENGTH = re.compile(r"[0-9]{1,15}")

_PHRASES = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    411: "Length Required",
    413: "Content Too Large",
    421: "Misdirected Request",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """`path` without its query. `headers` by lower-case name. `length` is None when it was not said, or not clearly;
    `body` reads as it is taken."""

    method: str
    path: str
    headers: Mapping[str, Sequence[str]]
    length: int | None
    body: Iterable[bytes] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    body: bytes = b""
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """What was sent is no request that we know; `status` says how."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def read_request(file: BinaryIO) -> Request | None:
    """None when the client went away without a word. Raises Refused."""
    lines = _head(file)
    if not lines:
        return None
    first = _FIRST.fullmatch(lines[0])
    if first is None:
        raise Refused(400)
    headers = _headers(lines[1:])
    length = _length(headers)
    return Request(
        method=first[1],
        path=first[2].partition("?")[0],
        headers=headers,
        length=length,
        body=_body(file, length or 0),
    )


def answer_bytes(answer: Answer) -> bytes:
    headers = {
        "Server": "reconciler",
        "Content-Type": answer.type,
        "Content-Length": str(len(answer.body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
        **answer.headers,
    }
    lines = [f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}"]
    lines += [f"{name}: {held}" for name, held in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + answer.body


def _head(file: BinaryIO) -> list[str]:
    lines: list[str] = []
    left = HEAD_LIMIT
    while line := file.readline(left + 1):
        left -= len(line)
        if left < 0 or len(lines) > HEADERS_LIMIT:
            raise Refused(431)
        if line in (b"\r\n", b"\n"):
            return lines
        if not line.endswith(b"\n"):
            break
        lines.append(line.rstrip(b"\r\n").decode("latin-1"))
    if lines or line:
        raise Refused(400)  # it ended in the middle
    return []


def _headers(lines: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:  # also a line that continues the one before: nobody sends them any more
            raise Refused(400)
        found.setdefault(header[1].lower(), []).append(header[2].strip(" \t"))
    return found


def _length(headers: Mapping[str, Sequence[str]]) -> int | None:
    given = headers.get("content-length", ())
    clear = len(given) == 1 and _LENGTH.fullmatch(given[0]) and "transfer-encoding" not in headers
    return int(given[0]) if clear else None


def _body(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left:
        chunk = file.read(min(left, CHUNK))
        if not chunk:
            raise Refused(400)
        left -= len(chunk)
        yield chunk
