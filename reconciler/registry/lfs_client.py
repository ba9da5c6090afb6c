"""Git LFS's batch API (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md): a server is asked for one
object, and answers with the address where it lies and the headers that are wanted there.

What it answers is foreign: bounded, read strictly, and believed by sha256 and size alone. The token goes to the server
of the repository, and what the answer gives as headers to the host that it names: neither goes on to another one.
Connections, retries and their limits are those of registries (`session`, `transport`).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit

from urllib3.response import BaseHTTPResponse

from reconciler.domain.errors import LfsFailed, RegistryFailed
from reconciler.domain.machine.registries import RegistryAddress
from reconciler.domain.sources.lfs_pointer import LfsPointer
from reconciler.domain.text.escape import one_line
from reconciler.registry.client import AN_HOUR
from reconciler.registry.credentials import Login
from reconciler.registry.session import AGAIN, Session
from reconciler.registry.transport import Body, Transport, Unreached, leads_inward, parts_of, same_origin

TYPE = "application/vnd.git-lfs+json"
LONGEST_HREF, MOST_HEADERS, LONGEST_HEADER = 16 << 10, 20, 8 << 10
BATCH = "objects/batch"
NO_LFS = (404, 405, 406, 410, 415, 501)  # of the batch API itself

_UNREACHED = "check the network, the proxy and GIT_SSL_CAINFO; what serves goes on serving"
_DENIED = "the token of --token-file or RECONCILER_GIT_TOKEN has to be one that may read the repository's LFS objects"
_LACKS = "it was never pushed: `git lfs push --all REMOTE` from a clone that has it"
_WRONG = "`git lfs push --all REMOTE` from a clone that has the right ones; `git lfs fsck` says which does"
_UNSUPPORTED = "is Git LFS switched on there, and may the token see it? A server that .lfsconfig names is not asked"
_WORDS = {  # by what a session of registries calls it
    "RegistryUnreachable": ("LfsUnreachable", _UNREACHED),
    "RegistryBusy": ("LfsBusy", _UNREACHED),
    "RegistryDenied": ("LfsDenied", _DENIED),
    "RegistryLacks": ("LfsLacks", _LACKS),
    "RegistryRefused": ("LfsRefused", "the server's administrator sees more in its log"),
    "DigestMismatch": ("DigestMismatch", _WRONG),
}
# What a server may not decide: where a request goes, how it is framed, and what is asked for.
_OURS = frozenset(
    ("host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "expect", "range", "accept-encoding")
)


@dataclass(frozen=True, kw_only=True)
class LfsAction:
    """Where an object lies. `headers` are for the host of `href`, and may be secrets. With `authenticated` the server
    says that the address needs no password beside them."""

    href: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authenticated: bool = False


class LfsSession(Session):
    """With the server of one repository, by its https address."""

    def __init__(self, remote: str, login: Login | None, transport: Transport, **options: Any) -> None:
        parts = urlsplit(remote)
        path = parts.path.strip("/")
        host = parts.netloc.rpartition("@")[2]
        super().__init__(RegistryAddress(origin=f"https://{host}", repository=path), transport, **options)
        self._authorization = login.basic() if login else ""
        self._action, self._what = LfsAction(href=""), ""

    def url(self, path: str) -> str:
        git = "" if self.address.repository.endswith(".git") else ".git"
        return f"{self.address.origin}/{self.address.repository}{git}/info/lfs/{path}"

    def granted(self, action: LfsAction, what: str) -> None:
        """Its headers go to its address from now on, which errors call `what`."""
        self._action, self._what = action, what

    def shown(self, url: str) -> str:
        return self._what if url == self._action.href else BATCH

    def error(self, what: str, reason: str, *, code: str, hint: str, delay: float = 0.0) -> RegistryFailed:
        code, hint = _WORDS.get(code, (code, hint))
        return LfsFailed(f"{self.address}: Git LFS: {what}: {reason}", hint=hint, code=code, delay=delay)

    def _signed(
        self, method: str, url: str, headers: Mapping[str, str], body: Callable[[], Body] | None
    ) -> tuple[BaseHTTPResponse, str]:
        """A challenge is not answered: it could name any place that the token should go to."""
        return self._sent(method, url, headers, body)

    def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: Callable[[], Body] | None
    ) -> tuple[BaseHTTPResponse, str]:
        action = self._action if url == self._action.href else LfsAction(href=url)
        named = action.authenticated or any(name.lower() == "authorization" for name in action.headers)
        # guard: the token of a repository goes to its server alone
        is_ours = same_origin(url, self.address.origin)
        own = self._authorization if is_ours and not named else ""
        return self._transport.send(method, url, headers, own, body() if body else None, secrets=action.headers)


class LfsObject:
    """One object of a repository. A `BlobPlace` (`download`)."""

    def __init__(self, session: LfsSession, pointer: LfsPointer, name: str) -> None:
        self.session = session
        self._pointer, self._name = pointer, name

    def blob_url(self, digest: str) -> str:
        """Asked for anew for each connection: an address may hold for minutes only."""
        action = self._asked()
        self.session.granted(action, self._name)
        return action.href

    def wrong_bytes(self, digest: str, came: str) -> RegistryFailed:
        reason = f"other bytes came: {came}"
        return self.session.error(self._name, reason, code="DigestMismatch", hint="", delay=AN_HOUR)

    def _asked(self) -> LfsAction:
        wanted = {"oid": self._pointer.oid, "size": self._pointer.size}
        question = {"operation": "download", "transfers": ["basic"], "objects": [wanted], "hash_algo": "sha256"}
        body = json.dumps(question).encode()
        headers = {"Accept": TYPE, "Content-Type": TYPE}
        answer = self.session.ask("POST", self.session.url(BATCH), (200, *NO_LFS), headers, lambda: body)
        if answer.status != 200:
            self._refuse(f"status {answer.status}", "LfsUnsupported", _UNSUPPORTED)
        try:
            found = self._found(json.loads(answer.data))
            if (error := found.get("error")) is not None:
                raise self._error(int(error["code"]), str(error.get("message", "")))
            action = found["actions"]["download"]
            href, headers = self._address(action["href"]), self._headers(action.get("header") or {})
            return LfsAction(href=href, headers=headers, authenticated=found.get("authenticated") is True)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
            self._refuse("what answers there speaks no Git LFS", "LfsUnsupported", _UNSUPPORTED)

    def _found(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        if document.get("transfer") not in (None, "basic") or document.get("hash_algo") not in (None, "sha256"):
            self._refuse("it wants a transfer that was not offered", "LfsUnsupported", _UNSUPPORTED)
        (found,) = (one for one in document["objects"] if one["oid"] == self._pointer.oid)
        return found  # type: ignore[no-any-return]  # what is no mapping is an error of its reader

    def _error(self, status: int, message: str) -> RegistryFailed:
        codes = {401: "RegistryDenied", 403: "RegistryDenied", 404: "RegistryLacks", 410: "RegistryLacks"}
        code = "RegistryBusy" if status in AGAIN else codes.get(status, "RegistryRefused")
        return self.session.error(self._name, one_line(f"{status} {message}".strip(), 200), code=code, hint="")

    def _address(self, href: str) -> str:
        if len(href) > LONGEST_HREF or not href.isascii() or not href.isprintable():
            self._refuse_address("it is no address")
        try:
            parts = parts_of("", href)
        except Unreached as failure:
            self._refuse_address(str(failure))
        if parts.scheme != "https" or not parts.hostname:  # guard: an object comes over TLS
            self._refuse_address("expected https")
        # guard: a server elsewhere names no address of this machine
        if leads_inward(self.session.address.origin, href):
            self._refuse_address("it is an address of this machine alone")
        return parts.geturl()

    def _headers(self, given: Mapping[str, Any]) -> dict[str, str]:
        if len(given) > MOST_HEADERS:
            self._refuse_address("it wants more headers than are sent")
        headers = {str(name): str(held) for name, held in given.items() if str(name).lower() not in _OURS}
        # guard: a header of an answer is one line
        if not all(_is_header(name, held) for name, held in headers.items()):
            self._refuse_address("it wants a header that is none")
        return headers

    def _refuse_address(self, why: str) -> NoReturn:
        self._refuse(f"the address that the server names is not asked: {why}", "LfsRefused", _UNREACHED)

    def _refuse(self, reason: str, code: str, hint: str) -> NoReturn:
        raise self.session.error(self._name, reason, code=code, hint=hint)


def _is_header(name: str, held: str) -> bool:
    is_name = name.replace("-", "").replace("_", "").isalnum() and name.isascii() and len(name) <= 100
    return is_name and held.isascii() and held.isprintable() and len(held) <= LONGEST_HEADER
