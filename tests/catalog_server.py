"""Foundry's catalog on loopback, as the SDK 2.2.1 asks it: models are listed over plain HTTP; where the files of one
lie is asked of the model registry at its own address, so a proxy on loopback answers for that with a certificate of our
own; and the files come from a container of blobs, again over plain HTTP.

    POST /asset-gallery/v1.0/models                        {"filters": [...], "pageSize": 50} -> {"summaries": [...]}
    GET  https://<region>.api.azureml.ms/modelregistry/... -> {"blobSasUri": ...}, through CONNECT
    GET  /files/<name>?comp=list&restype=container         what is in it, as XML; HEAD and GET (x-ms-range) of each
"""

import contextlib
import json
import ssl
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.serving import serving

LISTING = "/asset-gallery/v1.0/models"
REGISTRY = ".api.azureml.ms"
WHEN = "Thu, 01 Jan 2026 00:00:00 GMT"
SECRET = "sig=not-for-logs"


@dataclass
class CatalogModel:
    """One variant; `files` by name."""

    name: str
    version: int
    files: dict[str, bytes]
    alias: str = "tiny"
    size: int | None = None  # as the catalog has it; 0: it has none

    @property
    def asset(self) -> str:
        return f"azureml://registries/azureml/models/{self.name}/versions/{self.version}"

    def summary(self) -> dict[str, Any]:
        metadata = {"modelType": "ONNX", "quantization": ["int4"], "device": "cpu"}
        size = sum(map(len, self.files.values())) if self.size is None else self.size
        metadata |= {"executionProvider": "CPUExecutionProvider"} | ({"fileSizeBytes": size} if size else {})
        return {
            "assetId": self.asset,
            "name": self.name,
            "alias": self.alias,
            "displayName": self.name,
            "version": str(self.version),
            "publisher": "Microsoft",
            "license": "MIT",
            "inferenceTasks": ["chat-completion"],
            "createdTime": "2026-01-01T00:00:00Z",
            "variantInformation": {"parents": [], "variantMetadata": metadata},
        }


@dataclass
class CatalogServer:
    """`folder` is for its certificates."""

    folder: Path
    models: list[CatalogModel] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    parts: set[tuple[int, int]] = field(default_factory=set)  # of files, each once: where it begins, and its length

    def give(self, name: str, version: int, folder: Path) -> CatalogModel:
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        self.models.append(CatalogModel(name=name, version=version, files=files))
        return self.models[-1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """For a command that asks it."""
        proxy = f"http://127.0.0.1:{self._proxy.server_port}"
        trust = {"SSL_CERT_FILE": str(self.folder / "ca.pem"), "NO_PROXY": "127.0.0.1"}
        return {"RECONCILER_CATALOG": f"{self.url}{LISTING}", "HTTPS_PROXY": proxy, **trust}

    @contextlib.contextmanager
    def running(self) -> Iterator["CatalogServer"]:
        context = _certificates(self.folder)
        handler = type("Handler", (_Handler,), {"catalog": self, "context": context})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        with serving(self._server), serving(self._proxy):
            yield self


class _Handler(BaseHTTPRequestHandler):
    catalog: CatalogServer
    context: ssl.SSLContext
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def do_CONNECT(self) -> None:
        host = self.path.partition(":")[0]
        self.catalog.requests.append(f"CONNECT {host}")
        if not host.endswith(REGISTRY):  # telemetry, for one
            self._answer(502, b"")
            return
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with (
            contextlib.suppress(OSError),
            self.context.wrap_socket(self.connection, server_side=True) as secure,
            secure.makefile("rb") as self.rfile,
            secure.makefile("wb", 0) as self.wfile,
        ):
            self.handle_one_request()
            self.close_connection = True

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        names = next((one["values"] for one in asked["filters"] if one["field"] == "name"), None)
        self.catalog.requests.append(f"POST {self.path} {names or 'all'}")
        found = [one.summary() for one in self.catalog.models if names is None or one.name in names]
        self._json({"totalCount": len(found), "summaries": found})

    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        asked = urllib.parse.parse_qs(address.query)
        self.catalog.requests.append(f"{self.command} {address.path}")
        if "assetId" in asked:
            model = next((one for one in self.catalog.models if [one.asset] == asked["assetId"]), None)
            if model is None:
                self._answer(404, b"")
            else:
                self._json({"blobSasUri": f"{self.catalog.url}/files/{model.name}-{model.version}?sv=1&{SECRET}"})
            return
        _, _, container, *name = address.path.split("/", 3)
        model = next(one for one in self.catalog.models if f"{one.name}-{one.version}" == container)
        if name:
            self._file(model.files[name[0]])
        else:
            self._list(model)

    do_HEAD = do_GET

    def _list(self, model: CatalogModel) -> None:
        kind = "<BlobType>BlockBlob</BlobType><Etag>0x1</Etag><Content-Type>application/octet-stream</Content-Type>"
        dates = f"<Last-Modified>{WHEN}</Last-Modified><Creation-Time>{WHEN}</Creation-Time>"
        blobs = "".join(
            f"<Blob><Name>{name}</Name><Properties><Content-Length>{len(data)}</Content-Length>{kind}{dates}"
            "</Properties></Blob>"
            for name, data in model.files.items()
        )
        text = f'<?xml version="1.0"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>'
        self._answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _file(self, data: bytes) -> None:
        fields = {"ETag": '"0x1"', "Last-Modified": WHEN, "x-ms-creation-time": WHEN, "x-ms-blob-type": "BlockBlob"}
        fields |= {"x-ms-server-encrypted": "true", "x-ms-lease-status": "unlocked", "x-ms-lease-state": "available"}
        fields |= {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        asked = self.headers.get("x-ms-range", "")
        if not asked:
            self._answer(200, data, fields)
            return
        begin, _, end = asked.removeprefix("bytes=").partition("-")
        part = data[int(begin) : int(end) + 1]
        self.catalog.parts.add((int(begin), len(part)))
        fields["Content-Range"] = f"bytes {begin}-{int(begin) + len(part) - 1}/{len(data)}"
        self._answer(206, part, fields)

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, fields: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (fields or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # a client that is ended in the middle
                self.wfile.write(body)


def _certificates(folder: Path) -> ssl.SSLContext:
    """An authority of our own, and what it says of the registry's addresses."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "names").write_text(f"subjectAltName=DNS:*{REGISTRY}")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca = ["req", "-x509", *new, "-days", "2", "-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.pem"]
    request = ["req", *new, "-subj", "/CN=registry", "-keyout", "own.key", "-out", "own.csr"]
    signed = ["x509", "-req", "-in", "own.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
    for command in (ca, request, [*signed, "-extfile", "names", "-out", "own.pem"]):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem", folder / "own.key")
    return context
