"""A hub on loopback that speaks the routes of the real one, and can be as unkind: cut connections, ask for patience,
change a file under a commit, want a token, send elsewhere."""

import contextlib
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.serving import serving

COMMIT = "c0ffee" * 6 + "c0ff"
LARGE = 4096  # bytes from which a file is "large": the hub itself knows its sha256


@dataclass(kw_only=True)
class Request:
    method: str
    path: str
    range: str = ""
    authorization: str = ""
    sent: int = 0


@dataclass(kw_only=True)
class Repo:
    """`files` are those of `commit`; `main` is where the default branch is."""

    files: dict[str, bytes]
    commit: str = COMMIT
    main: str = COMMIT
    gated: bool = False
    token: str = ""
    sha256: str = ""  # what the hub says of its large files, if not the truth


@dataclass(kw_only=True)
class Unkind:
    """What happens to the next requests for the bytes of a file."""

    cut_after: list[int] = field(default_factory=list)  # bytes of the body, for one GET each
    busy: list[str] = field(default_factory=list)  # a 429 with this Retry-After, for one HEAD each
    broken: int = 0  # so many answers of 503
    hold_after: int = 0  # bytes after which a GET waits for `release`
    redirect: str = ""  # where the bytes are
    no_range: bool = False
    release: threading.Event = field(default_factory=threading.Event)


class HubServer:
    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.unkind = Unkind()
        self.requests: list[Request] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def give(self, name: str, folder: Path, **more: Any) -> Repo:
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        self.repos[name] = Repo(files=files, **more)
        return self.repos[name]

    def bytes_sent(self, name: str) -> int:
        return sum(one.sent for one in self.requests if one.path.endswith("/" + name) and one.method == "GET")

    @contextlib.contextmanager
    def running(self) -> Iterator["HubServer"]:
        with serving(self._server):
            try:
                yield self
            finally:
                self.unkind.release.set()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.request_seen = Request(
            method=self.command,
            path=self.path.partition("?")[0],
            range=self.headers.get("Range", ""),
            authorization=self.headers.get("Authorization", ""),
        )
        self.hub.requests.append(self.request_seen)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._route(urllib.parse.unquote(self.request_seen.path))

    do_HEAD = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def _route(self, path: str) -> None:
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self._with(match[1], match[2] or "main", self._info)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(?:/(.+))?", path):
            self._with(match[1], match[2], lambda repo, _: self._tree(repo, f"{match[3]}/" if match[3] else ""))
        elif match := re.fullmatch(r"/(?:cdn/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._with(match[1], match[2], lambda repo, _: self._file(repo, match[3]))
        else:
            self._refuse(404, "")

    def _with(self, name: str, revision: str, answer: Any) -> None:
        repo = self.hub.repos.get(name)
        if repo is None:
            self._refuse(404, "RepoNotFound")
        elif repo.gated and self.request_seen.authorization != f"Bearer {repo.token}":
            self._refuse(401 if not self.request_seen.authorization else 403, "GatedRepo")
        elif revision not in (repo.commit, "main"):
            self._refuse(404, "RevisionNotFound")
        else:
            answer(repo, revision)

    def _info(self, repo: Repo, revision: str) -> None:
        sha = repo.main if revision == "main" else repo.commit
        siblings = [{"rfilename": name} for name in repo.files]
        self._json({"id": "x/y", "sha": sha, "siblings": siblings, "private": False, "tags": []})

    def _tree(self, repo: Repo, folder: str) -> None:
        listed: list[dict[str, Any]] = [{"type": "directory", "path": "onnx", "oid": "0" * 40, "size": 0}]
        inside = {name: data for name, data in repo.files.items() if name.startswith(folder)}
        for name, data in inside.items():
            if "/" in name.removeprefix(folder):
                continue
            entry = {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
            if len(data) >= LARGE:
                entry["lfs"] = {
                    "oid": repo.sha256 or hashlib.sha256(data).hexdigest(),
                    "size": len(data),
                    "pointerSize": 134,
                }
            listed.append(entry)
        self._json(listed)

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, **fields: str) -> None:
        self._answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": "no", **fields})

    def _file(self, repo: Repo, name: str) -> None:
        unkind, data = self.hub.unkind, repo.files.get(name)
        if data is None:
            return self._refuse(404, "EntryNotFound")
        if self.command == "HEAD" and unkind.busy:
            return self._refuse(429, "", **{"Retry-After": unkind.busy.pop(0)})
        if unkind.broken:
            unkind.broken -= 1
            return self._refuse(503, "")
        sha256 = hashlib.sha256(data).hexdigest()
        fields = {"X-Repo-Commit": repo.commit, "ETag": f'"{sha256}"', "Accept-Ranges": "bytes"}
        fields |= {"X-Linked-ETag": f'"{sha256}"', "X-Linked-Size": str(len(data))} if len(data) >= LARGE else {}
        if unkind.redirect and len(data) >= LARGE and not self.path.startswith("/cdn"):
            fields["Location"] = unkind.redirect + "/cdn" + self.path
            return self._answer(302, b"", fields)
        return self._bytes(data, fields)

    def _bytes(self, data: bytes, fields: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.request_seen.range)
        start = int(asked[1]) if asked and not self.hub.unkind.no_range else 0
        if start:
            fields["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._answer(206 if start else 200, data[start:], fields)

    def _answer(self, status: int, body: bytes, fields: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self._send(body, bytes_of_a_file="ETag" in fields)

    def _send(self, body: bytes, *, bytes_of_a_file: bool) -> None:
        unkind = self.hub.unkind
        large = bytes_of_a_file and len(body) >= LARGE
        limit = unkind.cut_after.pop(0) if large and unkind.cut_after else len(body)
        hold = unkind.hold_after if large else 0
        first = body[: min(limit, hold)] if hold else b""
        self._write(first)
        if hold:
            unkind.release.wait(60)
        self._write(body[len(first) : limit])
        if limit < len(body):
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(2)

    def _write(self, data: bytes) -> None:
        for start in range(0, len(data), 1 << 16):
            piece = data[start : start + (1 << 16)]
            self.wfile.write(piece)
            self.request_seen.sent += len(piece)
