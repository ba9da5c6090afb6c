"""A server on loopback that takes what the daemon sends, and answers as the test wants."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving
from tests.waiting import PATIENCE, until

__all__ = ["Received", "Receiver", "receiving", "until"]


@dataclass(frozen=True, kw_only=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """`status` and `headers` are those of the next answers; `got` is everything that came, `taken` what got a 2xx."""

    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    open: threading.Event = field(default_factory=threading.Event)  # while it is not set nobody gets an answer
    got: list[Received] = field(default_factory=list)
    taken: list[Received] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            one = Received(path=self.path, headers=dict(self.headers.items()), body=body)
            receiver.got.append(one)
            status = receiver.status
            receiver.open.wait(PATIENCE)
            if 200 <= status < 300:
                receiver.taken.append(one)
            self.send_response(status)
            for name, held in receiver.headers.items():
                self.send_header(name, held)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            receiver.got.append(Received(path=self.path, headers=dict(self.headers.items()), body=b""))
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    receiver.port = server.server_address[1]
    with serving(server):
        try:
            yield receiver
        finally:
            receiver.open.set()
