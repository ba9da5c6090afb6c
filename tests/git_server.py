"""Real git repositories and a real smart-http server over TLS, with a password, on loopback."""

import base64
import contextlib
import os
import ssl
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.serving import serving

TEMPLATE = """\
apiVersion: reconciler.foundry/v1alpha1
kind: PromptTemplate
metadata: {{name: {name}}}
spec:
  jinja: {file}
"""
MODEL = """\
apiVersion: reconciler.foundry/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec:
  source: {{path: {source}}}
  precisions: [int4]
  promptTemplate: chatml
"""


class Repository:
    """A repository with a work tree, as an author has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, said: bytes = b"") -> str:
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments], input=said, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def write(self, name: str, text: str | bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def model(self, name: str, source: str = "../model") -> None:
        self.write(f"manifests/{name}.yaml", MODEL.format(name=name, source=source))

    def commit(self, message: str = "change", *options: str) -> str:
        self.git("add", "-A")
        return self.commit_index(message, *options)

    def commit_index(self, message: str = "change", *options: str) -> str:
        self.git("commit", "-q", "--allow-empty", "-m", message, *options)
        return self.git("rev-parse", "HEAD")

    def place(self, mode: str, name: str, content: str) -> None:
        """Straight into the index: what no file system would hold. `content` is an object."""
        self.git("update-index", "--add", "--cacheinfo", f"{mode},{content},{name}")

    def blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", said=data)


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 in one file."""
    key, held = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(held)], check=True, capture_output=True, timeout=60)
    held.write_bytes(held.read_bytes() + key.read_bytes())
    return held


class Server:
    """`git http-backend` behind basic auth. `seen` are the command lines that ran on this machine at each request."""

    handler: type[BaseHTTPRequestHandler]

    def __init__(self, folder: Path, held: Path, user: str, password: str, *, port: int = 0) -> None:
        self.folder = folder
        self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.redirect = ""
        self.requests: list[str] = []
        self.seen: set[str] = set()
        handler = type("Handler", (self.handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(held)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"https://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator["Server"]:
        with serving(self._server):
            yield self


class GitHandler(BaseHTTPRequestHandler):
    owner: Server

    def do_GET(self) -> None:
        self.owner.requests.append(self.path)
        self.owner.seen |= set(_command_lines())
        if self.owner.redirect:
            self.answer(302, {"Location": self.owner.redirect + self.path})
        elif self.headers.get("Authorization") != self.owner.expected:
            self.answer(401, {"WWW-Authenticate": 'Basic realm="git"'})
        else:
            self._backend()

    do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def _backend(self) -> None:
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        environment = os.environ | {
            "GIT_PROJECT_ROOT": str(self.owner.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "test",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, check=True, timeout=60
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.answer(int(fields.pop("Status", "200").split()[0]), fields, content)

    def answer(self, status: int, fields: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for name, held in fields.items():
            self.send_header(name, held)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


Server.handler = GitHandler


def _command_lines() -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
