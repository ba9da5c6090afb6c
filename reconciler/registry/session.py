"""Requests to one repository of a registry: signed in, tried again, and with errors in plain words.

Sign-in as registries want it: none, basic, or a token that the registry's challenge says where to get. A challenge is
believed from the registry's own host only. A token that has expired is asked for again.
Retried are lost connections and the answers that ask for it, with growing pauses or after the time that the server
asks for (Retry-After); one longer than LONGEST_PAUSE is left to the caller (`TemporaryError.delay`).
"""

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlencode, urlsplit

from urllib3.response import BaseHTTPResponse

from reconciler.domain.backoff import Backoff, spread
from reconciler.domain.errors import RegistryFailed
from reconciler.domain.machine.registries import RegistryAddress, is_loopback
from reconciler.domain.text.escape import one_line
from reconciler.registry.credentials import Login
from reconciler.registry.transport import Body, Transport, Unreached, parts_of, release, same_origin

TRIES = 5
PAUSES = Backoff(first=0.5, longest=15.0)
LONGEST_PAUSE = 60.0  # seconds
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
SMALL = 4 << 20  # bytes of a document; registries refuse larger manifests

_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_DENIED = "check the credentials of this registry in the machine's configuration, and what that account may do there"
_UNREACHED = "check the address, the network, the proxy and caFile; what serves goes on serving"


@dataclass(frozen=True)
class HttpAnswer:
    """`data` is the whole body, or `stream` what is still to be read, and closed."""

    status: int
    headers: Mapping[str, str]
    data: bytes = field(default=b"", repr=False)
    stream: BaseHTTPResponse | None = None


