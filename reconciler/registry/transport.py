"""HTTP to one host or another: certificates, proxies, time-outs, redirects. It knows no registry and no password beyond
the header that it is given, which goes to the first host only.

Proxies and further certificates come from this machine's environment (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE). Every
failure is one `Unreached` in plain words, without an address that could hold a secret.
"""

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import exceptions as failures
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import BaseHTTPResponse

from reconciler.domain.errors import RegistryFailed
from reconciler.domain.text.escape import one_line

CONNECT_SECONDS = 10.0
SILENCE = 30.0  # seconds without any byte
PATIENCE = 2  # such times, for the whole head of an answer, and for the whole body of a small one
REDIRECTS = 5
MOVED = (301, 302, 303, 307, 308)
AGENT = "foundry-reconciler"

_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((failures.NameResolutionError,), "its name is not known"),
    ((failures.NewConnectionError,), "no connection"),
    ((failures.TimeoutError, TimeoutError), "it did not answer in time"),
    ((failures.ProtocolError, http.client.HTTPException, ConnectionError), "the connection was cut"),
)

_NONE: Mapping[str, str] = {}
# Of an address that somebody else names: libraries read what else may stand there each in its own way.
_PLAIN = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Body = bytes | Iterable[bytes] | None


class Unreached(Exception):
    """No answer, or not a whole one. `lasting`: trying again at once is of no use."""

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


class _Answer(http.client.HTTPResponse):
    """Its head comes soon: each byte of it alone would begin the silence anew."""

    patience = PATIENCE * SILENCE

    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self._connection, self._is_late = sock, False

    def begin(self) -> None:
        ending = threading.Timer(self.patience, self._end)
        ending.daemon = True
        ending.start()
        try:
            super().begin()
        finally:
            ending.cancel()
            if self._is_late:  # an end in the middle may pass for the end of the head
                raise TimeoutError

    def _end(self) -> None:
        self._is_late = True
        # guard: the head of an answer comes soon
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


def _connections(patience: float) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Pools of connections, by scheme, whose answers have a head within `patience` seconds."""
    answer = type("Answer", (_Answer,), {"patience": patience})
    plain = type("Plain", (HTTPConnection,), {"response_class": answer})
    secure = type("Secure", (HTTPSConnection,), {"response_class": answer})
    return {
        "http": type("PlainPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("SecurePool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


class Transport:
    """`receive_buffer`: bytes that the kernel may hold of each connection, 0 as it likes (some MiB). For the origin
    `pinned` the certificates of `ca_file` alone count, if there are any; for others also what the system trusts."""

    def __init__(
        self, ca_file: str = "", *, silence: float = SILENCE, receive_buffer: int = 0, pinned: str = ""
    ) -> None:
        self._pinned = pinned if ca_file else ""
        own = [(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)] if receive_buffer else []
        self._options = [*HTTPConnection.default_socket_options, *own]
        self._timeout = urllib3.Timeout(connect=min(CONNECT_SECONDS, silence), read=silence)
        self._patience = PATIENCE * silence
        self._connections = _connections(self._patience)
        self._ca_file = ca_file
        self._pools: dict[tuple[str, bool, bool], urllib3.PoolManager] = {}

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        authorization: str = "",
        body: Body = None,
        *,
        secrets: Mapping[str, str] = _NONE,
    ) -> tuple[BaseHTTPResponse, str]:
        """An answer whose body has not been read, and the address that it came from. Only what changes nothing
        follows a redirect. `secrets` are further headers that go where `authorization` goes: to the first host."""
        asked = url
        for _ in range(REDIRECTS + 1):
            # guard: a password goes to its own host
            own = {"Authorization": authorization} if authorization and same_origin(url, asked) else {}
            # guard: other secrets go to their own host too
            more = secrets if same_origin(url, asked) else {}
            answer = self._once(method, asked, {**headers, **more, **own}, body)
            target = answer.headers.get("Location") if answer.status in MOVED else None
            if target is None or method not in ("GET", "HEAD"):
                return answer, asked
            release(answer)
            asked = redirected(asked, target)
        raise Unreached(f"more than {REDIRECTS} redirects", lasting=True)

    def read_small(self, answer: BaseHTTPResponse, url: str, most: int) -> bytes:
        """All of a body of at most so many bytes."""
        pieces, size, end = [], 0, time.monotonic() + self._patience
        with reaching(url):
            while size <= most and (piece := answer.read1(64 << 10, decode_content=False)):
                pieces.append(piece)
                size += len(piece)
                # guard: a small answer comes soon
                if time.monotonic() > end:
                    raise TimeoutError
        answer.close()
        if size > most:
            raise Unreached("it answers without end", lasting=True)
        return b"".join(pieces)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.clear()

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: Body) -> BaseHTTPResponse:
        # Bytes are asked for as they are stored: their digest is of those.
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity", **headers}
        with reaching(url):
            return self._pool(url).request(
                method, url, headers=headers, body=body, preload_content=False, decode_content=False, redirect=False
            )

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxies = getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
        if not proxy or proxy_bypass(parts.netloc):
            proxy = ""
        pinned = bool(self._pinned) and same_origin(url, self._pinned)
        key = (proxy, parts.scheme == "https" or proxy.startswith("https:"), pinned)
        if key not in self._pools:
            self._pools[key] = self._opened(*key)
        return self._pools[key]

    def _opened(self, proxy: str, tls: bool, pinned: bool) -> urllib3.PoolManager:
        context = _context(self._ca_file, alone=pinned) if tls else None
        pool = self._unopened(proxy, context)
        pool.pool_classes_by_scheme = self._connections
        return pool

    def _unopened(self, proxy: str, context: ssl.SSLContext | None) -> urllib3.PoolManager:
        if not proxy:
            return urllib3.PoolManager(
                timeout=self._timeout, ssl_context=context, retries=False, socket_options=self._options
            )
        address = urllib3.util.parse_url(proxy)
        return urllib3.ProxyManager(
            address._replace(auth=None).url,
            proxy_headers=urllib3.make_headers(proxy_basic_auth=address.auth) if address.auth else None,
            timeout=self._timeout,
            ssl_context=context,
            retries=False,
            socket_options=self._options,
        )


@contextlib.contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turns every failure of the library below into `Unreached`."""
    try:
        yield
    except (failures.HTTPError, http.client.HTTPException, OSError) as error:
        host = urlsplit(url).hostname or "the host"
        raise Unreached(f"{host}: {_reason(error)}", lasting=_is_about_trust(error)) from None


