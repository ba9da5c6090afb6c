"""HTTP to one host or another: certificates, proxies, time-outs, redirects. It knows no registry and no password beyond
the header that it is given, which goes to the first host only.

Proxies and further certificates come from this machine's environment (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE). Every
failure is one `Unreached` in plain words, without an address that could hold a secret.
"""

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3 import exceptions as failures
from urllib3.connection import HTTPConnection
from urllib3.response import BaseHTTPResponse

from reconciler.domain.errors import RegistryFailed
from reconciler.domain.text.escape import one_line

CONNECT_SECONDS = 10.0
SILENCE = 30.0  # seconds without any byte
REDIRECTS = 5
MOVED = (301, 302, 303, 307, 308)
AGENT = "foundry-reconciler"

_REASONS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((failures.NameResolutionError,), "its name is not known"),
    ((failures.NewConnectionError,), "no connection"),
    ((failures.TimeoutError, TimeoutError), "it did not answer in time"),
    ((failures.ProtocolError, http.client.HTTPException, ConnectionError), "the connection was cut"),
)

Body = bytes | Iterable[bytes] | None


class Unreached(Exception):
    """No answer, or not a whole one. `lasting`: trying again at once is of no use."""

    def __init__(self, reason: str, *, lasting: bool = False) -> None:
        super().__init__(reason)
        self.lasting = lasting


class Transport:
    """`receive_buffer`: bytes that the kernel may hold of each connection, 0 as it likes (some MiB)."""

    def __init__(self, ca_file: str = "", *, silence: float = SILENCE, receive_buffer: int = 0) -> None:
        own = [(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)] if receive_buffer else []
        self._options = [*HTTPConnection.default_socket_options, *own]
        self._timeout = urllib3.Timeout(connect=min(CONNECT_SECONDS, silence), read=silence)
        self._ca_file = ca_file
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}

    def send(
        self, method: str, url: str, headers: Mapping[str, str], authorization: str = "", body: Body = None
    ) -> tuple[BaseHTTPResponse, str]:
        """An answer whose body has not been read, and the address that it came from. Only what changes nothing
        follows a redirect."""
        asked = url
        for _ in range(REDIRECTS + 1):
            # guard: a password goes to its own host
            own = {"Authorization": authorization} if authorization and same_origin(url, asked) else {}
            answer = self._once(method, asked, {**headers, **own}, body)
            target = answer.headers.get("Location") if answer.status in MOVED else None
            if target is None or method not in ("GET", "HEAD"):
                return answer, asked
            release(answer)
            asked = _redirected(asked, target)
        raise Unreached(f"more than {REDIRECTS} redirects", lasting=True)

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
        key = (proxy, parts.scheme == "https" or proxy.startswith("https:"))
        if key not in self._pools:
            self._pools[key] = self._opened(*key)
        return self._pools[key]

    def _opened(self, proxy: str, tls: bool) -> urllib3.PoolManager:
        context = _context(self._ca_file) if tls else None
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


def _redirected(asked: str, target: str) -> str:
    """What is read there is believed by digest only; a downgrade would still show others what is read."""
    try:
        address = urljoin(asked, target)
        scheme = urlsplit(address).scheme
    except ValueError:
        scheme = ""
    if scheme not in ("http", "https") or (scheme == "http" and asked.startswith("https:")):
        raise Unreached("a redirect from https to something else", lasting=True)
    return address


def _context(ca_file: str) -> ssl.SSLContext:
    """What the system trusts, and that file."""
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            reason = "it is no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            hint = "caFile names a file with the certificate of the authority, in PEM form"
            raise RegistryFailed(f"{ca_file}: {reason}", hint=hint, code="RegistryCertificates") from None
    return context


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
