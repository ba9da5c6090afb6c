"""Webhooks of a git server: the proof that one comes from the holder of the secret, and a limit on their rate.

A hook is a hint: the loop looks at the repository earlier. Nothing in its body is used, so only its digest is computed;
a replay costs one look.
"""

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

BODY_LIMIT = 25 << 20  # bytes; GitHub sends no more
BURST = 20  # hooks at once; then one a second

# The whole body under HMAC-SHA256. Gitea and Forgejo send GitHub's header too; GitLab sends the secret itself.
_SIGNED = {"x-hub-signature-256": "sha256=", "x-gitea-signature": "", "x-forgejo-signature": ""}
_TOKEN = "x-gitlab-token"


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
    # guard: every proof of a hook holds
    return bool(held) and all(held)  # guard: a hook is signed


class Bucket:
    """So many at once, then so many a second."""

    def __init__(self, burst: int = BURST, rate: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
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