def release(answer: BaseHTTPResponse) -> None:
    """Its connection is used again where its end is near; a long rest is not read for that."""
    with contextlib.suppress(failures.HTTPError, http.client.HTTPException, OSError):
        answer.read(64 << 10, decode_content=False)
    answer.close()


def same_origin(one: str, other: str) -> bool:
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme, parts.hostname or "", port or {"http": 80, "https": 443}.get(parts.scheme, -1)


def parts_of(asked: str, target: str) -> SplitResult:
    """The address that an answer of `asked` names. Whoever answers may write anything there."""
    try:
        parts = urlsplit(urljoin(asked, target))
        parts.port  # noqa: B018 - it is read when it is asked for
    except ValueError:
        raise Unreached("it names an address that is none", lasting=True) from None
    # guard: an address that is named is read alike by all who read it
    if parts.netloc != urlsplit(asked).netloc and not _PLAIN.fullmatch(parts.netloc):
        raise Unreached("it names an address that is none", lasting=True)
    return parts


def redirected(asked: str, target: str) -> str:
    """What is read there is believed by digest only; a downgrade would still show others what is read."""
    parts = parts_of(asked, target)
    address, scheme = parts.geturl(), parts.scheme
    if scheme not in ("http", "https") or (scheme == "http" and asked.startswith("https:")):
        raise Unreached("a redirect from https to something else", lasting=True)
    # guard: a redirect from elsewhere does not lead to this machine
    if leads_inward(asked, address):
        raise Unreached("a redirect to an address of this machine alone", lasting=True)
    return address


def leads_inward(asked: str, address: str) -> bool:
    """From another host to this machine, or to what only its own link has, such as the metadata of a cloud. By the
    address itself: what a name stands for is not looked up."""
    here, there = (_number_of(urlsplit(one).hostname or "") for one in (asked, address))
    # guard: nobody elsewhere sends us to ourselves
    return _is_inward(there) and not _is_inward(here)


def _is_inward(number: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    return number is not None and (number.is_loopback or number.is_link_local or number.is_unspecified)


def _number_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for a name. Numbers also as connections read them: 127.1 and 0x7f000001 are this machine too."""
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    with contextlib.suppress(OSError, UnicodeError):
        return ipaddress.IPv4Address(socket.inet_aton(host))
    with contextlib.suppress(ValueError):
        found = ipaddress.IPv6Address(host.partition("%")[0])
        within = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None
        return found.ipv4_mapped or within or found
    return None


def _context(ca_file: str, *, alone: bool) -> ssl.SSLContext:
    """That file, and without `alone` also what the system trusts."""
    try:
        if alone:  # guard: a pinned host is trusted by its own certificates alone
            return ssl.create_default_context(cafile=ca_file)
        context = ssl.create_default_context()
        if ca_file:
            context.load_verify_locations(ca_file)
        return context
    except OSError as error:
        reason = "it is no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        hint = "caFile names a file with the certificate of the authority, in PEM form"
        raise RegistryFailed(f"{ca_file}: {reason}", hint=hint, code="RegistryCertificates") from None


def _is_about_trust(error: BaseException) -> bool:
    return isinstance(error, failures.SSLError | ssl.SSLError) and "certificate" in str(error).lower()


def _reason(error: BaseException) -> str:
    if isinstance(error, failures.ProxyError):
        return f"the proxy: {_reason(error.original_error)}"
    if isinstance(error, failures.SSLError | ssl.SSLError):
        return one_line(f"TLS: {error}", 200)
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return reason
    inner = error if isinstance(error, OSError) else error.__cause__ or error.__context__
    return inner.strerror.lower() if isinstance(inner, OSError) and inner.strerror else type(error).__name__
