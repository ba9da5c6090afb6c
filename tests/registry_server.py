"""OCI registries on loopback: a small one in this process that can lie, and Debian's `docker-registry` where it is
installed. One contract suite holds both (tests/registry/test_contract.py)."""

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests import canaries
from tests.serving import serving
from tests.waiting import until

USER = "fleet"
PASSWORD = canaries.secret("registry")
HTPASSWD = f"{USER}:$2b$04$ky0uSOE0tJVn8WgcCD81Iu7/sVIyoSXaNIM3w1Dsyekg4NnZa/pXm\n"  # PASSWORD, by bcrypt
DEBIAN = shutil.which("docker-registry")
CACHE = shutil.which("drayage", path=os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", ""))))

_ROUTE = re.compile(r"/v2/(?P<repository>.+?)/(?P<kind>manifests|blobs/uploads|blobs|referrers)/(?P<name>[^/]*)")


@dataclass(kw_only=True)
class Request:
    method: str
    path: str
    authorization: str
    range: str
    received: int = 0  # bytes of its body
    sent: int = 0  # bytes of the answer's


@dataclass(kw_only=True)
class Fault:
    """What becomes of the next `times` requests with this method and text in their path. `act` answers them itself and
    returns True, or changes the handler and returns False."""

    method: str
    path: str
    act: "Callable[[_Handler], bool]"
    times: int = 1


@dataclass(kw_only=True)
class Held:
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # by digest: media type, bytes
    tags: dict[str, str] = field(default_factory=dict)


class FakeRegistry:
    """`auth`: "", "basic" or "token". A token counts for `token_uses` requests. `has_referrers`: the API of 1.1."""

    def __init__(self, auth: str = "", *, has_referrers: bool = False, certificate: Path | None = None) -> None:
        self.auth, self.has_referrers, self.token_uses = auth, has_referrers, 1000
        self.repositories: dict[str, Held] = {}
        self.uploads: dict[str, bytearray] = {}
        self.tokens: dict[str, int] = {}
        self.token_requests: list[str] = []
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.connections = 0
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] - a client that goes is no error
        if certificate:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.origin = f"{'https' if certificate else 'http'}://127.0.0.1:{self._server.server_port}"

    def held(self, repository: str) -> Held:
        return self.repositories.setdefault(repository, Held())

    def asked(self, method: str, text: str = "") -> list[Request]:
        return [one for one in self.requests if one.method == method and text in one.path]

    @contextlib.contextmanager
    def running(self) -> "Iterator[FakeRegistry]":
        with serving(self._server):
            yield self


