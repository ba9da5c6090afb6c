"""A push that is told to us by whoever holds the secret. It is a hint and nothing more: the loop looks at the
repository a little earlier. Nothing in the body is believed, so it is not even kept; a replay costs one look."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from reconciler.host.reading import read_whole

BODY_LIMIT = 25 << 20  # bytes; GitHub sends no more. Only the running digest is held
SECRET_LIMIT = 4096
SHORTEST_SECRET = 8
BURST = 20  # hooks at once; then one a second

# The whole body under HMAC-SHA256. Gitea and Forgejo send GitHub's header too; GitLab sends the secret itself.
_SIGNED = {"x-hub-signature-256": "sha256=", "x-gitea-signature": "", "x-forgejo-signature": ""}
_TOKEN = "x-gitlab-token"


class NoSecret(Exception):
    """The file is gone, empty or no text."""


def read_secret(path: str) -> bytes:
    """Read anew for each use, so that a secret can be changed while the daemon runs."""
    try:
        secret = read_whole(path, SECRET_LIMIT).strip()
    except OSError as error:
        raise NoSecret(error.strerror or "it cannot be read") from None
    if len(secret) < SHORTEST_SECRET:
        raise NoSecret(f"expected at least {SHORTEST_SECRET} bytes")
    return secret


def is_signed(secret: bytes, headers: Mapping[str, Sequence[str]], body: Iterable[bytes]) -> bool:
    """`headers` by lower-case name. Every proof that is given must hold, and there must be one."""
    digest = hmac.new(secret, digestmod=hashlib.sha256)
    for chunk in body:
        digest.update(chunk)
    expected = {name: prefix + digest.hexdigest() for name, prefix in _SIGNED.items()}
    proofs = [(expected[name].encode(), given) for name in _SIGNED for given in headers.get(name, ())]
    proofs += [(secret, given) for given in headers.get(_TOKEN, ())]
    # A list, not a generator: all of them are compared, however the first one comes out.
    held = [hmac.compare_digest(wanted, given.encode("utf-8", "replace")) for wanted, given in proofs]
    return bool(held) and all(held)


class Bucket:
    """So many at once, then so many a second."""

    def __init__(
        self, burst: int = BURST, rate: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._rate, self._clock = float(burst), rate, clock
        self._held, self._since = self._burst, clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            now = self._clock()
            self._held = min(self._burst, self._held + (now - self._since) * self._rate)
            self._since = now
            if self._held < 1.0:
                return False
            self._held -= 1.0
            return True
