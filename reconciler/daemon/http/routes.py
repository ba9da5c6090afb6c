"""The daemon's HTTP routes: /healthz, /readyz, /metrics, /hooks/git, and the page for people. A request in, an answer
out.

Routes only read, with one exception: a webhook of a git server, signed by the holder of the secret, wakes the loop.
Nothing in its body is used, so only its digest is computed; a replay costs one look at the repository.

Alive: the loop has given a sign of life in time. Ready: a pass has ended, every manifest could be read, and every
declared variant that is not suspended serves what git declares, or serves a whole predecessor during its upgrade.
"""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import psutil

from reconciler.daemon.http.handler import Request, Response
from reconciler.daemon.http.page_routes import PageRoutes
from reconciler.daemon.metrics import CONTENT_TYPE, MetricsInput, families, page
from reconciler.daemon.secret_file import NoSecret, read_secret
from reconciler.daemon.state import Board, State
from reconciler.daemon.wake import WEBHOOK, Wake
from reconciler.domain.layout import Layout
from reconciler.domain.reasons import PRUNE_GUARDS
from reconciler.domain.recorded import Condition
from reconciler.engine import log
from reconciler.host.disk_usage import bytes_below, disk_free
from reconciler.state.progress import report_progress, scrub_progress

HOOK = "/hooks/git"
BODY_LIMIT = 25 << 20  # bytes; GitHub sends no more
BURST = 20  # hooks at once; then one a second
NAMED = 100  # variants that are named in one answer

# The whole body under HMAC-SHA256. Gitea and Forgejo send GitHub's header too; GitLab sends the secret itself.
_SIGNED = {"x-hub-signature-256": "sha256=", "x-gitea-signature": "", "x-forgejo-signature": ""}
_TOKEN = "x-gitlab-token"


class Routes:
    """`patience`: for how many more seconds the loop may be silent. `secret_file` is "" when hooks are off, `page` None
    where there is no page."""

    def __init__(
        self,
        board: Board,
        wake: Wake,
        layout: Layout,
        patience: Callable[[], float],
        secret_file: str = "",
        page: PageRoutes | None = None,
    ) -> None:
        self._board = board
        self._wake = wake
        self._layout = layout
        self._patience = patience
        self._secret_file = secret_file
        self._bucket = Bucket()
        self._page = page
        self._pages = {"/healthz": self._health, "/readyz": self._readiness, "/metrics": self._metrics}

    def answer(self, request: Request) -> Response:
        """The caller has checked the Host header where `needs_host` says so."""
        if request.path == HOOK and self._secret_file:
            return self._hook(request) if request.method == "POST" else _not_allowed("POST")
        if self._page is not None and self._page.has(request.path):
            return self._page.answer(request) if request.method == "GET" else _not_allowed("GET")
        if request.path not in self._pages:
            return Response(status=404)
        return self._pages[request.path]() if request.method == "GET" else _not_allowed("GET")

    def close(self) -> None:
        """End the streams of open pages."""
        if self._page is not None:
            self._page.close()

    def _health(self) -> Response:
        alive = self._patience() > 0.0
        return _status(alive, {"status": "alive" if alive else "hangs"})

    def _readiness(self) -> Response:
        state = self._board.state
        waiting = list(_not_ready(state))
        ready = state.ready and not state.problems and not waiting
        facts = {
            "status": "ready" if ready else "not ready",
            "firstPassDone": state.ready,
            "problems": state.problems,
            "variants": len(state.conditions),
            "notReady": waiting[:NAMED],
            "notReadyCount": len(waiting),
        }
        return _status(ready, facts)

    def _metrics(self) -> Response:
        process = psutil.Process()
        times = process.cpu_times()
        given = MetricsInput(
            state=self._board.state,
            patience=self._patience(),
            store_bytes=bytes_below(self._layout.at("oci", "blobs", "sha256")),
            disk_free=disk_free(self._layout.root),
            scrubbed=scrub_progress(self._layout).read(),
            reported=report_progress(self._layout).read(),
            cpu_seconds=times.user + times.system,
            resident_bytes=process.memory_info().rss,
        )
        return Response(status=200, body=page(families(given)).encode(), type=CONTENT_TYPE)

    def _hook(self, request: Request) -> Response:
        """The answer says no more than it must, so that guessing a secret teaches nothing."""
        if not self._bucket.take():
            return Response(status=429, headers={"Retry-After": "1"})
        if request.length is None:
            return Response(status=411)
        if request.length > BODY_LIMIT:
            return Response(status=413)
        try:
            secret = read_secret(self._secret_file)
        except NoSecret as error:
            log.warning("hook.no_secret", file=self._secret_file, problem=str(error))
            return Response(status=503)
        if not is_signed(secret, request.headers, request.body):
            return Response(status=403)
        self._wake.wake(WEBHOOK)
        return Response(status=202)


def needs_host(path: str) -> bool:
    """Whether the Host header must be ours. A hook proves itself by its signature, and may come through a proxy."""
    return path != HOOK  # guard: only our names are answered


def _not_allowed(method: str) -> Response:
    return Response(status=405, headers={"Allow": method})


def _status(good: bool, facts: Mapping[str, object]) -> Response:
    return Response(status=200 if good else 503, body=json.dumps(facts).encode() + b"\n")


def _not_ready(state: State) -> Iterator[dict[str, str]]:
    """Reasons are codes: a message may name files of this machine."""
    for variant, held in sorted(state.conditions.items()):
        one = held.get("Ready")
        good = one is None or one.status == "True" or one.reason in PRUNE_GUARDS  # not declared any more
        suspended = any(condition.reason == "Suspended" for condition in held.values())
        if one is not None and not (good or suspended or _is_upgraded(held)):
            yield {"variant": variant, "reason": one.reason}


def _is_upgraded(held: Mapping[str, Condition]) -> bool:
    """Its predecessor is whole and answers, and the upgrade goes on: a long conversion must not take a machine out of
    a load balancer."""
    wanted = ("Serving", "IntegrityVerified", "Reconciling")
    return all(kind in held and held[kind].status == "True" for kind in wanted)


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