class _Handler(BaseHTTPRequestHandler):
    owner: FakeRegistry
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20
    cut_after = -1  # bytes of a body, sent or received
    announced = -1
    other: bytes | None = None
    pace: Callable[[int], None] | None = None

    def setup(self) -> None:
        self.owner.connections += 1
        super().setup()

    def do_GET(self) -> None:
        self.cut_after, self.announced, self.other, self.pace = -1, -1, None, None
        authorization = self.headers.get("Authorization") or ""
        self.request_seen = Request(
            method=self.command, path=self.path, authorization=authorization, range=self.headers.get("Range") or ""
        )
        self.owner.requests.append(self.request_seen)
        if self._fails():
            return
        if self.path.startswith("/token"):
            self._token()
        elif self._signed_in():
            self._route()

    def do_DELETE(self) -> None:
        self.refuse(405, "UNSUPPORTED")

    do_HEAD = do_PUT = do_POST = do_PATCH = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if self.announced < 0 else self.announced))
        self.end_headers()
        if self.command == "HEAD":
            return
        for at in range(0, len(body), 1024):
            piece = body[at : at + 1024]
            if 0 <= self.cut_after < at + len(piece):
                piece = piece[: self.cut_after - at]
            if self.pace:
                self.pace(at)
            self.wfile.write(piece)
            self.request_seen.sent += len(piece)
            if 0 <= self.cut_after <= at + len(piece):
                self.cut()
                return

    def cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def refuse(self, status: int, code: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": f"{code} it is"}]}).encode()
        self.answer(status, {"Content-Type": "application/json"}, body)

    def _fails(self) -> bool:
        for fault in self.owner.faults:
            if fault.times and fault.method == self.command and fault.path in self.path:
                fault.times -= 1
                return fault.act(self)
        return False

    def _token(self) -> None:
        self.owner.token_requests.append(self.path)
        if self.headers.get("Authorization") != basic():
            self.refuse(401, "UNAUTHORIZED")
            return
        token = canaries.secret(f"token-{len(self.owner.tokens)}")
        self.owner.tokens[token] = self.owner.token_uses
        self.answer(200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode())

    def _signed_in(self) -> bool:
        given = self.headers.get("Authorization") or ""
        if self.owner.auth == "basic" and given != basic():
            return self._challenge('Basic realm="fake"')
        if self.owner.auth == "token":
            token = given.removeprefix("Bearer ")
            if self.owner.tokens.get(token, 0) <= 0:
                realm = f'Bearer realm="{self.owner.origin}/token",service="fake",scope="repository:models/tiny:pull"'
                return self._challenge(realm)
            self.owner.tokens[token] -= 1
        return True

    def _challenge(self, header: str) -> bool:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(401, {"WWW-Authenticate": header})
        return False

    def _route(self) -> None:
        parts = urlsplit(self.path)
        if listed := re.fullmatch("/v2/(.+)/tags/list", parts.path):
            self._tags(listed[1], {key: values[0] for key, values in parse_qs(parts.query).items()})
            return
        found = _ROUTE.fullmatch(parts.path)
        if found is None:
            self.answer(404)
            return
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        held, name = self.owner.held(found["repository"]), found["name"]
        match found["kind"], self.command:
            case "manifests", "PUT":
                self._put_manifest(held, name)
            case "manifests", _:
                digest = held.tags.get(name, name)
                kind, data = held.manifests.get(digest, ("", b""))
                self._give(data if kind else None, {"Content-Type": kind, "Docker-Content-Digest": digest}, "MANIFEST")
            case "blobs", _:
                self._give(held.blobs.get(name), {"Docker-Content-Digest": name}, "BLOB")
            case "blobs/uploads", _:
                self._upload(found["repository"], held, name, query)
            case "referrers", _:
                self._referrers(held, name)

    def _give(self, data: bytes | None, headers: dict[str, str], what: str) -> None:
        if data is None:
            self.refuse(404, f"{what}_UNKNOWN")
            return
        data = data if self.other is None else self.other
        begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if begin and what == "BLOB":
            at = int(begin[1])
            if at >= len(data):
                self.answer(416)
                return
            self.answer(206, {**headers, "Content-Range": f"bytes {at}-{len(data) - 1}/{len(data)}"}, data[at:])
            return
        self.answer(200, headers, data)

    def _put_manifest(self, held: Held, name: str) -> None:
        data = self._body()
        document, digest = json.loads(data), sha(data)
        named = [document.get("config"), *document.get("layers", [])]
        if any(one and one["digest"] not in held.blobs for one in named):
            self.refuse(400, "MANIFEST_BLOB_UNKNOWN")
        elif name.startswith("sha256:") and name != digest:
            self.refuse(400, "DIGEST_INVALID")
        else:
            held.manifests[digest] = (self.headers.get("Content-Type") or "", data)
            if not name.startswith("sha256:"):
                held.tags[name] = digest
            subject = {"OCI-Subject": "yes"} if self.owner.has_referrers and "subject" in document else {}
            self.answer(201, {"Docker-Content-Digest": digest, **subject})

    def _upload(self, repository: str, held: Held, name: str, query: dict[str, str]) -> None:
        if self.command == "POST":
            name = f"upload-{os.urandom(6).hex()}"
            self.owner.uploads[name] = bytearray()
        if name not in self.owner.uploads:
            self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
            return
        place = self.owner.uploads[name]
        if self.command in ("PATCH", "PUT"):
            place += self._body()
        if self.command == "PUT":
            if sha(bytes(place)) != query["digest"]:
                self.refuse(400, "DIGEST_INVALID")
                return
            held.blobs[query["digest"]] = bytes(self.owner.uploads.pop(name))
            self.answer(201)
            return
        status = {"GET": 204}.get(self.command, 202)
        end = max(len(place) - 1, 0)
        self.answer(status, {"Location": f"/v2/{repository}/blobs/uploads/{name}?_state=x", "Range": f"0-{end}"})

    def _tags(self, repository: str, query: dict[str, str]) -> None:
        tags = sorted(tag for tag in self.owner.held(repository).tags if tag > query.get("last", ""))
        most = int(query.get("n", "100"))
        body = json.dumps({"name": repository, "tags": tags[:most] or None}).encode()
        if len(tags) <= most:
            self.answer(200, body=body)
            return
        self.answer(200, {"Link": f'<{self.path.partition("?")[0]}?n={most}&last={tags[most - 1]}>; rel="next"'}, body)

    def _referrers(self, held: Held, digest: str) -> None:
        if not self.owner.has_referrers:
            self.answer(404, body=b"404 page not found")
            return
        listed = [
            {"mediaType": kind, "digest": name, "size": len(data), "artifactType": json.loads(data)["artifactType"]}
            for name, (kind, data) in held.manifests.items()
            if json.loads(data).get("subject", {}).get("digest") == digest
        ]
        self.answer(200, body=json.dumps({"schemaVersion": 2, "manifests": listed}).encode())

    def _body(self) -> bytes:
        """Cut in the middle, the connection ends without an answer, and what came is kept."""
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length if self.cut_after < 0 else min(self.cut_after, length))
        self.request_seen.received = len(data)
        return data


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class DebianRegistry:
    """A process that may be killed and started again, at the same address and with what it held."""

    def __init__(self, folder: Path, *, certificate: Path | None = None, login: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "htpasswd").write_text(HTPASSWD)
        http = {"addr": f"127.0.0.1:{self.port}", "secret": "fixed"}
        if certificate:
            http["tls"] = {"certificate": str(certificate), "key": str(certificate)}  # type: ignore[assignment]
        settings = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
            "http": http,
        }
        if login:
            settings["auth"] = {"htpasswd": {"realm": "fleet", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(json.dumps(settings))
        self.folder = folder
        self.origin = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert DEBIAN is not None
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen([DEBIAN, "serve", str(self.folder / "config.yml")], stdout=log, stderr=log)
        until(lambda: _listens(self.port))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def blob(self, digest: str) -> Path:
        """The file that holds it."""
        hexadecimal = digest.removeprefix("sha256:")
        return self.folder / f"data/docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"


def needs_debian_registry() -> None:
    if DEBIAN is None:
        pytest.skip("docker-registry is not installed (apt-get install docker-registry)")


@contextlib.contextmanager
def debian_registry(folder: Path, *, certificate: Path | None = None, login: bool = False) -> Iterator[str]:
    """Its origin. Skips where it is not installed."""
    needs_debian_registry()
    registry = DebianRegistry(folder, certificate=certificate, login=login)
    registry.start()
    try:
        yield registry.origin
    finally:
        registry.kill()


@contextlib.contextmanager
def pull_through_cache(folder: Path, origin: str) -> Iterator[str]:
    """The address of a cache before a registry, which knows its repositories below `site.example/`. Skips where it is
    not installed."""
    if CACHE is None:
        pytest.skip("drayage is not installed (pip install drayage)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "cache").mkdir(parents=True)
    lines = (f'listen = "127.0.0.1:{port}"', f'cache_dir = "{folder / "cache"}"', "[upstreams.site_example]")
    (folder / "config.toml").write_text("\n".join((*lines, f'registry = "{origin}"', "")))
    with open(folder / "log", "wb") as log:
        running = subprocess.Popen([CACHE, "serve", "-c", str(folder / "config.toml")], stdout=log, stderr=log)
    try:
        until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
