"""Git LFS on loopback, beside git itself (`tests.git_server`): the batch API behind the same password, and objects that
go on where they are asked to. What real servers do wrong, `batch` and the fields of LfsServer do."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.git_server import GitHandler, Server

Batch = Callable[[dict[str, Any]], tuple[int, Any]]


@dataclass(frozen=True, kw_only=True)
class LfsRequest:
    path: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = b""


class LfsHandler(GitHandler):
    owner: "LfsServer"

    def do_GET(self) -> None:
        if "/info/lfs/" not in self.path and not self.path.startswith("/objects/"):
            super().do_GET()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): held for name, held in self.headers.items()}
        self.owner.lfs_requests.append(LfsRequest(path=self.path, headers=headers, body=body))
        if self.path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        else:
            self._object(self.owner.objects.get(self.path.rpartition("/")[2]))

    do_POST = do_GET

    def _batch(self, question: dict[str, Any]) -> None:
        if self.headers.get("Authorization") != self.owner.expected:
            self.answer(401, {"LFS-Authenticate": 'Basic realm="lfs"'}, b'{"message": "who are you?"}')
            return
        status, found = self.owner.batch(question)
        data = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.answer(status, {"Content-Type": "application/vnd.git-lfs+json", **self.owner.batch_headers}, data)

    def _object(self, data: bytes | None) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:].partition("-")[0])
        if self.owner.moved:
            self.answer(302, {"Location": self.owner.moved + self.path})
        elif data is None:
            self.answer(404, {}, b"<html>")
        else:
            cut, self.owner.cut = self.owner.cut, 0
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start : cut or len(data)])


class LfsServer(Server):
    """`objects` are by oid. `place` is where addresses of objects begin (default: here), `moved` where this server
    redirects to from there. After `cut` bytes the next object ends."""

    handler = LfsHandler

    def __init__(self, folder: Path, held: Path, user: str, password: str) -> None:
        super().__init__(folder, held, user, password)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that goes is no error
        self.objects: dict[str, bytes] = {}
        self.lfs_requests: list[LfsRequest] = []
        self.header: dict[str, str] = {}
        self.authenticated = False
        self.batch: Batch = self.granted
        self.batch_headers: dict[str, str] = {}
        self.place, self.moved, self.cut = self.url, "", 0

    def granted(self, question: dict[str, Any]) -> tuple[int, Any]:
        return 200, {"transfer": "basic", "objects": [self._one(**one) for one in question["objects"]]}

    def _one(self, oid: str, size: int) -> dict[str, Any]:
        if oid not in self.objects:
            return {"oid": oid, "size": size, "error": {"code": 404, "message": "Object does not exist"}}
        action = {"href": f"{self.place}/objects/{oid}", "header": self.header, "expires_in": 60}
        return {"oid": oid, "size": size, "authenticated": self.authenticated, "actions": {"download": action}}

    def asked(self, text: str) -> list[LfsRequest]:
        return [one for one in self.lfs_requests if text in one.path]


def pointer_to(data: bytes) -> bytes:
    oid = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()


def keep_by_lfs(folder: Path, *names: str) -> dict[str, bytes]:
    """Pointers in the place of these files; what they hold, by oid."""
    held = {}
    for name in names:
        data = (folder / name).read_bytes()
        held[hashlib.sha256(data).hexdigest()] = data
        (folder / name).write_bytes(pointer_to(data))
    return held
