"""The few routes of GitHub's REST interface that the comment step asks, on loopback; artifacts lie on another host."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests import canaries
from tests.serving import serving

REPOSITORY = "fleet/models"
TOKEN = canaries.secret("forge")
BOT = "github-actions[bot]"


@dataclass(kw_only=True)
class GitHub:
    """What the server holds. `comments` are those of every pull request, oldest first."""

    archive: bytes = b""
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: list[dict[str, Any]] = field(default_factory=list)
    expired: bool = False
    requests: list[str] = field(default_factory=list)
    storage_saw: list[str | None] = field(default_factory=list)
    url: str = ""
    storage: str = ""

    def comment(self, number: int, author: str, body: str) -> None:
        one = {"id": len(self.comments) + 1, "issue": number, "user": {"login": author}, "body": body}
        self.comments.append(one)

    @contextlib.contextmanager
    def running(self) -> Iterator["GitHub"]:
        with _server(self, _Api) as self.url, _server(self, _Storage) as self.storage:
            yield self


@contextlib.contextmanager
def _server(owner: GitHub, kind: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (kind,), {"owner": owner}))
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


class _Quiet(BaseHTTPRequestHandler):
    owner: GitHub

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def answer(self, status: int, body: bytes = b"", **fields: str) -> None:
        self.send_response(status)
        for name, held in fields.items():
            self.send_header(name, held)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Storage(_Quiet):
    def do_GET(self) -> None:
        self.owner.storage_saw.append(self.headers.get("Authorization"))
        self.answer(200, self.owner.archive)


class _Api(_Quiet):
    def do_GET(self) -> None:
        self.owner.requests.append(f"{self.command} {self.path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401)
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        route = parts.path.removeprefix(f"/repos/{REPOSITORY}/").split("/")
        length = int(self.headers.get("Content-Length", 0))
        sent = json.loads(self.rfile.read(length)) if length else {}
        return self.route(route, query, sent)

    do_POST = do_PATCH = do_GET

    def route(self, route: list[str], query: dict[str, str], sent: dict[str, str]) -> None:
        match [self.command, *route]:
            case ["GET", "actions", "runs", "77", "artifacts"]:
                self.give({"artifacts": self.artifacts()})
            case ["GET", "actions", "artifacts", "5", "zip"]:
                self.answer(302, Location=f"{self.owner.storage}/blob?signature=secret")
            case ["GET", "pulls", number] if int(number) in self.owner.pulls:
                self.give(self.owner.pulls[int(number)])
            case ["GET", "issues", number, "comments"]:
                self.give(self.page(int(number), query))
            case ["POST", "issues", number, "comments"]:
                self.owner.comment(int(number), BOT, sent["body"])
                self.give({}, 201)
            case ["PATCH", "issues", "comments", number]:
                self.owner.comments[int(number) - 1]["body"] = sent["body"]
                self.give({})
            case _:
                self.answer(404)

    def artifacts(self) -> list[dict[str, Any]]:
        size = len(self.owner.archive)
        if not size:
            return []
        one = {"id": 5, "name": "reconciler-diff", "size_in_bytes": size, "expired": self.owner.expired}
        other = {"id": 6, "name": "logs", "size_in_bytes": 1, "expired": False}
        older = one | {"id": 4}
        return [older, one, other]

    def page(self, number: int, query: dict[str, str]) -> list[dict[str, Any]]:
        size, page = int(query.get("per_page", "30")), int(query.get("page", "1"))
        found = [one for one in self.owner.comments if one["issue"] == number]
        return found[(page - 1) * size : page * size]

    def give(self, body: object, status: int = 200) -> None:
        self.answer(status, json.dumps(body).encode())
