"""A face on loopback for tests, before a state that the test writes."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.daemon.http.listening import parse_address
from reconciler.daemon.http.page_routes import PageRoutes
from reconciler.daemon.http.routes import Routes
from reconciler.daemon.http.server import HttpServer
from reconciler.daemon.state import Board, Moment, State
from reconciler.daemon.wake import Wake
from reconciler.domain.layout import Layout
from reconciler.domain.recorded import Condition
from reconciler.state.records import Records
from tests import canaries
from tests.waiting import PATIENCE

SECRET = canaries.secret("hook")


class Faced:
    """What a test holds: the board and the wake behind the face, and a client before it."""

    def __init__(
        self, root: Path, listen: str = "127.0.0.1:0", *, hooks: bool = True, page: PageRoutes | None = None
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.secret = root / "secret"
        if hooks:
            canaries.file(self.secret, "hook")
        self.layout = Layout(str(root))
        self.records = Records(self.layout)
        self.board = Board(State(started=Moment.now(), interval=60.0))
        self.wake = Wake()
        self.patience = 60.0
        secret = str(self.secret) if hooks else ""
        routes = Routes(self.board, self.wake, self.layout, lambda: self.patience, secret, page)
        address = parse_address(listen)
        assert address is not None
        self.face = HttpServer(address, routes, look_around=0.02)

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.face.port, timeout=PATIENCE)
        try:
            named = {name.replace("_", "-"): held for name, held in headers.items()}
            connection.request(method, path, body=body, headers=named)
            response = connection.getresponse()
            return response.status, response.read().decode(), dict(response.getheaders())
        finally:
            connection.close()


@contextmanager
def faced(root: Path, **options: Any) -> Iterator[Faced]:
    one = Faced(root, **options)
    try:
        yield one
    finally:
        one.face.close()


def condition(kind: str, status: str = "True", reason: str = "Served", message: str = "") -> Condition:
    return Condition(
        type=kind, status=status, reason=reason, message=message, last_transition_time="2026-01-01T00:00:00Z"
    )


def conditions(**variants: Condition) -> dict[str, dict[str, Condition]]:
    return {variant: {one.type: one} for variant, one in variants.items()}