class Session:
    def __init__(
        self,
        address: RegistryAddress,
        transport: Transport,
        login: Login | None = None,
        *,
        push: bool = False,
        tries: int = TRIES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.address = address
        self._transport = transport
        self._login = login
        self._actions = "pull,push" if push else "pull"
        self.tries = tries
        self._sleep = sleep
        self._authorization = ""

    def url(self, path: str) -> str:
        return f"{self.address.origin}/v2/{self.address.repository}/{path}"

    def following(self, asked: str, target: str) -> str:
        """The address that an answer names, relative to what was asked. A page of a list is the registry's own."""
        url = self._address(asked, target).geturl()
        if not same_origin(url, self.address.origin):
            raise self.error(_shown(asked), "it continues elsewhere", code="RegistryRefused", hint="")
        return url

    def upload_place(self, answer: HttpAnswer, asked: str) -> str:
        """Where an upload goes on. It may be another host, which gets no password of ours; an address without TLS is
        mended where it is the registry's own (a proxy before it ends TLS), and refused elsewhere."""
        parts = self._address(asked, answer.headers.get("Location") or "")
        own = urlsplit(self.address.origin)
        if parts.scheme == "http" and own.scheme == "https":
            if parts.netloc != own.netloc:
                raise self.error(_shown(asked), "it continues without TLS", code="RegistryRefused", hint=_UNREACHED)
            return parts._replace(scheme="https").geturl()
        return parts.geturl()

    def _address(self, asked: str, target: str) -> SplitResult:
        try:
            return parts_of(asked, target)
        except Unreached as failure:
            raise self.error(_shown(asked), str(failure), code="RegistryRefused", hint="") from None

    def ask(
        self,
        method: str,
        url: str,
        good: Iterable[int],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Body] | None = None,
        *,
        tries: int = 0,
    ) -> HttpAnswer:
        """The whole of a small answer. `body` gives the body anew for each try."""

        def whole() -> HttpAnswer:
            answer, origin = self._signed(method, url, headers or {}, body)
            data = b"" if method == "HEAD" else self._read(answer, origin)
            return HttpAnswer(answer.status, answer.headers, data)

        return self._tried(whole, f"{method} {self.shown(url)}", frozenset(good), tries or self.tries)

    def open(self, url: str, good: Iterable[int], headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """A good answer as a stream."""

        def begun() -> HttpAnswer:
            answer, origin = self._signed("GET", url, headers or {}, None)
            if answer.status in good:
                return HttpAnswer(answer.status, answer.headers, stream=answer)
            return HttpAnswer(answer.status, answer.headers, self._read(answer, origin))

        return self._tried(begun, f"GET {self.shown(url)}", frozenset(good), self.tries)

    def shown(self, url: str) -> str:
        """How errors call an address."""
        return _shown(url)

    def close(self) -> None:
        self._transport.close()

    def pause(self, failures: int, wished: float = 0.0) -> None:
        self._sleep(max(wished, spread(PAUSES.after(failures), 0.5, 1.0, random.random())))

    def error(self, what: str, reason: str, *, code: str, hint: str, delay: float = 0.0) -> RegistryFailed:
        return RegistryFailed(f"{self.address}: {what}: {reason}", hint=hint, code=code, delay=delay)

    def unreached(self, what: str, reason: str) -> RegistryFailed:
        return self.error(what, reason, code="RegistryUnreachable", hint=_UNREACHED)

    def _refusal(self, answer: HttpAnswer, what: str, wished: float) -> RegistryFailed:
        if answer.status in (401, 403):
            return self.error(what, _reason(answer), code="RegistryDenied", hint=_DENIED)
        if answer.status == 404:
            return self.error(
                what, _reason(answer), code="RegistryLacks", hint="it is not there, or this account may not see it"
            )
        if answer.status in AGAIN:
            return self.error(what, _reason(answer), code="RegistryBusy", hint=_UNREACHED, delay=wished)
        return self.error(what, _reason(answer), code="RegistryRefused", hint="its administrator sees more in its log")

    def _tried(self, once: Callable[[], HttpAnswer], what: str, good: frozenset[int], tries: int) -> HttpAnswer:
        for failures in range(1, tries + 1):
            wished, lasting = 0.0, failures == tries
            try:
                answer = once()
                if answer.status in good:
                    return answer
                wished = _wished(answer.headers)
                error = self._refusal(answer, what, wished)
                lasting |= answer.status not in AGAIN or wished > LONGEST_PAUSE
            except Unreached as failure:
                error = self.unreached(what, str(failure))
                lasting |= failure.lasting
            if lasting:
                raise error
            self.pause(failures, wished)
        raise AssertionError("unreachable")

    def _signed(
        self, method: str, url: str, headers: Mapping[str, str], body: Callable[[], Body] | None
    ) -> tuple[BaseHTTPResponse, str]:
        """Signed in anew when the registry asks for it: at first, and when a token has expired."""
        answer, origin = self._sent(method, url, headers, body)
        # guard: a challenge is answered to the registry itself
        is_ours = same_origin(origin, self.address.origin)
        if answer.status != 401 or not is_ours:
            return answer, origin
        challenge = answer.headers.get("WWW-Authenticate") or ""
        release(answer)
        self._authorization = self._answered(challenge)
        return self._sent(method, url, headers, body)

    def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: Callable[[], Body] | None
    ) -> tuple[BaseHTTPResponse, str]:
        own = self._authorization if same_origin(url, self.address.origin) else ""
        return self._transport.send(method, url, headers, own, body() if body else None)

    def _answered(self, challenge: str) -> str:
        """The header that a challenge wants."""
        scheme, _, rest = challenge.partition(" ")
        fields = {name.lower(): value for name, value in _CHALLENGE.findall(rest)}
        if scheme.lower() == "basic" and self._login:
            return self._login.basic()
        if scheme.lower() == "bearer" and "realm" in fields:
            return "Bearer " + self._token(fields)
        return ""

    def _token(self, fields: Mapping[str, str]) -> str:
        realm = fields["realm"]
        parts = parts_of(realm, "")
        # guard: no password to a token server over a readable connection
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(_host(parts))):
            raise Unreached("it wants the password at an address without TLS", lasting=True)
        own = f"repository:{self.address.repository}:{self._actions}"
        scopes = [("scope", one) for one in dict.fromkeys([own, *fields.get("scope", "").split()])]
        service = [("service", fields["service"])] if "service" in fields else []
        url = f"{realm}{'&' if parts.query else '?'}{urlencode([*service, *scopes])}"
        basic = self._login.basic() if self._login else ""
        answer, origin = self._transport.send("GET", url, {}, basic)
        data = self._read(answer, origin)
        if answer.status in AGAIN:
            raise Unreached(f"{parts.hostname} gives no token now: status {answer.status}")
        if answer.status != 200:
            return ""  # then the registry says what it does not allow
        return _token_in(data)

    def _read(self, answer: BaseHTTPResponse, url: str) -> bytes:
        return self._transport.read_small(answer, url, SMALL)


def _host(parts: SplitResult) -> str:
    """Without the user that may stand before it, and written as in an address."""
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _token_in(data: bytes) -> str:
    try:
        document = json.loads(data)
        token = document.get("token") or document["access_token"]
        if isinstance(token, str) and token.isascii() and token.isprintable():
            return token
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    raise Unreached("its token server gave no token", lasting=True)


def _wished(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After, in either of its forms."""
    text = headers.get("Retry-After") or ""
    if text.isascii() and text.isdecimal():
        return min(float(text), 86_400.0)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - time.time()), 86_400.0)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _reason(answer: HttpAnswer) -> str:
    """What the registry says, in its own form of an error where it is one; that of Git LFS has a message alone."""
    try:
        document = json.loads(answer.data)
        if isinstance(document.get("message"), str):
            return one_line(f"{answer.status} {document['message']}", 200)
        first = document["errors"][0]
        return one_line(f"{answer.status} {first['code']}: {first.get('message', '')}".rstrip(": "), 200)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return f"status {answer.status}"


def _shown(url: str) -> str:
    """Without the query: it may hold a secret."""
    return urlsplit(url).path.partition("/v2/")[2] or urlsplit(url).path
